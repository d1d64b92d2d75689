//! Times of requests by colour, from the router's log.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use arkwright::model::{Colour, Span};
use arkwright::ports::{Latency, Router};

use crate::lab::{Connection, Load, Sockets, until};
use crate::local::router;
use crate::{Stage, service, stage};

const MINUTE: Span = Span::seconds(60);

impl Stage {
    async fn latency(&self) -> [Latency; 2] {
        let all = self.router.latency(&service(), MINUTE).await.expect("latency");
        assert_eq!(all.map(|(colour, _)| colour), Colour::BOTH);
        all.map(|(_, latency)| latency)
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("run/log.sock")
    }

    /// One request that takes this long at the colour that has the weight.
    async fn slow(&self, millis: u64) {
        let mut connection = Connection::open(self.at).await.expect("connects");
        let answer = connection.send("POST", "/work", "", &millis.to_string()).await;
        assert_eq!(answer.expect("answered").0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_colour_is_timed_by_its_own_requests() {
    let Some(stage) = stage().await else { return };
    assert_eq!(stage.latency().await[0].seen, 0);
    stage.point_green().await;
    for _ in 0..10 {
        stage.slow(20).await;
    }
    stage.steer(100).await;
    for _ in 0..10 {
        stage.slow(200).await;
    }
    let sockets = Sockets::open(stage.at, "/ws", 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sockets.cut().await, 0);
    until("the log", 2, async || stage.latency().await[1].seen >= 10).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let [blue, green] = stage.latency().await;
    println!("{blue:?} {green:?}");
    assert_eq!((blue.seen, green.seen), (10, 10), "the WebSockets are not among them");
    let near = |found: Option<Span>, millis: u64| {
        let found = found.expect("seen");
        let (least, most) = (Span::millis(millis * 31 / 32), Span::millis(millis + 100));
        assert!(found >= least && found < most, "{found} for {millis} ms");
    };
    near(blue.p50, 20);
    near(green.p50, 200);
    near(green.p99, 200);
    assert!(green.listened > Span::ZERO && green.listened < MINUTE);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_silence_nor_a_deaf_listener_loses_or_slows_a_request() {
    let Some(stage) = stage().await else { return };
    let folder = stage.folder.path();
    // Nobody has ever listened; then somebody did and is gone; then one never reads; then one is there.
    let mut slowest = Vec::new();
    let mut counts = Vec::new();
    for listener in ["none", "gone", "deaf", "there"] {
        let deaf = match listener {
            "none" => None,
            "gone" => {
                router(folder).listen().await.expect("listens");
                assert!(stage.socket().exists());
                None
            }
            "deaf" => {
                std::fs::remove_file(stage.socket()).expect("there");
                Some(UnixDatagram::bind(stage.socket()).expect("bound"))
            }
            _ => {
                stage.router.listen().await.expect("listens");
                None
            }
        };
        let load = Load::start(stage.at, "/work", 8, Duration::ZERO, "");
        tokio::time::sleep(Duration::from_millis(700)).await;
        let counted = load.stop().await;
        assert_eq!(counted.lost, [""; 0], "{listener}: of {}", counted.sent);
        slowest.push(counted.slowest);
        counts.push(counted.sent);
        drop(deaf);
    }
    println!("none, gone, deaf, there: {counts:?} requests, slowest {slowest:?}");
    assert!(
        slowest.iter().all(|slowest| *slowest < Duration::from_millis(500)),
        "{slowest:?}"
    );
    assert!(counts.iter().all(|count| count * 4 > counts[0]), "{counts:?}");
    let [blue, _] = stage.latency().await;
    println!("{} of {} requests were seen", blue.seen, counts[3]);
    assert!(blue.seen > 0 && blue.seen <= counts[3], "{blue:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_taken_away_is_made_again_and_rubbish_is_not_heard() {
    let Some(stage) = stage().await else { return };
    stage.router.listen().await.expect("listens");
    let sender = UnixDatagram::unbound().expect("a socket");
    let rubbish: [&[u8]; 6] = [
        b"",
        b"web blue1 200 99999999999999999999",
        b"\xff\xfe\x00",
        &[b'9'; 2000],
        b"other blue1 200 7",
        b"web blue1 200 7 and more",
    ];
    for datagram in rubbish {
        sender.send_to(datagram, stage.socket()).expect("sent");
    }
    stage.slow(1).await;
    until("the log", 2, async || stage.latency().await[0].seen == 1).await;
    // Another process begins to listen, and ends.
    router(stage.folder.path()).listen().await.expect("listens");
    let [blue, _] = stage.latency().await;
    assert_eq!(blue.seen, 0, "who was not told does not pretend");
    stage.slow(1).await;
    until("the log", 2, async || stage.latency().await[0].seen == 1).await;
    std::fs::remove_file(stage.socket()).expect("there");
    stage.slow(1).await;
    stage.latency().await;
    stage.slow(1).await;
    until("the log", 2, async || stage.latency().await[0].seen == 1).await;
    let folder = std::fs::read_dir(stage.folder.path().join("run")).expect("a folder");
    let left: Vec<_> = folder.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with('.')),
        "{left:?}"
    );
}
