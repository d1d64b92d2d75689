use std::time::Duration;

use arkwright::model::Span;
use arkwright::plan::{ContainerSpec, labels};
use arkwright::ports::{Engine, EngineKind};
use arkwright::stack::{Condition, Healthcheck, Restart, Service};

use crate::bench::Bench;
use crate::stacks::{Project, depends, service, words};

pub async fn a_dependency_that_fails_is_named_with_its_log(bench: &Bench) {
    let mut project = Project::three(bench);
    project.service("migrate").command = Some(
        ["sh", "-c", "echo 'no such table: users' >&2; exit 4"]
            .map(str::to_owned)
            .to_vec(),
    );
    let plan = project.plan().await;
    let error = project.perform(&plan).await.expect_err("the job fails").to_string();
    for part in [
        "migrate: ",
        "ended with exit code 4",
        "no such table: users",
        "arkwright up",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let web = format!("{}-web-1", bench.project);
    assert!(
        bench.engine.container(&web).await.expect("an answer").is_none(),
        "what depends on it is not created"
    );

    let mut ill = Project::three(bench);
    ill.patience.unhealthy = Duration::from_secs(3);
    if let Some(check) = ill.service("cache").healthcheck.as_mut() {
        check.test = vec!["CMD-SHELL".into(), "false".into()];
        check.retries = Some(1);
    }
    let plan = ill.plan().await;
    let error = ill.perform(&plan).await.expect_err("never healthy").to_string();
    assert!(error.contains("cache: ") && error.contains("is unhealthy"), "{error}");
}

pub async fn a_strangers_container_with_a_services_name_is_left_alone_and_named(bench: &Bench) {
    let project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    let mut stranger = bench.sleeper("web-1");
    stranger.labels.clear();
    let id = bench.run(&stranger).await;
    let plan = project.plan().await;
    let error = project.fails(&plan).await;
    let still = bench.look(&id).await;
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(
        error.contains(&stranger.name) && error.contains("remove or rename it"),
        "{error}"
    );
    assert!(still.running());
    // With the stranger gone the next one goes through.
    project.up().await;
    assert_eq!(bench.services().await, ["web runs"]);
}

pub async fn an_image_that_is_missing_is_said_before_anything_is_stopped(bench: &Bench) {
    let mut project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.up().await;
    let before = project.find("web").await;
    project.service("web").image = Some("localhost/arkwright-test/nowhere:1".into());
    let plan = project.plan().await;
    assert!(
        words(&plan).contains(&"pull image localhost/arkwright-test/nowhere:1".to_owned()),
        "{:?}",
        words(&plan)
    );
    let error = project.fails(&plan).await;
    assert!(error.contains("nowhere:1"), "{error}");
    assert_eq!(project.find("web").await.id, before.id);
    assert!(
        project.find("web").await.running(),
        "what serves is not stopped for an image that is not there"
    );

    project.service("web").pull_policy = Some("never".into());
    let plan = project.plan().await;
    assert!(
        plan.blocked
            .iter()
            .any(|why| why.contains("nowhere:1") && why.contains("pull_policy")),
        "{:?}",
        plan.blocked
    );
}

pub async fn a_container_that_restarts_forever_is_called_hopeless(bench: &Bench) {
    let job = Service {
        restart: Restart::Always,
        ..service(bench, "job", "echo no disk left >&2; exit 5")
    };
    let web = Service {
        depends_on: depends("job", Condition::Completed),
        ..service(bench, "web", "sleep 600")
    };
    let project = Project::of(bench, [job, web]);
    let plan = project.plan().await;
    let began = std::time::Instant::now();
    let error = project.fails(&plan).await;
    for part in ["job: ", "no disk left", "arkwright up"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(
        error.contains("was restarted") || error.contains("exit code 5"),
        "{error}"
    );
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

/// Podman answers a wait for `healthy` with 400, so nothing asks for one.
pub async fn a_service_without_a_health_check_is_never_waited_for_to_be_healthy(bench: &Bench) {
    let web = Service {
        depends_on: depends("cache", Condition::Healthy),
        ..service(bench, "web", "sleep 600")
    };
    let mut project = Project::of(bench, [service(bench, "cache", "sleep 600"), web]);
    let error = project.fails(&project.plan().await).await;
    assert!(
        error.contains("cache: ") && error.contains("has no health check"),
        "{error}"
    );

    project.service("cache").healthcheck = Some(Healthcheck {
        test: vec!["CMD".into(), "test".into(), "-e".into(), "/tmp/well".into()],
        interval: Some(Span::millis(300)),
        timeout: None,
        start_period: None,
        start_interval: None,
        retries: Some(50),
    });
    project.service("cache").command = Some(
        ["sh", "-c", "sleep 2; touch /tmp/well; sleep 600"]
            .map(str::to_owned)
            .into(),
    );
    project.up().await;
    assert_eq!(bench.services().await, ["cache runs", "web runs"]);
}

pub async fn two_creations_of_one_name_at_once_make_one_container(bench: &Bench) {
    let spec: ContainerSpec = bench.sleeper("one");
    let (a, b) = tokio::join!(
        bench.engine.create_container(&spec),
        bench.engine.create_container(&spec)
    );
    let conflict =
        |r: &Result<_, arkwright::ports::EngineError>| matches!(r, Err(arkwright::ports::EngineError::Conflict { .. }));
    assert!(a.is_ok() && conflict(&b) || b.is_ok() && conflict(&a), "{a:?} {b:?}");
    let label = format!("{}={}", labels::PROJECT, bench.project);
    assert_eq!(bench.engine.containers_labelled(&label).await.expect("a list").len(), 1);
}

pub async fn two_removals_at_once_both_succeed(bench: &Bench) {
    let id = bench.run(&bench.sleeper("gone")).await;
    let (a, b) = tokio::join!(bench.engine.remove_container(&id), bench.engine.remove_container(&id));
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    assert!(bench.engine.container(id.as_str()).await.expect("an answer").is_none());
}

/// Docker may make one long after whoever asked was cut off, and then refuses every use of the name.
pub async fn a_second_network_of_the_same_name_is_taken_away(bench: &Bench) {
    let project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.up().await;
    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    for container in &observed.containers {
        bench.engine.remove_container(&container.id).await.expect("removed");
    }
    let network = &observed.networks[0];
    let body = serde_json::json!({ "Name": network.name, "Labels": network.labels }).to_string();
    let (status, answer) = bench.ask_with("POST", "/networks/create", &body).await;
    if bench.engine.info().kind == EngineKind::Podman {
        assert!(status >= 400, "Podman makes none: {status} {answer}");
    } else {
        assert_eq!(status, 201, "{answer}");
    }
    project.up().await;
    assert_eq!(bench.services().await, ["web runs"]);
    let left = bench.engine.observe(&bench.project).await.expect("observed").networks;
    assert_eq!(left, std::slice::from_ref(network), "the first one is left");
}
