use std::sync::Arc;
use std::time::{Duration, Instant};

use arkwright::app::SystemClock;
use arkwright::engine::{self, Bollard};
use arkwright::model::Span;
use arkwright::plan::{ContainerSpec, labels};
use arkwright::ports::{Engine, EngineKind};
use arkwright::release::{Look, Started, Verdict, judge};
use arkwright::run::gates::{Looker, Scene};
use arkwright::stack::{Healthcheck, Resources};
use serde_json::json;

use crate::bench::{Told, gate, looker, scene, unknown, value};
use crate::common;

const LIMIT: Span = Span::seconds(20);

/// A project of its own on one engine, removed in the end.
struct Room {
    engine: Arc<Bollard>,
    router: Arc<Told>,
    looker: Looker,
    scene: Scene,
}

/// On every engine that is named, also what is to be cleaned when it failed.
async fn on_engines<F: Future<Output = ()> + Send + 'static>(case: &str, body: fn(Arc<Room>) -> F) {
    for (kind, host) in common::engines() {
        let engine = Arc::new(engine::connect(Some(&host), &[]).await.expect("an engine that answers"));
        let project = format!("arkgates-{}-{case}-{}", std::process::id(), kind.to_lowercase());
        let router = Arc::new(Told::default());
        *router.up.lock().expect("whole") = Some(true);
        let room = Arc::new(Room {
            looker: looker(engine.clone(), router.clone(), Arc::new(SystemClock)),
            scene: Scene {
                project: project.parse().expect("a name"),
                ..scene()
            },
            engine: engine.clone(),
            router,
        });
        let ended = tokio::spawn(body(room.clone())).await;
        for left in engine.observe(&room.scene.project).await.expect("observed").containers {
            engine.remove_container(&left.id).await.expect("removed");
        }
        if let Err(error) = ended {
            eprintln!("on {kind}");
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Room {
    fn spec(&self, name: &str, colour: &str, line: &str) -> ContainerSpec {
        let image =
            std::env::var("ARKWRIGHT_TEST_IMAGE").unwrap_or_else(|_| "localhost/memoryark/debian:bookworm".into());
        let labels = [
            (labels::PROJECT, self.scene.project.as_str()),
            (labels::SERVICE, "web"),
            (labels::COLOUR, colour),
        ];
        ContainerSpec {
            name: format!("{}-{name}", self.scene.project),
            image,
            command: Some(["sh", "-c", line].map(str::to_owned).into()),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            stop_signal: Some("SIGKILL".into()),
            ..ContainerSpec::default()
        }
    }

    /// It runs, and the scene as it is then.
    async fn run(&self, spec: ContainerSpec) -> Scene {
        let id = self.engine.create_container(&spec).await.expect("created");
        self.engine.start_container(&id).await.expect("started");
        let container = self
            .engine
            .container(id.as_str())
            .await
            .expect("an answer")
            .expect("one");
        Scene {
            began: vec![Started::of(&container)],
            ..self.scene.clone()
        }
    }

    async fn ill(&self, scene: &Scene, wanted: &str) {
        let began = Instant::now();
        loop {
            match self.looker.health(scene, LIMIT).await {
                Look::Decided(Err(why)) => {
                    assert!(why.contains(wanted), "{why}");
                    return;
                }
                other => assert!(began.elapsed() < Duration::from_secs(60), "{wanted}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_container_is_measured_by_its_own_limit() {
    on_engines("use", |room| async move {
        let limited = |name, line| ContainerSpec {
            resources: Resources {
                cpus: Some(0.3),
                memory: Some(400 << 20),
                ..Resources::default()
            },
            ..room.spec(name, "green", line)
        };
        let burn = "exec perl -e 'my $x = q(x) x (100 << 20); 1 while 1'";
        let (busy, idle) = (
            room.run(limited("busy", burn)).await,
            room.run(limited("idle", "sleep 600")).await,
        );
        let both = Scene {
            began: [busy.began, idle.began].concat(),
            ..room.scene.clone()
        };
        tokio::time::sleep(Duration::from_secs(3)).await;
        let cpu = gate(json!({ "source": "engine", "metric": "cpu", "max": "30%", "timeout": "20s" }));
        let look = room.looker.look(&cpu, &both).await;
        assert!((40.0..130.0).contains(&value(&look)), "{look:?}");
        assert!(matches!(judge(&cpu, &look), Verdict::Failed(_)));
        let memory = gate(json!({ "source": "engine", "metric": "memory", "max": "95%", "timeout": "20s" }));
        let look = room.looker.look(&memory, &both).await;
        assert!((24.0..95.0).contains(&value(&look)), "{look:?}");

        room.engine.remove_container(&both.began[1].id).await.expect("removed");
        for gate in [&cpu, &memory] {
            let why = unknown(gate, &room.looker.look(gate, &both).await);
            assert!(why.contains("idle") && why.contains("not there"), "{why}");
        }
        let why = unknown(&cpu, &room.looker.look(&cpu, &room.scene).await);
        assert!(why.contains("no container"), "{why}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_in_the_judged_colour() {
    on_engines("exec", |room| async move {
        for colour in ["blue", "green"] {
            room.run(room.spec(colour, colour, &format!("echo {} > /figure; sleep 600", colour.len())))
                .await;
        }
        let look = async |config| {
            let gate = gate(config);
            (room.looker.look(&gate, &room.scene).await, gate)
        };
        let inside =
            |line: &str| json!({ "source": "command", "service": "web", "run": ["sh", "-c", line], "timeout": "20s" });
        let limited = |line: &str| {
            let mut config = inside(line);
            config["max"] = json!(9);
            config
        };
        let wait = "while ! test -s /figure; do sleep 0.1; done; cat /figure";
        assert_eq!(value(&look(limited(wait)).await.0), 5.0, "green has five letters");
        assert_eq!(look(inside("true")).await.0, Look::Decided(Ok(())));
        assert_eq!(
            look(inside("echo ill; exit 1")).await.0,
            Look::Decided(Err("ill".into()))
        );
        let (seen, gate) = look(limited("exit 3")).await;
        assert!(unknown(&gate, &seen).contains("exit code 3"));
        let mut slow = limited("sleep 456");
        slow["timeout"] = json!("1s");
        let began = Instant::now();
        let (seen, gate) = look(slow).await;
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        assert!(unknown(&gate, &seen).contains("within 1s"));
        // It is ended inside too, soon after.
        let line = "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2>/dev/null";
        let gone = format!("{line} | if grep -q '^sleep 45[6]'; then exit 1; fi");
        let began = Instant::now();
        while look(inside(&gone)).await.0 != Look::Decided(Ok(())) {
            assert!(began.elapsed() < Duration::from_secs(30), "the command runs on");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let elsewhere = json!({ "source": "command", "service": "nobody", "run": ["true"] });
        let (seen, gate) = look(elsewhere).await;
        assert!(unknown(&gate, &seen).contains("no container of nobody runs"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_colour_is_well_until_something_happens_to_it() {
    on_engines("well", |room| async move {
        let scene = room.run(room.spec("one", "green", "sleep 600")).await;
        assert_eq!(room.looker.health(&scene, LIMIT).await, Look::Decided(Ok(())));
        *room.router.up.lock().expect("whole") = Some(false);
        room.ill(&scene, "the router's checks of green fail: L7STS/500").await;
        *room.router.up.lock().expect("whole") = None;
        let look = room.looker.health(&scene, LIMIT).await;
        assert!(
            matches!(&look, Look::Unknown(why) if why.contains("has no service")),
            "{look:?}"
        );
        *room.router.up.lock().expect("whole") = Some(true);

        let id = &scene.began[0].id;
        room.engine
            .stop_container(id, Some(Duration::ZERO))
            .await
            .expect("stopped");
        room.ill(&scene, "does not run").await;
        room.engine.start_container(id).await.expect("started");
        room.ill(&scene, "was started again").await;
        room.engine.remove_container(id).await.expect("removed");
        room.ill(&scene, "is gone").await;
        let look = room.looker.health(&room.scene, LIMIT).await;
        assert!(matches!(look, Look::Unknown(_)), "{look:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_check_and_the_end_of_its_memory_are_seen() {
    on_engines("ill", |room| async move {
        let checked = ContainerSpec {
            healthcheck: Some(Healthcheck {
                test: vec!["CMD-SHELL".into(), "test ! -e /ill".into()],
                interval: Some(Span::millis(300)),
                timeout: Some(Span::seconds(5)),
                start_period: None,
                start_interval: None,
                retries: Some(1),
            }),
            ..room.spec("checked", "green", "sleep 600")
        };
        let scene = room.run(checked).await;
        assert_eq!(room.looker.health(&scene, LIMIT).await, Look::Decided(Ok(())));
        let fall_ill = ["touch", "/ill"].map(str::to_owned);
        room.engine
            .exec(&scene.began[0].id, &fall_ill, Duration::from_secs(20))
            .await
            .expect("run");
        room.ill(&scene, "its own check says unhealthy").await;

        let greedy = ContainerSpec {
            resources: Resources {
                memory: Some(32 << 20),
                ..Resources::default()
            },
            ..room.spec(
                "greedy",
                "green",
                "sleep 2; exec perl -e 'my $x = q(x) x (400 << 20); sleep 600'",
            )
        };
        let scene = room.run(greedy).await;
        // Podman's word for it comes from its monitor, which did not see it on these control groups.
        let podman = room.engine.info().kind == EngineKind::Podman;
        room.ill(&scene, if podman { "greedy" } else { "ran out of memory" })
            .await;
    })
    .await;
}
