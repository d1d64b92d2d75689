use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arkwright::http::WebClient;
use arkwright::model::Span;
use arkwright::release::Look;
use arkwright::run::gates::{Probed, Prober, Probes};

use crate::server::{Server, free_port};

fn prober(port: u16) -> Prober {
    let router = SocketAddr::from(([127, 0, 0, 1], port));
    let preview = ("canary".to_owned(), "true".to_owned());
    Prober::new(
        Arc::new(WebClient::default()),
        router,
        "/health",
        preview,
        Duration::from_secs(2),
    )
}

#[tokio::test]
async fn requests_of_our_own_carry_the_preview_header_and_are_counted() {
    let router = Server::start(200, "well").await;
    let (prober, probes) = (prober(router.port), Mutex::new(Probes::default()));
    let counted = || {
        let probes = probes.lock().expect("whole");
        probes.answered + probes.failed
    };
    let begun = async |at_least: u64| {
        while counted() < at_least {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let phase = async |at_least| {
        tokio::select! {
            _ = prober.keep_on(Span::millis(20), &probes) => unreachable!("it has no end"),
            () = begun(at_least) => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("no requests"),
        }
    };
    phase(5).await;
    assert_eq!(probes.lock().expect("whole").look(3), Look::Decided(Ok(())));
    assert!(
        probes
            .lock()
            .expect("whole")
            .quantile(0.95)
            .is_some_and(|p95| p95 < Span::seconds(2))
    );
    let asked = router.asked().remove(0).to_lowercase();
    assert!(
        asked.starts_with("get /health http/1.1\r\n") && asked.contains("canary: true\r\n"),
        "{asked}"
    );

    router.say(503, "");
    phase(9).await;
    let look = probes.lock().expect("whole").look(3);
    assert!(
        matches!(&look, Look::Decided(Err(why)) if why.contains("it answered 503")),
        "{look:?}"
    );
}

#[tokio::test]
async fn a_router_that_is_away_is_not_the_colours_fault() {
    let away = prober(free_port()).probe().await;
    assert!(matches!(away, Probed::Unknown(_)), "{away:?}");
    let router = Server::start(200, "").await;
    router.say_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut");
    let cut = prober(router.port).probe().await;
    assert!(matches!(cut, Probed::Failed(_)), "{cut:?}");
}
