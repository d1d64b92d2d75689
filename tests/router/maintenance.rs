//! The page that is shown while somebody works on a service.

use std::time::Duration;

use arkwright::model::Span;
use arkwright::ports::{Notice, Router, RouterError};

use crate::lab::{Connection, Load, Sockets};
use crate::{Stage, service, stage};

impl Stage {
    async fn maintenance(&self, retry_after: Option<Span>) {
        let notice = retry_after.map(|retry_after| Notice { retry_after });
        self.router.maintenance(&service(), notice).await.expect("switched");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_requests_are_told_when_to_come_back_and_nothing_under_way_is_cut() {
    let Some(mut stage) = stage().await else { return };
    let sockets = Sockets::open(stage.at, "/ws", 3).await;
    let long = tokio::spawn({
        let at = stage.at;
        async move {
            let mut connection = Connection::open(at).await.expect("connects");
            connection.send("POST", "/work", "", "700").await.expect("answered")
        }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(stage.router.in_maintenance().await.expect("read").len(), 0);
    stage.maintenance(Some(Span::millis(119_500))).await;
    stage.maintenance(Some(Span::millis(119_500))).await;
    let answer = stage.whole("").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\nretry-after: 120\r\n"), "{answer}");
    assert!(
        answer.contains("\r\ncontent-type: text/html; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("系統維護中") && answer.contains("Down for maintenance"),
        "{answer}"
    );
    assert!(answer.trim_end().ends_with("</html>"), "{answer}");
    assert!(stage.whole("Upgrade: websocket\r\n").await.starts_with("HTTP/1.1 503 "));
    assert!(
        stage.whole("canary: true\r\n").await.starts_with("HTTP/1.1 200 "),
        "the operator looks"
    );
    assert_eq!(long.await.expect("a request"), (200, "blue".into()), "it was under way");

    stage.steer(0).await;
    assert!(
        stage.whole("").await.starts_with("HTTP/1.1 503 "),
        "another change leaves it"
    );
    stage
        .router
        .apply(&stage.router.routes().await.expect("routes"))
        .await
        .expect("applied");
    assert!(stage.whole("").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(sockets.cut().await, 0);
    stage.restart().await;
    assert!(
        stage.whole("").await.contains("\r\nretry-after: 120\r\n"),
        "a restart serves the same"
    );
    let known = stage.router.in_maintenance().await.expect("read");
    assert_eq!(known.get(&service()).map(|notice| notice.seconds()), Some(120));

    stage.maintenance(None).await;
    stage.maintenance(None).await;
    assert!(stage.whole("").await.starts_with("HTTP/1.1 200 "));
    stage.restart().await;
    assert!(stage.whole("").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(stage.router.in_maintenance().await.expect("read").len(), 0);
    let nobody = "nobody".parse().expect("a name");
    let refusal = stage.router.maintenance(&nobody, None).await;
    assert!(matches!(refusal, Err(RouterError::UnknownService(_))), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_ones_own_comes_as_it_was_written_and_another_page_costs_no_request() {
    let Some(stage) = stage().await else { return };
    let load = Load::start(stage.at, "/work", 8, Duration::from_millis(1), "");
    let mut routes = stage.router.routes().await.expect("routes");
    let page = format!(
        "<p>it's \"$HOME\" %[date] \\n # {{ }}\r\n\t維護 {}</p>",
        "x".repeat(15_000)
    );
    routes[0].page = Some(page.clone());
    stage.router.apply(&routes).await.expect("reloaded");
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
    stage.maintenance(Some(Span::ZERO)).await;
    let answer = stage.whole("").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    assert_eq!(body, page);
    assert!(stage.said().contains("NOTICE"));
    assert_eq!(stage.router.routes().await.expect("routes"), routes);
}
