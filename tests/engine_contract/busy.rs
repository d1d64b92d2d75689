use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arkwright::ports::Engine;

use crate::bench::{Bench, until};

fn up(bench: &Bench, folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(["--host", &bench.engine.info().host, "-p", bench.project.as_str(), "up"])
        .current_dir(folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .env_remove("DOCKER_HOST")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().expect("it ends"));
    let output = tokio::time::timeout(Duration::from_secs(180), output)
        .await
        .expect("in time")
        .expect("joined");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

pub async fn of_two_ups_at_once_the_second_says_who_is_at_work(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "services:\n  job:\n    image: {0}\n    command: [sh, -c, \"sleep 4\"]\n  web:\n    image: {0}\n    command: [sleep, \"600\"]\n    \
         stop_signal: SIGKILL\n    depends_on: {{ job: {{ condition: service_completed_successfully }} }}\n",
        bench.image
    );
    std::fs::write(folder.path().join("compose.yaml"), text).expect("written");
    let first = up(bench, folder.path());
    until("the first is at work", || async { !bench.services().await.is_empty() }).await;
    let (code, said) = ended(up(bench, folder.path())).await;
    // Either it waits until the first is done and has nothing to do, or it says who is at work.
    let busy = code == Some(6) && said.contains("arkwright up (arkwright ") && said.contains("wait for it");
    assert!(
        busy || code == Some(0) && said.contains("nothing to do"),
        "{code:?}: {said}"
    );
    let (code, said) = ended(first).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bench.services().await, ["job is stopped", "web runs"]);
    let (code, said) = ended(up(bench, folder.path())).await;
    assert!(code == Some(0) && said.contains("nothing to do"), "{said}");
}

/// Killed outright, it keeps nobody out.
pub async fn an_up_that_is_killed_leaves_no_lock_and_nothing_doubled(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "services:\n  one: &one\n    image: {}\n    command: [sleep, \"600\"]\n    stop_signal: SIGKILL\n    volumes: ['data:/data']\n  \
         two: *one\n  three: *one\nvolumes: {{ data: {{}} }}\n",
        bench.image
    );
    std::fs::write(folder.path().join("compose.yaml"), text).expect("written");
    for moment in [0, 1, 2] {
        let mut first = up(bench, folder.path());
        until("it has begun", || async { bench.services().await.len() >= moment }).await;
        first.kill().expect("killed");
        first.wait().expect("ended");
    }
    let (code, said) = ended(up(bench, folder.path())).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bench.services().await, ["one runs", "three runs", "two runs"]);
    let (code, said) = ended(up(bench, folder.path())).await;
    assert!(code == Some(0) && said.contains("nothing to do"), "{said}");
}
