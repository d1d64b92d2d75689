//! A client that was given a colour stays with it, and loses it when the colour does.

use arkwright::model::Colour;
use arkwright::ports::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::lab::until;
use crate::{Stage, service, stage};

impl Stage {
    async fn sticky(&self) {
        let mut routes = self.router.routes().await.expect("routes");
        routes[0].sticky = true;
        self.router.apply(&routes).await.expect("reloaded");
        self.point_green().await;
    }

    /// Who answered, and the cookie the client has after that.
    async fn visit(&self, cookie: Option<&str>) -> (String, Option<String>) {
        let header = cookie.map_or(String::new(), |cookie| format!("Cookie: x=y; {cookie}\r\n"));
        let served = (self.blue.served(), self.green.served());
        let answer = self.work(&header).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let now = (self.blue.served(), self.green.served());
        let colour = match (now.0 - served.0, now.1 - served.1) {
            (1, 0) => "blue",
            (0, 1) => "green",
            other => panic!("{other:?}"),
        };
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        assert_eq!(
            set.is_some(),
            answer.contains("\r\ncache-control: private\r\n"),
            "{answer}"
        );
        let set = set.map(|set| set.split(';').next().expect("a value").to_owned());
        (colour.to_owned(), set)
    }

    /// A WebSocket, and the head it was answered with.
    async fn socket_with(&self, cookie: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.at).await.expect("connects");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: {cookie}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        (stream, String::from_utf8_lossy(&head).into_owned())
    }

    /// New clients, and the colour and cookie each was given.
    async fn newcomers(&self, count: usize) -> Vec<(String, String)> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let (colour, cookie) = self.visit(None).await;
            clients.push((colour, cookie.expect("a new client is told")));
        }
        clients
    }
}

/// The turns go round, and a colour whose weight has just changed begins anywhere in the round.
fn share(found: usize, of: usize, percent: usize) {
    let due = of * percent / 100;
    assert!(found.abs_diff(due) <= 1, "{found} of {of} where {due} were due");
}

fn green(clients: &[(String, String)]) -> usize {
    clients.iter().filter(|(colour, _)| colour == "green").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_of_new_clients_is_exact_while_old_ones_stay_and_all_leave_a_colour_that_is_taken_back() {
    let Some(mut stage) = stage().await else { return };
    stage.sticky().await;
    stage.steer(5).await;
    let clients = stage.newcomers(200).await;
    share(green(&clients), 200, 5);
    for (colour, cookie) in &clients {
        let (again, set) = stage.visit(Some(cookie)).await;
        assert_eq!((&again, &set), (colour, &None), "{cookie}");
    }
    share(green(&stage.newcomers(200).await), 200, 5);
    stage.restart().await;
    until("green", 5, || stage.up(Colour::Green)).await;
    let of_green: Vec<_> = clients.iter().filter(|(colour, _)| colour == "green").collect();
    for (_, cookie) in &of_green {
        assert_eq!(
            stage.visit(Some(cookie)).await,
            ("green".into(), None),
            "after a restart"
        );
    }

    let mut open = Vec::new();
    for (_, cookie) in &of_green {
        let (socket, head) = stage.socket_with(cookie).await;
        assert!(
            head.starts_with("HTTP/1.1 101 ") && !head.contains("set-cookie"),
            "{head}"
        );
        open.push(socket);
    }
    let slots = stage.router.slots(&service()).await.expect("slots");
    let upgraded: Vec<_> = slots.iter().map(|slot| (slot.colour, slot.upgraded)).collect();
    assert_eq!(upgraded, [(Colour::Blue, 0), (Colour::Green, of_green.len() as u64)]);

    stage.steer(0).await;
    for (_, cookie) in &of_green {
        let (colour, set) = stage.visit(Some(cookie)).await;
        assert_eq!(colour, "blue");
        assert!(set.is_some_and(|set| set.starts_with("arkwright-colour-web=blue1.")));
    }
    // Another release begins: who was in the first one and has not been back since is a new client.
    stage.steer(5).await;
    let mut back = 0;
    for (_, cookie) in of_green.iter().cycle().take(100) {
        let (colour, set) = stage.visit(Some(cookie)).await;
        assert!(set.is_some_and(|set| set != *cookie));
        back += usize::from(colour == "green");
    }
    share(back, 100, 5);
    for odd in [
        "green1",
        "green1.",
        "green9.1",
        "orange1.1",
        "",
        ".",
        "green1.1.1",
        "green1.00000000001",
    ] {
        let (_, set) = stage.visit(Some(&format!("arkwright-colour-web={odd}"))).await;
        assert!(set.is_some(), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_the_preview_is_not_bound_to_it() {
    let Some(stage) = stage().await else { return };
    stage.sticky().await;
    let answer = stage.work("canary: true\r\n").await;
    assert!(!answer.contains("set-cookie"), "{answer}");
    assert_eq!(stage.green.served(), 1);
    let kept = stage.newcomers(1).await;
    assert_eq!(kept[0].0, "blue");
    stage.work(&format!("canary: true\r\nCookie: {}\r\n", kept[0].1)).await;
    assert_eq!(stage.green.served(), 2, "the preview goes before the cookie");
    assert!(stage.said().contains("NOTICE"));
}
