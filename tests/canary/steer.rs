//! Steering a canary from other processes: through the agent, and what is said where there is none.

use arkwright::model::Colour;
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::until;
use crate::stage::{Setting, Stage, everywhere, meanwhile, signal};

const RELEASE: &str = "steps: [{ weight: 5, hold: 5m }, { weight: 50, hold: 5m }], keep_warm: 5m";

/// The stage is at this step of the canary.
async fn held_at(stage: &Stage<'_>, weight: u8) {
    let what = format!("{weight} %");
    let there = until(&what, 30, async || stage.weight(Colour::Green).await == Some(weight));
    tokio::select! {
        () = there => {}
        () = tokio::time::sleep(std::time::Duration::from_secs(25)) => {
            let told = std::fs::read_to_string(stage.cli.folder.join("told.log")).unwrap_or_default();
            panic!("{} is not at {weight} %: {:?}; {told}", stage.cli.host, stage.diary().0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn through_the_agent_it_is_paused_resumed_and_promoted() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            release: RELEASE,
            ..Setting::default()
        };
        let mut stage = Stage::up(folder.path(), &host, setting).await;
        stage.agent().await;
        for verb in ["pause", "promote", "abort"] {
            let told = stage.refused(8, &[verb]).await;
            assert_eq!(told["kind"], "not_found", "{engine} {verb}: {told}");
            assert_eq!(told["message"], "no release is under way", "{engine} {verb}: {told}");
        }

        let deploying = stage.deploy(0, "1.1.0");
        let steering = async {
            held_at(&stage, 5).await;
            let said = stage.told(0, &["pause", "web"]).await;
            assert!(
                said.contains("web:1.1.0 is paused; `arkwright history "),
                "{engine}: {said}"
            );
            let paused = stage.newest().await;
            assert_eq!(paused["outcome"], "paused", "{engine}: {paused}");
            let id = paused["operation"].as_str().expect("an id").to_owned();
            // `resume` follows what it takes on, to its end.
            let resume = ["resume", &id];
            let resuming = stage.ends(0, &resume);
            let rest = async {
                until("it goes on", 10, async || stage.newest().await["outcome"] == "running").await;
                let said = stage.told(0, &["promote"]).await;
                assert!(said.contains("web:1.1.0 is promoted; "), "{engine}: {said}");
                held_at(&stage, 50).await;
                stage.told(0, &["promote", "web", "--full"]).await;
            };
            let (resumed, ()) = tokio::join!(resuming, rest);
            assert_eq!(resumed["outcome"], "deployed", "{engine}: {resumed}");
        };
        let (receipt, ()) = meanwhile(deploying, steering).await;
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        let asked = receipt["detail"]["requests"].as_array().expect("requests");
        let words: Vec<&str> = asked.iter().filter_map(|one| one["request"].as_str()).collect();
        assert_eq!(words, ["pause", "resume", "promote", "promote_fully"], "{engine}");
        assert_eq!(stage.version().await.as_deref(), Some("1.1.0"));
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn through_the_agent_it_is_aborted_or_rolled_back_with_a_reason() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            release: RELEASE,
            ..Setting::default()
        };
        let mut stage = Stage::up(folder.path(), &host, setting).await;
        stage.agent().await;
        for verb in [
            &["abort", "--reason", "it smells"][..],
            &["rollback", "web", "--yes", "--reason", "it smells"],
        ] {
            let deploying = stage.deploy(1, "1.1.0");
            let steering = async {
                held_at(&stage, 5).await;
                stage.ends(0, verb).await
            };
            let (deployed, back) = meanwhile(deploying, steering).await;
            for receipt in [&deployed, &back] {
                assert_eq!(receipt["outcome"], "aborted", "{engine} {verb:?}: {receipt}");
                let by = &receipt["detail"]["requests"][0]["by"];
                assert!(
                    by.as_str().is_some_and(|by| by.ends_with(": it smells")),
                    "{engine} {verb:?}: {receipt}"
                );
            }
            assert_eq!(
                deployed["operation"], back["operation"],
                "{engine}: one release, not two"
            );
            assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
            assert_eq!(stage.version().await.as_deref(), Some("1.0.0"));
        }
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_an_agent_the_verbs_say_who_has_it() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            release: RELEASE,
            ..Setting::default()
        };
        let stage = Stage::up(folder.path(), &host, setting).await;
        let mut deploying = stage.spawn(&["deploy", "web=localhost/hwayo/web:1.1.0", "--yes", "--json"]);
        held_at(&stage, 5).await;
        for verb in [&["pause"][..], &["promote"], &["abort"], &["rollback", "web", "--yes"]] {
            let told: Value = stage.refused(6, verb).await;
            assert_eq!(told["kind"], "busy", "{engine} {verb:?}: {told}");
            let hints = told["hints"].to_string();
            assert!(
                hints.contains("steered from its own terminal (Ctrl-C aborts it)"),
                "{engine} {verb:?}: {told}"
            );
        }
        assert_eq!(
            stage.weight(Colour::Green).await,
            Some(5),
            "{engine}: nothing was changed"
        );
        signal(&deploying, Signal::INT);
        let code = deploying.wait().await.expect("ended").code();
        assert_eq!(code, Some(1), "{engine}");
        assert_eq!(stage.newest().await["outcome"], "aborted", "{engine}");
        assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}
