//! Programs run once before a release: from the new image, before its colour starts, and what happens when they fail.

use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use arkwright::model::Colour;
use arkwright::release::ReleaseStep;
use rustix::process::Signal;

use crate::lab::until;
use crate::load::Clients;
use crate::stage::{Setting, Stage, everywhere, signal};

const GATES: &str = "errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 20, \
                     every: 1s, window: 5s }";

/// A release with a migration that takes so long, of this class, noted in this file of the container.
fn release(file: &str, takes: &str, class: &str) -> String {
    format!(
        "before: [{{ run: [/hwayo-service, migrate, {file}, {takes}], class: {class} }}], \
         steps: [{{ weight: 5, hold: 2s }}]"
    )
}

async fn stage<'a>(folder: &'a Path, host: &'a str, release: &str) -> Stage<'a> {
    let noted = folder.join("noted");
    std::fs::create_dir(&noted).expect("a folder");
    chown(&noted, Some(1000), Some(1000)).expect("the program's user");
    let setting = Setting {
        service: "volumes: [\"./noted:/noted\"]",
        release,
        gates: GATES,
    };
    Stage::up(folder, host, setting).await
}

fn noted(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("noted/migrations")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_runs_once_from_the_new_image_before_the_colour_starts() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let stage = stage(
            folder.path(),
            &host,
            &release("/noted/migrations", "1s", "expand_contract"),
        )
        .await;
        let receipt = stage.deploy(0, "1.1.0").await;
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        assert_eq!(noted(folder.path()), "1.1.0 began\n1.1.0 done\n", "{engine}");
        let diary = stage.diary();
        let migrated = diary.finished(|step| matches!(step, ReleaseStep::RunHook { .. }));
        let started = diary.began(|step| matches!(step, ReleaseStep::Start { colour: Colour::Green }));
        assert!(migrated <= started, "{engine}");
        assert_eq!(
            stage.programs().await,
            [""; 0],
            "{engine}: its container is gone with the release"
        );
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_fails_takes_the_release_back_and_is_quoted() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let stage = stage(
            folder.path(),
            &host,
            &release("/nowhere/migrations", "1s", "expand_contract"),
        )
        .await;
        let receipt = stage.deploy(1, "1.1.0").await;
        assert_eq!(receipt["outcome"], "aborted", "{engine}: {receipt}");
        let because = receipt["because"].as_str().expect("a reason");
        println!("{engine}: {because}");
        for part in [
            "/hwayo-service ended with exit code 1",
            "migrating to 1.1.0",
            "the migration failed: /nowhere/migrations: No such file or directory",
        ] {
            assert!(because.contains(part), "{engine}: `{because}` without `{part}`");
        }
        assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
        assert_eq!(stage.programs().await, [""; 0], "{engine}");
        assert_eq!(stage.version().await.as_deref(), Some("1.0.0"));
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn past_one_that_is_irreversible_a_failed_gate_leaves_the_release_standing() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let release = release("/noted/migrations", "0s", "irreversible") + ", gates: [errors]";
        let stage = stage(folder.path(), &host, &release.replace("hold: 2s", "hold: 5s")).await;
        let clients = Clients::start(stage.at, 32, Duration::from_millis(100));
        let receipt = stage.deploy(10, "1.1.0-errors").await;
        assert_eq!(receipt["outcome"], "stuck", "{engine}: {receipt}");
        let because = receipt["because"].as_str().expect("a reason");
        println!("{engine}: {because}");
        assert!(because.contains("gate errors: error_rate"), "{engine}: {because}");
        assert_eq!(
            stage.weight(Colour::Green).await,
            Some(5),
            "{engine}: nothing is taken back"
        );
        assert_eq!(stage.containers(Colour::Green).await.len(), 1, "{engine}");

        let id = receipt["operation"].as_str().expect("an id");
        let given = stage.ends(1, &["resume", id, "--give-up"]).await;
        assert_eq!(given["outcome"], "given_up", "{engine}: {given}");
        assert_eq!(stage.newest().await["outcome"], "given_up", "{engine}");
        assert_eq!(
            noted(folder.path()),
            "1.1.0-errors began\n1.1.0-errors done\n",
            "{engine}"
        );
        // What now is between two colours `up` settles, and the next release finds it settled.
        let told = stage
            .refused(5, &["deploy", "web=localhost/hwayo/web:1.1.0", "--yes"])
            .await;
        assert!(
            told["message"].to_string().contains("`arkwright up`"),
            "{engine}: {told}"
        );
        stage.told(0, &["up"]).await;
        assert_eq!(stage.weight(Colour::Green).await, Some(0), "{engine}");
        assert_eq!(stage.deploy(0, "1.1.0").await["outcome"], "deployed", "{engine}");
        clients.stop().await;
        stage.end(&["1.0.0", "1.1.0", "1.1.0-errors"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_in_the_middle_of_one_it_does_not_run_it_again() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let stage = stage(
            folder.path(),
            &host,
            &release("/noted/migrations", "5s", "expand_contract"),
        )
        .await;
        let mut deploying = stage.spawn(&["deploy", "web=localhost/hwayo/web:1.1.0", "--yes"]);
        until("the migration", 30, async || !noted(folder.path()).is_empty()).await;
        signal(&deploying, Signal::KILL);
        deploying.wait().await.expect("ended");
        assert_eq!(
            noted(folder.path()),
            "1.1.0 began\n",
            "{engine}: it was killed in the middle"
        );
        let id = stage.newest().await["operation"].as_str().expect("an id").to_owned();
        let receipt = stage.ends(0, &["resume", &id]).await;
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        assert_eq!(noted(folder.path()), "1.1.0 began\n1.1.0 done\n", "{engine}");
        assert_eq!(stage.programs().await, [""; 0], "{engine}");
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}
