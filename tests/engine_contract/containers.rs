use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arkwright::model::{Health, Span};
use arkwright::plan::{ContainerSpec, ContainerState, labels};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::{Healthcheck, Port};

use crate::bench::{Bench, until};

pub async fn the_engine_says_what_it_is(bench: &Bench) {
    let info = bench.engine.info();
    assert!(info.version.split('.').count() >= 2, "{info:?}");
    assert!(info.api_version.starts_with("1."), "{info:?}");
    assert!(
        info.host.starts_with("unix://") && info.memory > 0 && info.cpus > 0,
        "{info:?}"
    );
    assert!(["amd64", "arm64"].contains(&info.architecture.as_str()), "{info:?}");
}

pub async fn a_container_is_created_started_stopped_and_removed(bench: &Bench) {
    let spec = bench.sleeper("one");
    let id = bench.engine.create_container(&spec).await.expect("created");
    let created = bench.look(&id).await;
    assert_eq!(created.state, ContainerState::Created);
    assert_eq!(created.name, spec.name);
    assert_eq!(created.label(labels::SERVICE), Some("one"));
    let image = bench
        .engine
        .image(&bench.image)
        .await
        .expect("an answer")
        .expect("the image");
    assert_eq!(created.image_id, image.id);

    bench.engine.start_container(&id).await.expect("started");
    bench
        .engine
        .start_container(&id)
        .await
        .expect("started again is started");
    let running = bench.look(&id).await;
    assert!(running.running() && running.started.is_some(), "{running:?}");
    assert_eq!((running.exit_code, running.health), (None, Health::Unchecked));

    bench
        .engine
        .stop_container(&id, Some(Duration::from_secs(5)))
        .await
        .expect("stopped");
    let stopped = bench.look(&id).await;
    assert_eq!((stopped.state, stopped.exit_code), (ContainerState::Exited, Some(137)));
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(bench.engine.container(&spec.name).await.expect("an answer").is_none());
}

pub async fn stopping_and_removing_twice_is_as_once(bench: &Bench) {
    let id = bench.run(&bench.sleeper("twice")).await;
    for _ in 0..2 {
        bench.engine.stop_container(&id, None).await.expect("stopped");
    }
    bench.engine.start_container(&id).await.expect("started");
    for _ in 0..2 {
        bench
            .engine
            .remove_container(&id)
            .await
            .expect("removed while running, then gone");
    }
    bench
        .engine
        .stop_container(&id, None)
        .await
        .expect("what is gone is stopped");
    let error = bench.engine.start_container(&id).await.expect_err("gone");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
}

pub async fn a_taken_name_is_a_conflict(bench: &Bench) {
    let spec = bench.sleeper("taken");
    bench.engine.create_container(&spec).await.expect("created");
    let error = bench.engine.create_container(&spec).await.expect_err("taken");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error}");
}

pub async fn an_image_that_is_not_here_is_not_found(bench: &Bench) {
    let spec = ContainerSpec {
        image: "localhost/arkwright-test/nowhere:1".into(),
        ..bench.sleeper("imageless")
    };
    let error = bench.engine.create_container(&spec).await.expect_err("no image");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error}");
    assert!(bench.engine.container(&spec.name).await.expect("an answer").is_none());
}

pub async fn an_exit_code_is_waited_for(bench: &Bench) {
    let id = bench.run(&bench.spec("seven", &["sh", "-c", "sleep 1; exit 7"])).await;
    assert_eq!(bench.engine.wait_exit(&id).await.expect("an exit"), 7);
    assert_eq!(bench.look(&id).await.exit_code, Some(7));
}

