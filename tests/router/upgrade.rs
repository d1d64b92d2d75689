//! A router that an older arkwright has started, and that knows nothing of what came later.

use std::time::Duration;

use arkwright::model::{Colour, Digest, Span};
use arkwright::ports::{Notice, Router};
use serde_json::Value;

use crate::lab::{Load, until};
use crate::local::Process;
use crate::{service, stage};

/// The configuration without maps, previews and a description of itself.
fn as_it_was(text: &str) -> String {
    let mut lines = text.lines();
    let head = lines.next().expect("a head");
    let (head, _) = head.rsplit_once(' ').expect("a sum");
    let told = lines
        .next()
        .and_then(|line| line.strip_prefix("# "))
        .expect("what it is made of");
    let mut told: Value = serde_json::from_str(told).expect("JSON");
    for later in ["notices", "lives", "previewed", "key"] {
        told.as_object_mut().expect("an object").remove(later);
    }
    let later = [
        "state.map",
        "description ",
        "txn.",
        "stopping",
        ":again",
        "server self",
        "log ",
    ];
    let kept = lines.filter(|line| !later.iter().any(|word| line.contains(word)));
    let rest = format!("# {told}\n{}\n", kept.collect::<Vec<_>>().join("\n"));
    format!("{head} {}\n{rest}", Digest::of(rest.as_bytes()).hex())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_not_know_it_learns_without_losing_a_request() {
    let Some(mut stage) = stage().await else { return };
    stage.point_green().await;
    let file = stage.folder.path().join("config/haproxy.cfg");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    stage.process.end();
    std::fs::write(&file, as_it_was(&text)).expect("written");
    std::fs::remove_file(stage.folder.path().join("config/state.map")).expect("there was one");
    stage.process = Process::start(stage.folder.path());
    until("the router", 5, || stage.router.alive()).await;
    until("blue", 5, || stage.up(Colour::Blue)).await;
    until("green", 5, || stage.up(Colour::Green)).await;

    let load = Load::start(stage.at, "/work", 8, Duration::from_millis(1), "");
    let previewed = stage.router.preview(&service(), Some(Colour::Green)).await;
    previewed.expect("it has loaded what it takes");
    assert_eq!(stage.ask("canary: true\r\n").await.1, "green");
    assert_eq!(stage.ask("").await.1, "blue");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let counted = load.stop().await;
    assert_eq!(counted.lost, [""; 0], "of {}", counted.sent);
    let notice = Some(Notice {
        retry_after: Span::seconds(60),
    });
    stage.router.maintenance(&service(), notice).await.expect("switched");
    assert_eq!(stage.ask("").await.0, 503);
}
