//! What both services do around every request: version header, switches, counting; and how they start and stop.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::metrics::Metrics;
use crate::stop::Stop;
use crate::switches::Switches;

/// Header that tells which version answered.
pub const VERSION_HEADER: &str = "x-app-version";

/// The parts of a stand-in that do not depend on which one it is.
pub struct Common {
    /// `APP_VERSION`, or `dev`.
    pub version: String,
    pub switches: Switches,
    pub metrics: Arc<Metrics>,
    /// Said when the process was asked to end.
    pub stop: Stop,
    port: u16,
}

impl Common {
    /// Reads `APP_VERSION`, `PORT` and the switches, and waits `STANDIN_START_DELAY`.
    pub async fn start(default_port: u16) -> Result<Arc<Self>, String> {
        let switches = Switches::from_env()?;
        let port = match env::var("PORT") {
            Ok(text) => text
                .parse()
                .map_err(|_| format!("PORT: `{text}` is not a port number"))?,
            Err(_) => default_port,
        };
        let version = env::var("APP_VERSION").unwrap_or_else(|_| "dev".to_owned());
        if HeaderValue::from_str(&version).is_err() {
            return Err("APP_VERSION holds characters no HTTP header may carry".to_owned());
        }
        sleep(switches.start_delay).await;
        Ok(Arc::new(Self {
            version,
            switches,
            metrics: Arc::default(),
            stop: Stop::default(),
            port,
        }))
    }

    /// Listens on `PORT`, on every address of the container.
    pub async fn listen(&self) -> Result<TcpListener, String> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port));
        TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))
    }

    /// Wraps the routes; call it last.
    pub fn wrap(self: &Arc<Self>, routes: Router) -> Router {
        routes.layer(middleware::from_fn_with_state(Arc::clone(self), around))
    }

    /// Ends the process after `STANDIN_CRASH_AFTER`, if that is set.
    pub fn arm(&self) {
        if let Some(after) = self.switches.crash_after {
            tokio::spawn(async move {
                sleep(after).await;
                eprintln!("STANDIN_CRASH_AFTER: ending now");
                std::process::exit(1);
            });
        }
    }
}

async fn around(State(common): State<Arc<Common>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // Health is what the orchestrator sees and metrics what the operator sees: neither is slowed or made to fail.
    let watched = !matches!(path, "/health" | "/api/health" | "/metrics");
    let begun = Instant::now();
    let mut response = if watched {
        if !common.switches.delay.is_zero() {
            sleep(common.switches.delay).await;
        }
        if common.switches.fails_now() {
            (StatusCode::INTERNAL_SERVER_ERROR, "STANDIN_FAIL\n").into_response()
        } else {
            next.run(request).await
        }
    } else {
        next.run(request).await
    };
    if watched {
        common.metrics.observe(response.status().as_u16(), begun.elapsed());
    }
    if let Ok(version) = HeaderValue::from_str(&common.version) {
        response.headers_mut().insert(VERSION_HEADER, version);
    }
    response
}

/// Resolves when SIGTERM or SIGINT arrives.
pub async fn asked_to_end() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Serves until asked to end, then answers what is in flight for at most `drain`.
///
/// With a `drain` of zero the process ends on the spot, as a program without a signal handler would.
pub async fn run(common: &Common, listener: TcpListener, app: Router, drain: Duration) -> Result<(), String> {
    let mut stopping = common.stop.stopping();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move { stopping.wait().await });
    let mut server = tokio::spawn(server.into_future());
    tokio::select! {
        ended = &mut server => return Err(format!("the server ended by itself: {ended:?}")),
        signal = asked_to_end() => signal.map_err(|error| format!("cannot listen for signals: {error}"))?,
    }
    if drain.is_zero() {
        std::process::exit(143);
    }
    common.stop.now();
    if tokio::time::timeout(drain, server).await.is_err() {
        eprintln!("not everything in flight was answered within {} s", drain.as_secs());
    }
    Ok(())
}
