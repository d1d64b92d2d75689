//! Small servers and HAProxy itself, as processes on loopback.

use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arkwright::router::{HaProxy, Inside};
use axum::Router;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A web server on an address of its own; answers with its name.
pub struct Server {
    pub address: IpAddr,
    pub healthy: Arc<AtomicBool>,
    pub served: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(name: &'static str, address: &str, port: u16) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let listener = TcpListener::bind((address, port)).await.expect("a free address");
        let healthy = Arc::new(AtomicBool::new(true));
        let served = Arc::new(AtomicU64::new(0));
        let (health, count) = (Arc::clone(&healthy), Arc::clone(&served));
        let routes = Router::new()
            .route(
                "/health",
                get(move || {
                    let healthy = health.load(Ordering::SeqCst);
                    async move {
                        if healthy {
                            StatusCode::OK
                        } else {
                            StatusCode::SERVICE_UNAVAILABLE
                        }
                    }
                }),
            )
            .route(
                "/work",
                post(move |body: String| {
                    count.fetch_add(1, Ordering::SeqCst);
                    async move {
                        if let Ok(millis) = body.parse() {
                            tokio::time::sleep(Duration::from_millis(millis)).await;
                        }
                        name
                    }
                }),
            )
            .route(
                "/client",
                get(|headers: axum::http::HeaderMap| async move {
                    let all: Vec<_> = headers
                        .get_all("x-forwarded-for")
                        .iter()
                        .filter_map(|v| v.to_str().ok())
                        .collect();
                    all.join(", ")
                }),
            )
            .route(
                "/ws",
                get(|upgrade: WebSocketUpgrade| async move {
                    upgrade.on_upgrade(|mut socket| async move {
                        while let Some(Ok(message @ Message::Text(_))) = socket.recv().await {
                            if socket.send(message).await.is_err() {
                                break;
                            }
                        }
                    })
                }),
            );
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Server {
            address,
            healthy,
            served,
            task,
        }
    }

    pub fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn haproxy_installed() -> bool {
    std::process::Command::new("haproxy")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

/// A router whose process runs on this host and listens on loopback.
pub fn router(folder: &Path) -> HaProxy {
    let inside = Inside {
        config: folder.join("config").display().to_string(),
        run: folder.join("run").display().to_string(),
        listen: "127.0.0.1".into(),
        owner: None,
    };
    HaProxy::new(folder.join("config"), folder.join("run"), inside)
}

/// The process; ended when dropped.
pub struct Process(std::process::Child);

impl Process {
    pub fn start(folder: &Path) -> Self {
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        let child = std::process::Command::new("haproxy")
            .args(["-W", "-db", "-S"])
            .arg(format!("{},mode,600", folder.join("run/master.sock").display()))
            .arg("-f")
            .arg(folder.join("config/haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("haproxy starts");
        Process(child)
    }

    pub fn end(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.0.id() as i32).expect("a process id");
        if self.0.try_wait().expect("a child").is_none() {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("ends");
            self.0.wait().expect("ends");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

pub async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}
