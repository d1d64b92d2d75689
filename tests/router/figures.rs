//! What the router counts of a colour, and what it does not.

use std::net::IpAddr;

use arkwright::model::Colour;
use arkwright::ports::{Figures, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::lab::{Connection, until};
use crate::{service, stage};

/// Answers its checks, and `500` where asked for `/bad`; breaks off before any other answer.
async fn breaking(address: IpAddr, port: u16) {
    let listener = TcpListener::bind((address, port)).await.expect("a free address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream));
        }
    });
}

async fn one(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let answer = match head.split(|b| *b == b' ').nth(1) {
        Some(b"/health") => "200 OK",
        Some(b"/bad") => "500 Internal Server Error",
        _ => return,
    };
    let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_counted_apart_from_a_bad_one() {
    let Some(stage) = stage().await else { return };
    let address: IpAddr = "127.0.0.5".parse().expect("an address");
    breaking(address, stage.port).await;
    stage
        .router
        .point(&service(), Colour::Green, &[address])
        .await
        .expect("pointed");
    let previewed = stage.router.preview(&service(), Some(Colour::Green)).await;
    previewed.expect("previewed");
    until("green", 5, || stage.up(Colour::Green)).await;
    let before = stage.router.figures(&service()).await.expect("figures");
    let status = async |path: &str| {
        let mut connection = Connection::open(stage.at).await.expect("connects");
        connection
            .send("GET", path, "canary: true\r\n", "")
            .await
            .expect("answered")
            .0
    };
    for _ in 0..3 {
        assert_eq!(status("/breaks").await, 502);
    }
    assert_eq!(status("/bad").await, 500);
    assert_eq!(status("/bad").await, 500);
    let after = stage.router.figures(&service()).await.expect("figures");
    let [blue, green] = [0, 1].map(|at| after[at].1.since(before[at].1));
    assert_eq!(blue, Figures::default());
    assert_eq!((green.requests, green.responses_5xx, green.response_errors), (5, 2, 3));
    assert_eq!((green.failures(), green.connection_failures), (5, 0));
}
