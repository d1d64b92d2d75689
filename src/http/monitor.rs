use std::fmt::Write;
use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::model::{ProjectName, Timestamp};
use crate::run::agent::{Agent, Figures};

#[derive(Debug, thiserror::Error)]
pub enum NotLoopback {
    #[error(
        "`agent: {{ listen: {0} }}` is not a loopback address, and health and metrics have no lock; use 127.0.0.1:{port}", port = .0.port()
    )]
    Foreign(SocketAddr),
    #[error("{0} cannot be listened on; set another port in `agent: {{ listen: … }}`")]
    Taken(SocketAddr, #[source] io::Error),
}

/// Refuses every address that other hosts could reach.
pub async fn bind_monitor(address: SocketAddr) -> Result<TcpListener, NotLoopback> {
    if !address.ip().is_loopback() {
        return Err(NotLoopback::Foreign(address));
    }
    TcpListener::bind(address)
        .await
        .map_err(|source| NotLoopback::Taken(address, source))
}

#[derive(Clone)]
struct Watched {
    agent: Agent,
    project: ProjectName,
}

/// `/healthz` and `/metrics`.
pub fn monitor(agent: Agent, project: ProjectName) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn(local_only))
        .with_state(Watched { agent, project })
}

/// A page in a browser on this host could be made to ask for a name that resolves to loopback; it is told nothing.
async fn local_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if host.is_some_and(is_local) {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            "ask for this host by a loopback address\n",
        )
            .into_response()
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

async fn health(State(watched): State<Watched>) -> Response {
    if watched.agent.alive() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent's loop has not come round for a minute\n",
        )
            .into_response()
    }
}

async fn metrics(State(watched): State<Watched>) -> Response {
    let text = render(&watched.agent.figures(), watched.project.as_str());
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

/// Prometheus' text format.
fn render(figures: &Figures, project: &str) -> String {
    let mut page = Page::default();
    page.family(
        "arkwright_build_info",
        "gauge",
        "The agent's version and the project it has.",
    );
    page.sample(
        "arkwright_build_info",
        &[("version", env!("CARGO_PKG_VERSION")), ("project", project)],
        1.0,
    );
    page.family(
        "arkwright_operations_total",
        "counter",
        "Operations that ended, by kind and outcome.",
    );
    for (kind, outcome, count) in &figures.ended {
        page.sample(
            "arkwright_operations_total",
            &[("kind", kind), ("outcome", outcome)],
            *count as f64,
        );
    }
    page.family("arkwright_operations_running", "gauge", "Operations at work in a lane.");
    for lane in &figures.lanes {
        page.sample(
            "arkwright_operations_running",
            &[("lane", lane.lane)],
            f64::from(u8::from(lane.running)),
        );
    }
    page.family(
        "arkwright_operations_queued",
        "gauge",
        "Orders that wait for their turn in a lane.",
    );
    for lane in &figures.lanes {
        page.sample(
            "arkwright_operations_queued",
            &[("lane", lane.lane)],
            lane.queued as f64,
        );
    }
    page.family(
        "arkwright_operations_held",
        "gauge",
        "1 where the operation of a lane is stuck or waits to be tried again.",
    );
    for lane in &figures.lanes {
        page.sample(
            "arkwright_operations_held",
            &[("lane", lane.lane)],
            f64::from(u8::from(lane.held)),
        );
    }
    let family = "arkwright_schedule_last_success_timestamp_seconds";
    page.family(family, "gauge", "When what a schedule asks for was last done well.");
    for schedule in &figures.schedules {
        page.instant(family, &schedule.name, schedule.last_good);
    }
    let family = "arkwright_schedule_next_run_timestamp_seconds";
    page.family(family, "gauge", "When a schedule runs next.");
    for schedule in &figures.schedules {
        page.instant(family, &schedule.name, schedule.next);
    }
    let family = "arkwright_agent_last_tick_timestamp_seconds";
    page.family(family, "gauge", "When the agent's loop last came round.");
    if let Some(pulse) = figures.pulse {
        page.sample(family, &[], pulse.timestamp() as f64);
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn instant(&mut self, name: &str, schedule: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.sample(name, &[("schedule", schedule)], at.timestamp() as f64);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escape(value)))
            .collect();
        match labels.is_empty() {
            true => self.line(format_args!("{name} {value}")),
            false => self.line(format_args!("{name}{{{}}} {value}", labels.join(","))),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        writeln!(self.0, "{line}").expect("memory");
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use crate::run::agent::{LaneFigures, ScheduleFigures};

    use super::*;

    #[test]
    fn only_loopback_names_are_local() {
        for host in [
            "localhost",
            "LOCALHOST:7077",
            "127.0.0.1:7077",
            "127.8.8.8",
            "[::1]:7077",
            "[::1]",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1:7077",
            "[::2]",
            "[",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[tokio::test]
    async fn an_address_others_reach_is_refused() {
        let error = bind_monitor(SocketAddr::from(([0, 0, 0, 0], 7077)))
            .await
            .expect_err("refused");
        assert!(error.to_string().contains("use 127.0.0.1:7077"), "{error}");
        let first = bind_monitor(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("bound");
        let taken = bind_monitor(first.local_addr().expect("an address"))
            .await
            .expect_err("taken");
        assert!(taken.to_string().contains("another port"), "{taken}");
    }

    #[test]
    fn metrics_are_prometheus_text() {
        let figures = Figures {
            pulse: Timestamp::from_timestamp(1_800_000_000, 0),
            ended: vec![("release".into(), "rolled_back".into(), 2)],
            lanes: vec![LaneFigures {
                lane: "backup",
                running: true,
                held: false,
                queued: 3,
            }],
            schedules: vec![ScheduleFigures {
                name: "back up \"x\"\\\n".into(),
                last_good: Timestamp::from_timestamp(1_700_000_000, 0),
                next: None,
            }],
        };
        let text = render(&figures, "ark");
        for line in [
            "arkwright_operations_total{kind=\"release\",outcome=\"rolled_back\"} 2",
            "arkwright_operations_running{lane=\"backup\"} 1",
            "arkwright_operations_queued{lane=\"backup\"} 3",
            "arkwright_schedule_last_success_timestamp_seconds{schedule=\"back up \\\"x\\\"\\\\\\n\"} 1700000000",
            "arkwright_agent_last_tick_timestamp_seconds 1800000000",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("next_run_timestamp_seconds{"));
    }
}
