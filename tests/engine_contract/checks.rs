use std::collections::BTreeSet;
use std::path::Path;

use arkwright::config::{self, Config};
use arkwright::machine::ThisHost;
use arkwright::plan::labels;
use arkwright::ports::{Clock, Engine};
use arkwright::run::check::{Affairs, AgentState, EngineView, Finding, Scene, Severity, Subject, check};
use arkwright::stack::{Mount, Port};
use arkwright::state::ProjectFolder;

use crate::bench::{Bench, until};
use crate::stacks::Project;

async fn checked(bench: &Bench, project: &Project<'_>) -> Vec<Finding> {
    let services = project.stack.services.keys().cloned().collect::<BTreeSet<_>>();
    let file = project.folder.path().join("arkwright.yaml");
    let config: Config = config::load(&file, "{}", &services).expect("what holds without one");
    let (view, silent) = EngineView::ask(&bench.engine, &project.stack, &config).await;
    assert_eq!(silent, [], "the engine answers");
    let plan = project.plan().await;
    let scene = Scene {
        stack: &project.stack,
        config: &config,
        folder: &ProjectFolder::named(&project.folder.path().join("state"), &project.stack.name),
        machine: &ThisHost,
        now: arkwright::app::SystemClock.now(),
        engine: Some(&view),
        plan: Some(&plan),
    };
    let affairs = Affairs {
        agent: AgentState::Absent,
        history: Ok(Vec::new()),
        driven: false,
    };
    check(&scene, &affairs).await
}

fn port(number: u16) -> Port {
    Port {
        host_ip: "127.0.0.1".into(),
        published: number.to_string(),
        target: 80,
        protocol: "tcp".into(),
    }
}

fn of<'a>(found: &'a [Finding], code: &str) -> Vec<&'a Finding> {
    found.iter().filter(|finding| finding.code == code).collect()
}

pub async fn the_host_is_checked(bench: &Bench) {
    let mut project = Project::three(bench);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = holder.local_addr().expect("an address").port();
    project.service("web").ports.push(port(number));
    project.service("web").image = Some("localhost/arkwright-test/nowhere:1".into());
    let gone = Path::new("/nonexistent/arkwright");
    project.service("cache").mounts.push(Mount::Bind {
        source: gone.into(),
        target: "/x".into(),
        read_only: true,
        create_host_path: false,
        propagation: None,
        selinux: None,
    });
    let found = checked(bench, &project).await;
    let taken = of(&found, "port-taken");
    assert_eq!(taken.len(), 1, "{found:?}");
    assert_eq!(taken[0].subject, Subject::Port(format!("{number}/tcp")));
    assert_eq!(taken[0].severity, Severity::Error);
    let missing = of(&found, "mount-missing");
    assert_eq!(missing.len(), 1, "{found:?}");
    assert_eq!(missing[0].subject, Subject::Path(gone.into()));
    assert!(of(&found, "up-blocked").is_empty(), "told once: {found:?}");
    assert_eq!(of(&found, "image-not-built").len(), 1, "{found:?}");
    // The health check of `cache` runs by itself on Docker; on Podman where systemd is.
    let idle = bench.podman() && !Path::new("/run/systemd/system").exists();
    assert_eq!(of(&found, "podman-health-idle").len(), usize::from(idle), "{found:?}");
    assert!(found.iter().all(|f| !f.reason.is_empty() && !f.remedy.is_empty()));
    let label = format!("{}={}", labels::PROJECT, bench.project);
    let left = bench.engine.containers_labelled(&label).await.expect("a list");
    assert!(left.is_empty(), "a check changes nothing");
    assert!(!project.folder.path().join("state").exists(), "nor makes anything");
}

pub async fn our_own_ports_are_no_finding_and_anothers_are(bench: &Bench) {
    let number = crate::ports::free(1);
    let mut project = Project::three(bench);
    project.stack.services.retain(|name, _| name.as_str() == "cache");
    project.service("cache").ports.push(port(number));
    project.up().await;
    let found = checked(bench, &project).await;
    assert!(of(&found, "port-taken").is_empty(), "{found:?}");

    // The same container under a service nobody asks for any more.
    let mut cache = project.stack.services.pop_first().expect("a service").1;
    cache.name = "other".parse().expect("a name");
    project.stack.services.insert(cache.name.clone(), cache);
    let found = checked(bench, &project).await;
    let taken = of(&found, "port-taken");
    assert_eq!(taken.len(), 1, "{found:?}");
    assert!(taken[0].remedy.contains("--remove-orphans"), "{taken:?}");
    assert_eq!(of(&found, "orphan-container").len(), 1, "{found:?}");
}

pub async fn the_engine_says_what_it_carries_out(bench: &Bench) {
    let info = bench.engine.info();
    let enforces = info.enforces;
    for (what, said) in [
        ("memory", enforces.memory),
        ("cpus", enforces.cpus),
        ("pids", enforces.pids),
    ] {
        assert!(said.is_some(), "{what}: {info:?}");
    }
    assert!(
        info.log_drivers
            .iter()
            .any(|driver| driver == "none" || driver == "json-file"),
        "{info:?}"
    );
    if Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() && !info.rootless {
        assert_eq!(enforces.memory, Some(true), "{info:?}");
    }
}

pub async fn memory_in_use_is_told_of_what_runs(bench: &Bench) {
    // A shell that holds 8 MiB of text.
    let hold = "x=$(head -c 8388608 /dev/zero | tr '\\0' x); sleep 600";
    let id = bench.run(&bench.spec("eater", &["sh", "-c", hold])).await;
    until("8 MiB are in use", || async {
        let used = bench.engine.memory_use(&id).await.expect("an answer");
        used.is_some_and(|used| used >= 8 << 20)
    })
    .await;
    let used = bench
        .engine
        .memory_use(&id)
        .await
        .expect("an answer")
        .expect("a figure");
    assert!(used < 1 << 30, "{used}");
    bench.engine.remove_container(&id).await.expect("removed");
    let gone = bench.engine.memory_use(&id).await;
    assert!(matches!(gone, Ok(None)), "{gone:?}");
}
