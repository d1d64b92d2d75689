use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};
use std::sync::Arc;

use arkwright::drill::{DrillOutput, DrillStep, Verdict, Word};
use arkwright::engine;
use arkwright::journal::{Event, Next};
use arkwright::model::OperationId;
use arkwright::plan::{NetworkSpec, labels};
use arkwright::ports::{Clock, Engine};
use arkwright::run::drill::DrillPerformer;
use arkwright::run::{Perform, sweep};
use arkwright::state::JournalFile;
use futures_util::FutureExt;

use crate::ark::Ark;
use crate::common;

const BACKEND: &str = "localhost/memoryark/backend:1.0.0";

const COMPOSE: &str = r#"
services:
  redis:
    image: localhost/memoryark/redis:7.0
    command: [redis-server, --requirepass, production-password]
    environment: { REDIS_PASSWORD: production-password }
    volumes: [redis-data:/data]
    ports: ["127.0.0.1:1:6379"]
    healthcheck:
      test: [CMD-SHELL, 'redis-cli -a "$$REDIS_PASSWORD" ping | grep -q PONG']
      interval: 1s
      timeout: 3s
      retries: 20
  backend:
    image: localhost/memoryark/backend:1.0.0
    user: "1000:1000"
    read_only: true
    cap_drop: [ALL]
    environment:
      LINE_SERVICE_API_TOKEN: production-token
      DATABASE_PATH: /data/memoryark.db
      UPLOAD_PATH: /uploads
    volumes: [./data:/data, ./uploads:/uploads, ./logs:/logs, ./compose.yaml:/etc/compose.yaml:ro]
    extra_hosts: ["elsewhere:192.0.2.1"]
    depends_on: { redis: { condition: service_healthy } }
    healthcheck:
      test: [CMD, /memoryark-backend, health, "http://127.0.0.1:8081/api/health"]
      interval: 1s
      timeout: 3s
      retries: 20
volumes: { redis-data: {} }
"#;

const DRILL: &str = r#"boot: [backend, redis]
    checks:
      - { sqlite: ./data/memoryark.db, integrity: true }
      - { sqlite: ./data/memoryark.db, rows: [files] }
      - { sqlite: ./data/memoryark.db, files_exist: "select path from files", under: ./uploads }
      - { http: "backend:8081/api/health", contains: "ok" }
      - { http: "backend:8081/api/files?limit=1", contains: "039.jpg" }"#;

/// The engine named by the variable, and the images the stack needs on it.
async fn engine_of(variable: &str) -> Option<Arc<dyn Engine>> {
    let Ok(host) = std::env::var(variable) else {
        common::not_run(&format!(
            "drills: {variable} names no engine (./scripts/test starts one)"
        ));
        return None;
    };
    let engine = engine::connect(Some(&host), &[]).await.expect("an engine that answers");
    for image in ["localhost/memoryark/redis:7.0", BACKEND] {
        if engine.image(image).await.expect("an answer").is_none() {
            common::not_run(&format!("drills: {host} has no image {image}"));
            return None;
        }
    }
    Some(Arc::new(engine))
}

async fn nothing_is_left(engine: &dyn Engine, operation: &OperationId) {
    let label = format!("{}={operation}", labels::DRILL);
    let containers = engine.containers_labelled(&label).await.expect("a list");
    assert!(containers.is_empty(), "{containers:?}");
    assert_eq!(engine.networks_labelled(&label).await.expect("a list"), []);
    assert_eq!(engine.volumes_labelled(&label).await.expect("a list"), []);
}

