//! Weights, the gate, restarts: what moves requests loses none.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arkwright::model::{Colour, Span};
use arkwright::ports::{Router, RouterError};

use crate::lab::{Connection, Load, Sockets, until};
use crate::local::{Process, Server, free_port};
use crate::{route, service, stage};

#[tokio::test(flavor = "multi_thread")]
async fn traffic_moves_back_and_forth_without_losing_a_request_or_cutting_a_socket() {
    let Some(stage) = stage().await else { return };
    let sockets = Sockets::open(stage.at, "/ws", 5).await;
    let load = Load::start(stage.at, "/work", 16, Duration::from_millis(1), "");
    stage.point_green().await;
    assert_eq!(stage.green.served(), 0, "a colour without weight gets nothing");
    let mut slowest = Duration::ZERO;
    for turn in 0..20 {
        let begun = Instant::now();
        stage.steer(if turn % 2 == 0 { 100 } else { 0 }).await;
        slowest = slowest.max(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.steer(100).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = stage.blue.served();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stage.blue.served(), before, "all of it goes to green");
    let slots = stage.router.slots(&service()).await.expect("slots");
    let sessions: u64 = slots.iter().map(|s| s.upgraded).sum();
    assert_eq!(sessions, 5, "{slots:?}");
    let counted = load.stop().await;
    println!(
        "{} requests, slowest {:?}, slowest steering {slowest:?}",
        counted.sent, counted.slowest
    );
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
    let figures = stage.router.figures(&service()).await.expect("figures");
    assert_eq!(figures[0].1.requests, stage.blue.served() + 5);
    assert_eq!(figures[1].1.requests, stage.green.served());
    assert_eq!((figures[0].1.responses_5xx, figures[1].1.responses_5xx), (0, 0));
    assert_eq!(
        stage
            .router
            .shut_sessions(&service(), Colour::Green, Span::ZERO)
            .await
            .expect("none there"),
        0
    );
    assert_eq!(
        stage
            .router
            .shut_sessions(&service(), Colour::Blue, Span::ZERO)
            .await
            .expect("shut"),
        5
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(sockets.cut().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_is_exact_and_the_preview_reaches_a_healthy_colour_without_weight() {
    let Some(stage) = stage().await else { return };
    assert_eq!(stage.ask("canary: true\r\n").await.1, "blue", "green is not there yet");
    stage.green.healthy.store(false, Ordering::SeqCst);
    stage
        .router
        .point(&service(), Colour::Green, &[stage.green.address])
        .await
        .expect("pointed");
    let preview = async |colour| stage.router.preview(&service(), colour).await.expect("previewed");
    preview(Some(Colour::Green)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!stage.up(Colour::Green).await);
    assert_eq!(
        stage.ask("canary: true\r\n").await.1,
        "blue",
        "an unhealthy colour is never shown"
    );
    assert_eq!(stage.green.served(), 0);
    stage.green.healthy.store(true, Ordering::SeqCst);
    until("green", 5, || stage.up(Colour::Green)).await;
    assert_eq!(stage.ask("canary: true\r\n").await.1, "green");
    assert_eq!(stage.ask("").await.1, "blue");
    let before = stage.green.served();
    stage.steer(10).await;
    for _ in 0..200 {
        assert_eq!(stage.ask("").await.0, 200);
    }
    assert_eq!(stage.green.served() - before, 20, "10 % of 200");
    for _ in 0..20 {
        assert_eq!(stage.ask("canary: true\r\n").await.1, "green", "whatever its weight");
    }
    preview(None).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seen.insert(stage.ask("canary: true\r\n").await.1);
    }
    assert_eq!(seen.len(), 2, "where everybody goes");
    let mut connection = Connection::open(stage.at).await.expect("connects");
    let (_, seen) = connection
        .send("GET", "/client", "X-Forwarded-For: 203.0.113.9\r\n", "")
        .await
        .expect("answered");
    assert_eq!(seen, "203.0.113.9, 127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_gate_holds_every_request_and_opens_by_itself() {
    let Some(stage) = stage().await else { return };
    let load = Load::start(stage.at, "/work", 8, Duration::from_millis(1), "");
    tokio::time::sleep(Duration::from_millis(100)).await;
    stage
        .router
        .gate(&service(), Some(Span::seconds(5)))
        .await
        .expect("closed");
    stage
        .router
        .gate(&service(), Some(Span::seconds(50)))
        .await
        .expect("closed already");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = stage.blue.served();
    let slots = stage.router.slots(&service()).await.expect("slots");
    assert_eq!(
        slots.iter().map(|s| s.in_flight).sum::<u64>(),
        0,
        "nothing is under way"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.blue.served(), before);
    let (waiting, longest) = stage.router.waiting(&service()).await.expect("waiting");
    assert_eq!(waiting, 8);
    assert!(longest >= Span::millis(250) && longest < Span::seconds(30), "{longest}");
    stage.router.gate(&service(), None).await.expect("opened");
    stage.router.gate(&service(), None).await.expect("opened twice");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(stage.blue.served() > before);
    stage
        .router
        .gate(&service(), Some(Span::millis(300)))
        .await
        .expect("closed");
    let begun = Instant::now();
    assert_eq!(stage.ask("").await.0, 200, "nobody opened it");
    assert!(begun.elapsed() >= Duration::from_millis(250) && begun.elapsed() < Duration::from_secs(20));
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_is_added_under_load_and_a_restart_serves_the_same() {
    let Some(mut stage) = stage().await else { return };
    stage.point_green().await;
    stage.steer(100).await;
    let load = Load::start(stage.at, "/work", 16, Duration::from_millis(1), "");
    let sockets = Sockets::open(stage.at, "/ws", 3).await;
    let mut routes = stage.router.routes().await.expect("routes");
    let port = free_port().await;
    let other = Server::start("other", "127.0.0.4", port).await;
    let mut second = route(port, Some(other.address));
    second.service = "api".parse().expect("a name");
    second.hold_limit = None;
    second.preview = None;
    routes.push(second.clone());
    stage.router.apply(&routes).await.expect("reloaded");
    let mut connection = Connection::open(SocketAddr::from(([127, 0, 0, 1], port)))
        .await
        .expect("listens");
    assert_eq!(
        connection.send("POST", "/work", "", "x").await.expect("answered").1,
        "other"
    );
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.blue.served(), 0, "the weights are those from before");
    // What the process refuses is neither served nor kept.
    let mut clash = second.clone();
    clash.port = 1;
    clash.service = "clash".parse().expect("a name");
    clash.health_path = "/it's".into();
    let refusal = stage.router.apply(&[clash]).await.expect_err("a quote in a path");
    assert!(matches!(refusal, RouterError::Unrenderable { .. }), "{refusal}");
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
    assert_eq!(sockets.cut().await, 0);
    assert_eq!(stage.router.routes().await.expect("routes"), routes);

    stage.process.end();
    let gone = stage
        .router
        .steer(&service(), [(Colour::Blue, 0), (Colour::Green, 100)])
        .await;
    assert!(matches!(gone, Err(RouterError::Unreachable { .. })), "{gone:?}");
    stage.process = Process::start(stage.folder.path());
    until("the router", 5, || stage.router.alive()).await;
    assert_eq!(stage.ask("").await.1, "green");
    assert_eq!(stage.port, stage.at.port());

    let file = stage.folder.path().join("config/haproxy.cfg");
    let text = std::fs::read_to_string(&file)
        .expect("there")
        .replace("weight 100", "weight 50");
    std::fs::write(&file, text).expect("edited");
    let refusal = stage.router.routes().await.expect_err("edited");
    assert!(matches!(refusal, RouterError::Foreign { .. }), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_colour_the_answer_says_when_to_come_back() {
    let Some(stage) = stage().await else { return };
    stage
        .router
        .point(&service(), Colour::Blue, &[])
        .await
        .expect("out of service");
    let mut connection = Connection::open(stage.at).await.expect("connects");
    let begun = Instant::now();
    assert_eq!(
        connection.send("POST", "/work", "", "x").await.expect("answered").0,
        503
    );
    assert!(begun.elapsed() < Duration::from_secs(1));
    let refusal = stage
        .router
        .steer(
            &"nobody".parse().expect("a name"),
            [(Colour::Blue, 0), (Colour::Green, 0)],
        )
        .await;
    assert!(matches!(refusal, Err(RouterError::UnknownService(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_process_from_before_a_reload_is_steered_as_well() {
    let Some(stage) = stage().await else { return };
    stage.point_green().await;
    let load = Load::start(stage.at, "/work", 8, Duration::from_millis(1), "");
    let sockets = Sockets::open(stage.at, "/ws", 3).await;
    let gate = async |closed| stage.router.gate(&service(), closed).await.expect("a gate");
    gate(Some(Span::seconds(50))).await;
    let waiting = async || stage.router.waiting(&service()).await.expect("waiting").0;
    until("all wait", 10, || async { waiting().await == 8 }).await;
    let before = (stage.blue.served(), stage.green.served());
    let mut routes = stage.router.routes().await.expect("routes");
    let mut second = route(free_port().await, None);
    second.service = "api".parse().expect("a name");
    routes.push(second);
    stage.router.apply(&routes).await.expect("reloaded");
    until("they wait with the process that took over", 10, || async {
        waiting().await == 8
    })
    .await;
    let upgraded = async || {
        let slots = stage.router.slots(&service()).await.expect("slots");
        slots.iter().map(|slot| slot.upgraded).sum::<u64>()
    };
    assert_eq!(upgraded().await, 3, "and the WebSockets are there");

    until("green", 10, || stage.up(Colour::Green)).await;
    stage.steer(100).await;
    gate(None).await;
    until("green is asked", 10, || async { stage.green.served() > before.1 + 8 }).await;
    assert_eq!(
        stage.blue.served(),
        before.0,
        "nobody was sent where it had waited to go"
    );
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
    let shut = stage.router.shut_sessions(&service(), Colour::Blue, Span::ZERO).await;
    assert_eq!(shut.expect("shut"), 3);
    until("they are gone", 10, || async { upgraded().await == 0 }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(sockets.cut().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_is_told_while_another_takes_over_is_not_forgotten() {
    let Some(stage) = stage().await else { return };
    stage.point_green().await;
    let load = Load::start(stage.at, "/work", 4, Duration::from_millis(2), "");
    let reload = async || {
        use tokio::io::AsyncWriteExt;
        let mut master = tokio::net::UnixStream::connect(stage.folder.path().join("run/master.sock"))
            .await
            .expect("a master");
        master.write_all(b"reload\n").await.expect("told");
    };
    for turn in 0..20 {
        let green = if turn % 2 == 0 { 100 } else { 0 };
        let closed = (turn % 3 == 0).then_some(Span::seconds(50));
        // Somebody else has it load what is there, just before.
        reload().await;
        tokio::time::sleep(Duration::from_millis(turn * 2)).await;
        stage.steer(green).await;
        stage.router.gate(&service(), closed).await.expect("a gate");
        // Whoever was to take over has done so by now.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let slots = stage.router.slots(&service()).await.expect("slots");
        let has = slots
            .iter()
            .find(|slot| slot.colour == Colour::Green)
            .expect("green")
            .weight;
        assert_eq!(has, green, "in turn {turn}");
        let (waiting, _) = stage.router.waiting(&service()).await.expect("waiting");
        assert_eq!(waiting > 0, closed.is_some(), "in turn {turn}");
        stage.router.gate(&service(), None).await.expect("opened");
    }
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
}
