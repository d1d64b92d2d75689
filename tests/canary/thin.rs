//! Too few requests to judge by: nothing is passed, and what then happens is what was asked for.

use std::time::Duration;

use arkwright::model::Colour;
use serde_json::Value;

use crate::diary::{between, hold};
use crate::lab::until;
use crate::load::Clients;
use crate::stage::{Setting, Stage, everywhere, meanwhile};

const GATES: &str = "errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 20, \
                     every: 1s, window: 5s }";
const PATIENCE: Duration = Duration::from_secs(5);

fn release(then: &str) -> String {
    format!("steps: [{{ weight: 5, hold: 2s }}], gates: [errors], inconclusive: {{ after: 5s, do: {then} }}")
}

/// A request every few seconds.
fn trickle(stage: &Stage<'_>) -> Clients {
    Clients::start(stage.at, 1, Duration::from_secs(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_trickle_pauses_and_a_person_takes_it_back() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            release: &release("pause"),
            gates: GATES,
            ..Setting::default()
        };
        let mut stage = Stage::up(folder.path(), &host, setting).await;
        stage.agent().await;
        let clients = trickle(&stage);
        let deploying = stage.deploy(1, "1.1.0-errors");
        let steering = async {
            until("the pause", 30, async || stage.newest().await["outcome"] == "paused").await;
            let paused = stage.newest().await;
            let because = paused["because"].as_str().expect("a reason").to_owned();
            println!("{engine}: {because}");
            for part in ["paused by arkwright", "inconclusive for 5.0 s", "gate errors: "] {
                assert!(because.contains(part), "{engine}: `{because}` without `{part}`");
            }
            assert_eq!(stage.containers(Colour::Green).await.len(), 1, "{engine}: it is held");
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(
                stage.newest().await["outcome"],
                "paused",
                "{engine}: until someone decides"
            );
            let back = stage.ends(0, &["abort", "--reason", "nobody comes"]).await;
            assert_eq!(back["outcome"], "aborted", "{engine}: {back}");
            back
        };
        let (deployed, back) = meanwhile(deploying, steering).await;
        assert_eq!(deployed["outcome"], "aborted");
        let asked: Vec<&str> = requests(&back)
            .map(|one| one["request"].as_str().expect("a word"))
            .collect();
        assert_eq!(asked, ["pause", "abort"], "{engine}: {back}");
        let by = requests(&back).last().expect("two")["by"]
            .as_str()
            .expect("a person")
            .to_owned();
        assert!(by.ends_with(": nobody comes"), "{engine}: {by}");
        clients.stop().await;
        assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
        assert_eq!(stage.version().await.as_deref(), Some("1.0.0"));
        stage.end(&["1.0.0", "1.1.0-errors"]).await;
    })
    .await;
}

fn requests(receipt: &Value) -> impl Iterator<Item = &Value> {
    receipt["detail"]["requests"].as_array().expect("requests").iter()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_trickle_takes_it_back_where_that_is_asked_for() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            release: &release("abort"),
            gates: GATES,
            ..Setting::default()
        };
        let stage = Stage::up(folder.path(), &host, setting).await;
        let clients = trickle(&stage);
        let back = stage.deploy(1, "1.1.0-errors").await;
        clients.stop().await;
        assert_eq!(back["outcome"], "rolled_back", "{engine}: {back}");
        let because = back["because"].as_str().expect("a reason");
        println!("{engine}: {because}");
        assert!(
            because.contains("inconclusive for 5.0 s: gate errors: "),
            "{engine}: {because}"
        );
        let diary = stage.diary();
        let held = between(diary.began(hold), diary.failed()).std();
        assert!(held >= Duration::from_secs(2) + PATIENCE, "{engine}: {held:?}");
        assert!(held < Duration::from_secs(2) + 2 * PATIENCE, "{engine}: {held:?}");
        assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
        stage.end(&["1.0.0", "1.1.0-errors"]).await;
    })
    .await;
}