async fn boots(variable: &str, project: &str) {
    let Some(engine) = engine_of(variable).await else {
        return;
    };
    let ark = Ark::new(project, COMPOSE, DRILL, Some(engine.clone())).await;
    let (receipt, evidence) = ark.drill(None).await;
    assert_eq!(evidence.outcome, Word::Passed, "{:#?}", evidence.because);
    assert!(receipt.ok);
    let names: Vec<&str> = evidence.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "integrity of data/memoryark.db",
            "rows of data/memoryark.db: files",
            "files of data/memoryark.db below uploads",
            "sealed",
            "boot redis",
            "boot backend",
            "GET backend:8081/api/health",
            "GET backend:8081/api/files?limit=1",
        ]
    );
    assert!(
        evidence.images.iter().all(|image| image.id.is_some()),
        "{:?}",
        evidence.images
    );
    let deviations = evidence.deviations.join("\n");
    for told in [
        "secrets replaced in REDIS_PASSWORD",
        "without extra_hosts",
        "/logs is an empty folder",
    ] {
        assert!(deviations.contains(told), "{told} in {deviations}");
    }
    let written = serde_json::to_string(&evidence).expect("text");
    assert!(!written.contains("production-"), "no secret in the evidence");
    let production = engine.observe(&project.parse().expect("a name")).await.expect("seen");
    assert_eq!(production.containers, [], "a drill is no part of the project");
    nothing_is_left(engine.as_ref(), &receipt.operation).await;
}

#[tokio::test]
async fn a_stack_boots_sealed_on_docker() {
    boots("ARKWRIGHT_TEST_DOCKER", "arkd-docker").await;
}

#[tokio::test]
async fn a_stack_boots_sealed_on_podman() {
    boots("ARKWRIGHT_TEST_PODMAN", "arkd-podman").await;
}

/// Repeats every step and stops as a crash would; the reaper finds what is there, also when an assertion failed.
async fn swept(variable: &str, project: &str) {
    let Some(engine) = engine_of(variable).await else {
        return;
    };
    let ark = Ark::new(project, COMPOSE, DRILL, Some(engine.clone())).await;
    let (id, performer) = ark.begin(None);
    let crashed = AssertUnwindSafe(crash(&ark, &id, &performer, engine.as_ref()))
        .catch_unwind()
        .await;
    let now = arkwright::app::SystemClock.now();
    let cleared = sweep(engine.as_ref(), now, &|other| *other == id).await.expect("swept");
    if let Err(panic) = crashed {
        std::panic::resume_unwind(panic);
    }
    assert!(cleared.contains(&id));
    nothing_is_left(engine.as_ref(), &id).await;
}

async fn crash(ark: &Ark, id: &OperationId, performer: &DrillPerformer, engine: &dyn Engine) {
    let clock = arkwright::app::SystemClock;
    let mut journal = JournalFile::<DrillStep>::open(&ark.folder.journal("drill", id)).expect("opened");
    let backend = DrillStep::Boot("backend".parse().expect("a name"));
    while let Next::Do(step) = journal.saga().next(clock.now()) {
        let mut append = |event| journal.append(clock.now(), event).map(|_| ()).expect("written");
        append(Event::Began { step: step.clone() });
        performer
            .perform(&step, journal.saga(), &Silent)
            .await
            .expect("performed");
        let output = performer
            .perform(&step, journal.saga(), &Silent)
            .await
            .expect("performed again");
        if let DrillOutput::Booted(booted) = &output {
            assert_eq!(booted.result.verdict, Verdict::Passed, "{booted:?}");
        }
        let last = step == backend;
        journal
            .append(clock.now(), Event::Finished { step, output })
            .expect("written");
        if last {
            break;
        }
    }
    let label = format!("{}={id}", labels::DRILL);
    let there = engine.containers_labelled(&label).await.expect("a list");
    assert_eq!(there.len(), 3, "two services and the prober");
    assert!(there.iter().all(|container| container.ports.is_empty()), "{there:?}");
    let early = sweep(engine, clock.now(), &|_| false).await.expect("looked");
    assert!(!early.contains(id), "a drill that runs is left alone");
}

struct Silent;

impl arkwright::run::Progress for Silent {
    fn say(&self, text: &str) {
        println!("{text}");
    }
}