/// Podman shows a state between running and exited that bollard's own types refuse, losing the whole list.
pub async fn lists_hold_while_containers_come_and_go(bench: &Bench) {
    let id = bench.run(&bench.sleeper("restless")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let lists = async {
        let mut seen = 0;
        while !stop.load(Ordering::Relaxed) {
            let observed = bench.engine.observe(&bench.project).await.expect("a list");
            assert!(observed.containers.len() <= 1);
            seen += 1;
        }
        seen
    };
    let changes = async {
        for _ in 0..6 {
            bench
                .engine
                .stop_container(&id, Some(Duration::ZERO))
                .await
                .expect("stopped");
            bench.engine.start_container(&id).await.expect("started");
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(lists, changes);
    assert!(seen > 10, "only {seen} lists");
}

pub async fn only_the_projects_own_is_observed(bench: &Bench) {
    let mut other = bench.sleeper("other");
    let elsewhere = format!("{}x", bench.project);
    other.labels.insert(labels::PROJECT.into(), elsewhere.clone());
    other
        .labels
        .insert("arkwright.test-case".into(), bench.project.to_string());
    let other_id = bench.engine.create_container(&other).await.expect("created");
    let mine = bench
        .engine
        .create_container(&bench.sleeper("mine"))
        .await
        .expect("created");
    let network = bench.network("net").await;

    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    let ids: Vec<_> = observed.containers.iter().map(|c| &c.id).collect();
    let networks: Vec<_> = observed.networks.iter().map(|n| &n.name).collect();
    let label = format!("arkwright.test-case={}", bench.project);
    let labelled = bench.engine.containers_labelled(&label).await.expect("a list");
    let by_key = bench
        .engine
        .containers_labelled("arkwright.test-case")
        .await
        .expect("a list");
    bench.engine.remove_container(&other_id).await.expect("removed");
    assert_eq!((ids, networks), (vec![&mine], vec![&network]));
    assert_eq!(labelled.iter().map(|c| &c.id).collect::<Vec<_>>(), [&other_id]);
    assert!(by_key.iter().any(|c| c.id == other_id) && by_key.iter().all(|c| c.id != mine));
}

pub async fn a_prefix_of_an_id_is_no_name(bench: &Bench) {
    let id = bench
        .engine
        .create_container(&bench.sleeper("prefix"))
        .await
        .expect("created");
    let short = &id.as_str()[..12];
    let found = bench.engine.container(short).await.expect("an answer");
    assert_eq!(found.map(|c| c.id), Some(id.clone()));
    let shorter = &id.as_str()[..6];
    assert!(bench.engine.container(shorter).await.expect("an answer").is_none());
    for odd in ["../../info", "a/b", "é ?#", ""] {
        assert!(bench.engine.container(odd).await.expect("an answer").is_none(), "{odd}");
    }
}

pub async fn a_taken_port_is_said(bench: &Bench) {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = holder.local_addr().expect("an address").port();
    let publish = |what: &str, published: String| ContainerSpec {
        ports: vec![Port {
            host_ip: "127.0.0.1".into(),
            published,
            target: 80,
            protocol: "tcp".into(),
        }],
        ..bench.sleeper(what)
    };
    let id = bench
        .engine
        .create_container(&publish("port", number.to_string()))
        .await
        .expect("created");
    let error = bench.engine.start_container(&id).await.expect_err("taken");
    assert!(matches!(error, EngineError::PortTaken { .. }), "{error:?}");
    drop(holder);

    let free = bench.run(&publish("free", String::new())).await;
    let ports = bench.look(&free).await.ports;
    assert!(
        ports
            .iter()
            .any(|p| p.starts_with("127.0.0.1:") && p.ends_with("->80/tcp")),
        "{ports:?}"
    );
}

fn checked(bench: &Bench, what: &str, test: &str) -> ContainerSpec {
    ContainerSpec {
        healthcheck: Some(Healthcheck {
            test: vec!["CMD-SHELL".into(), test.into()],
            interval: Some(Span::millis(500)),
            timeout: Some(Span::seconds(5)),
            start_period: None,
            start_interval: None,
            retries: Some(2),
        }),
        ..bench.sleeper(what)
    }
}

async fn reaches(bench: &Bench, id: &arkwright::model::ContainerId, wanted: Health) {
    until("a health", || async {
        bench.engine.poke_health(id).await.expect("poked");
        bench.look(id).await.health == wanted
    })
    .await;
}

pub async fn health_goes_from_starting_to_healthy(bench: &Bench) {
    let id = bench.run(&checked(bench, "well", "test -e /tmp/well")).await;
    assert_eq!(bench.look(&id).await.health, Health::Starting);
    bench.sh(&id, "touch /tmp/well").await;
    reaches(bench, &id, Health::Healthy).await;
}

pub async fn health_turns_bad(bench: &Bench) {
    let id = bench.run(&checked(bench, "ill", "false")).await;
    reaches(bench, &id, Health::Unhealthy).await;
    bench.engine.stop_container(&id, None).await.expect("stopped");
    bench
        .engine
        .poke_health(&id)
        .await
        .expect("nothing to check is no error");
}
