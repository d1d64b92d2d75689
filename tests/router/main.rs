//! The router's contract, against a real HAProxy process on loopback.

#[path = "../common/mod.rs"]
mod common;
mod figures;
#[path = "../lab/mod.rs"]
mod lab;
mod latency;
#[path = "../lab/local.rs"]
mod local;
mod maintenance;
mod preview;
mod sessions;
mod sticky;
mod traffic;
mod upgrade;

use std::net::{IpAddr, SocketAddr};

use arkwright::model::{Colour, ServiceName, Span};
use arkwright::ports::{Route, Router, Slot, SlotState};
use arkwright::router::HaProxy;
use common::not_run;
use lab::{Connection, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use local::{Process, Server, free_port, haproxy_installed};

fn service() -> ServiceName {
    "web".parse().expect("a name")
}

fn route(port: u16, blue: Option<IpAddr>) -> Route {
    Route {
        service: service(),
        port,
        health_path: "/health".into(),
        health_every: Span::millis(200),
        healthy_after: 2,
        replicas: 1,
        slots: [
            Slot {
                colour: Colour::Blue,
                addresses: blue.into_iter().collect(),
                weight: 100,
                state: SlotState::Ready,
            },
            Slot {
                colour: Colour::Green,
                addresses: Vec::new(),
                weight: 0,
                state: SlotState::Maint,
            },
        ],
        preview: Some(("canary".into(), "true".into())),
        hold_limit: Some(Span::seconds(5)),
        sticky: false,
        page: None,
    }
}

struct Stage {
    folder: tempfile::TempDir,
    router: HaProxy,
    process: Process,
    blue: Server,
    green: Server,
    at: SocketAddr,
    port: u16,
}

/// Blue serves; green runs and is not pointed at.
async fn stage() -> Option<Stage> {
    if !haproxy_installed() {
        not_run("haproxy is not installed");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port().await;
    let blue = Server::start("blue", "127.0.0.2", port).await;
    let green = Server::start("green", "127.0.0.3", port).await;
    let router = local::router(folder.path());
    assert!(!router.alive().await);
    assert_eq!(router.routes().await.expect("none yet"), []);
    router
        .apply(&[route(port, Some(blue.address))])
        .await
        .expect("rendered before it runs");
    let process = Process::start(folder.path());
    until("the router", 5, || router.alive()).await;
    Some(Stage {
        folder,
        router,
        process,
        blue,
        green,
        at: SocketAddr::from(([127, 0, 0, 1], port)),
        port,
    })
}

impl Stage {
    async fn up(&self, colour: Colour) -> bool {
        let slots = self.router.slots(&service()).await.expect("slots");
        slots.iter().any(|slot| slot.colour == colour && slot.up)
    }

    async fn steer(&self, green: u8) {
        let weights = [(Colour::Green, green), (Colour::Blue, 100 - green)];
        self.router.steer(&service(), weights).await.expect("steered");
    }

    async fn point_green(&self) {
        self.router
            .point(&service(), Colour::Green, &[self.green.address])
            .await
            .expect("pointed");
        let previewed = self.router.preview(&service(), Some(Colour::Green)).await;
        previewed.expect("previewed");
        until("green", 5, || self.up(Colour::Green)).await;
    }

    async fn whole(&self, headers: &str) -> String {
        self.raw("GET /client", headers).await
    }

    async fn work(&self, headers: &str) -> String {
        self.raw("POST /work", &format!("Content-Length: 0\r\n{headers}")).await
    }

    /// On a connection of its own: the whole answer, as it came.
    async fn raw(&self, line: &str, headers: &str) -> String {
        let mut stream = TcpStream::connect(self.at).await.expect("connects");
        let request = format!("{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    /// What the router's process has said, without what it finds odd about its configuration: nothing is odd.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.folder.path().join("log")).expect("a log");
        assert!(!said.contains("config :"), "{said}");
        said
    }

    async fn restart(&mut self) {
        self.process.end();
        self.process = Process::start(self.folder.path());
        until("the router", 5, || self.router.alive()).await;
    }

    async fn ask(&self, headers: &str) -> (u16, String) {
        let mut connection = Connection::open(self.at).await.expect("connects");
        connection.send("POST", "/work", headers, "x").await.expect("answered")
    }
}