#[tokio::test]
async fn a_crash_leaves_what_the_reaper_removes_on_docker() {
    swept("ARKWRIGHT_TEST_DOCKER", "arkd-sweep-docker").await;
}

#[tokio::test]
async fn a_crash_leaves_what_the_reaper_removes_on_podman() {
    swept("ARKWRIGHT_TEST_PODMAN", "arkd-sweep-podman").await;
}

/// A network of the drill's name that is an ordinary one: the seal has to be found open, and nothing boots.
#[tokio::test]
async fn an_open_network_is_found_open() {
    let Some(engine) = engine_of("ARKWRIGHT_TEST_DOCKER").await else {
        return;
    };
    let ark = Ark::new("arkd-open", COMPOSE, DRILL, Some(engine.clone())).await;
    let (id, performer) = ark.begin(None);
    let short = id.as_str().rsplit('-').next().expect("digits").to_owned();
    let open = NetworkSpec {
        name: format!("arkd-open-drill-{short}-net"),
        driver: Some("bridge".into()),
        labels: [(labels::DRILL.to_owned(), id.to_string())].into(),
        ..NetworkSpec::default()
    };
    engine.create_network(&open).await.expect("made");
    let (receipt, evidence) = ark.finish(&id, performer).await;
    assert_eq!(receipt.outcome, "failed");
    let sealed = evidence
        .checks
        .iter()
        .find(|check| check.name == "sealed")
        .expect("looked at");
    assert_eq!(sealed.verdict, Verdict::Failed, "{sealed:?}");
    assert!(
        sealed
            .why
            .as_ref()
            .is_some_and(|why| why.contains("reached from inside: tcp ")),
        "{sealed:?}"
    );
    let boots: Vec<Verdict> = evidence
        .checks
        .iter()
        .filter(|check| check.name.starts_with("boot ") || check.name.starts_with("GET "))
        .map(|check| check.verdict)
        .collect();
    assert_eq!(boots, [Verdict::NotRun; 4]);
    nothing_is_left(engine.as_ref(), &id).await;
}

/// An image that no registry has and this host has lost comes out of the snapshot.
#[tokio::test]
async fn an_image_this_host_lost_comes_out_of_the_snapshot() {
    let Some(engine) = engine_of("ARKWRIGHT_TEST_DOCKER").await else {
        return;
    };
    let reference = format!("arkd-lost-{}:1", std::process::id());
    docker(
        &["build", "-q", "-t", &reference, "-"],
        &format!("FROM {BACKEND}\nLABEL arkd={reference}\n"),
    );
    let compose = COMPOSE.replace(BACKEND, &reference);
    let ark = Ark::new("arkd-lost", &compose, DRILL, Some(engine.clone())).await;
    docker(&["rmi", &reference], "");
    let lost = engine.image(&reference).await.expect("an answer");
    assert_eq!(lost, None);
    let (id, performer) = ark.begin(None);
    let (_, evidence) = ark.finish(&id, performer).await;
    assert_eq!(evidence.outcome, Word::Passed, "{:#?}", evidence.because);
    let backend = evidence
        .images
        .iter()
        .find(|image| image.service.as_str() == "backend")
        .expect("used");
    assert_eq!(backend.from, "the snapshot");
    let brought = engine
        .image(backend.id.as_deref().expect("pinned"))
        .await
        .expect("an answer");
    assert_eq!(brought, None, "what the drill brought is gone again");
}

/// The Docker client, for what the product itself never does.
fn docker(arguments: &[&str], input: &str) {
    let host = std::env::var("ARKWRIGHT_TEST_DOCKER").expect("named");
    let mut child = Command::new("docker")
        .args(["-H", &host])
        .args(arguments)
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a docker client");
    child
        .stdin
        .take()
        .expect("open")
        .write_all(input.as_bytes())
        .expect("written");
    assert!(child.wait().expect("ended").success(), "docker {arguments:?}");
}
