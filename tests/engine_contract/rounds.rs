use std::process::Command;

use arkwright::plan::TearDown;
use serde_json::Value;

use crate::bench::{Bench, until};
use crate::private::Private;
use crate::stacks::{Project, data, network, service};

const ROUNDS: usize = 50;
/// Set in the process that goes the rounds: what other cases have open must not be counted.
const ALONE: &str = "ARKWRIGHT_TEST_ROUNDS";

/// On an engine of its own, whose every container, network, volume and descriptor is counted.
pub async fn fifty_rounds_up_and_down_leave_nothing_behind(bench: &Bench) {
    if std::env::var_os(ALONE).is_none() {
        let this = std::env::current_exe().expect("this program");
        let kind = if bench.podman() { "podman" } else { "docker" };
        let name = format!("{kind}::fifty_rounds_up_and_down_leave_nothing_behind");
        let mut command = Command::new(this);
        command.args(["--exact", &name, "--nocapture"]).env(ALONE, "1");
        let output = tokio::task::spawn_blocking(move || command.output().expect("run"))
            .await
            .expect("joined");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines()
            .filter(|line| line.starts_with("NOT RUN"))
            .for_each(|line| println!("{line}"));
        return;
    }
    let Some(own) = Private::start(bench).await else { return };
    let inner = own.bench("rounds").await;
    let mut web = service(&inner, "web", "sleep 600");
    web.mounts.push(data());
    web.networks.insert("back".into(), Default::default());
    let mut project = Project::of(&inner, [web, service(&inner, "cache", "sleep 600")]);
    project.stack.networks.insert("back".into(), network(&inner, "back"));
    let everything = TearDown {
        volumes: true,
        orphans: true,
    };
    let mut after_some = None;
    for round in 1..=ROUNDS {
        project.up().await;
        assert_eq!(inner.services().await, ["cache runs", "web runs"], "round {round}");
        project.down(everything).await;
        if round == 5 {
            after_some = Some((count(&inner).await, descriptors(), own.descriptors()));
        }
    }
    let (objects, ours, engines) = after_some.expect("more than five rounds");
    assert_eq!(count(&inner).await, objects);
    assert!(
        descriptors() <= ours + 2,
        "our descriptors: {ours} after 5 rounds, {} after {ROUNDS}",
        descriptors()
    );
    // What leaks, leaks at least once a round; others are connections and files an engine keeps for a while.
    until("the engine's descriptors are as few as after five rounds", || async {
        own.descriptors() < engines + ROUNDS - 5
    })
    .await;
}

/// Containers, networks and volumes of the whole engine.
async fn count(bench: &Bench) -> [usize; 3] {
    let of = async |path: &str, pointer: &str| {
        let body: Value = serde_json::from_str(&bench.order("GET", path).await).expect("JSON");
        body.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len)
    };
    let counted = [
        of("/containers/json?all=true", "").await,
        of("/networks", "").await,
        of("/volumes", "/Volumes").await,
    ];
    assert_eq!((counted[0], counted[2]), (0, 0));
    counted
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("our descriptors").count()
}
