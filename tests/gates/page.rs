use std::time::Instant;

use arkwright::release::{Look, Verdict, judge};
use serde_json::json;

use crate::bench::{gate, scene, simple, unknown, value};
use crate::server::{Server, free_port};

#[tokio::test]
async fn a_status_decides() {
    let server = Server::start(200, "fine").await;
    let up = gate(json!({ "source": "http", "url": server.url() }));
    let looker = simple();
    for status in [200, 204, 302] {
        server.say(status, "");
        assert_eq!(looker.look(&up, &scene()).await, Look::Decided(Ok(())), "{status}");
    }
    for status in [404, 500, 503] {
        server.say(status, "hunter2\nhunter2");
        let why = format!("it answered {status}");
        assert_eq!(looker.look(&up, &scene()).await, Look::Decided(Err(why)));
    }
    let down = gate(json!({ "source": "http", "url": format!("http://u:hunter2@127.0.0.1:{}/x", free_port()) }));
    let why = unknown(&down, &looker.look(&down, &scene()).await);
    assert!(why.contains("cannot be reached") && !why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_pointer_finds_a_number_or_nothing_is_known() {
    let server = Server::start(200, "").await;
    let rate = gate(json!({ "source": "http", "url": server.url(), "pointer": "/data/rate", "max": "1%" }));
    let looker = simple();
    for (body, wanted) in [
        (r#"{"data":{"rate":0.5}}"#, 0.5),
        (r#"{"data":{"rate":"0.5"}}"#, 0.5),
        (r#"{"data":{"rate":"0.5%"}}"#, 0.5),
        (r#"{"data":{"rate":3}}"#, 3.0),
    ] {
        server.say(200, body);
        assert_eq!(value(&looker.look(&rate, &scene()).await), wanted, "{body}");
    }
    for (status, body, wanted) in [
        (200, r#"{"data":{}}"#, "nothing at /data/rate"),
        (200, r#"{"data":{"rate":null}}"#, "no number"),
        (200, r#"{"data":{"rate":[1]}}"#, "no number"),
        (200, r#"{"data":{"rate":"NaN"}}"#, "no number"),
        (200, r#"{"data":{"rate":"5s"}}"#, "does not fit"),
        (200, r#"{"data":{"rate":1e999}}"#, "no JSON"),
        (200, "<html>", "no JSON"),
        (503, r#"{"data":{"rate":0.1}}"#, "answered 503"),
    ] {
        server.say(status, body);
        let why = unknown(&rate, &looker.look(&rate, &scene()).await);
        assert!(why.contains(wanted), "{body}: {why}");
    }
    server.say(200, &"[".repeat(100_000));
    unknown(&rate, &looker.look(&rate, &scene()).await);
}

#[tokio::test]
async fn a_look_ends_with_its_gates_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    let slow = gate(json!({ "source": "http", "url": url, "timeout": "300ms" }));
    let began = Instant::now();
    let look = simple().look(&slow, &scene()).await;
    assert!(began.elapsed().as_millis() < 1500, "{:?}", began.elapsed());
    assert!(unknown(&slow, &look).contains("within 300ms"), "{look:?}");
    assert!(matches!(judge(&slow, &look), Verdict::Inconclusive(_)));
}
