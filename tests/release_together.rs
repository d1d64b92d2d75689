//! Two services in one release on real engines, under load that never tries again.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are those of
//! `scripts/images`.

#[path = "common/cli.rs"]
#[expect(dead_code, reason = "here commands go on beside the load")]
mod cli;
mod common;
#[expect(dead_code, reason = "WebSockets are for tests of one service")]
mod lab;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use arkwright::app::{Project, Selection};
use arkwright::model::{Colour, ServiceName};
use arkwright::ports::Router;
use arkwright::release::{keep_repository, short_id};
use arkwright::router::{HaProxy, Inside};
use cli::Cli;
use common::engines;
use lab::{Counted, Load, until};
use serde_json::Value;

const BACKEND: &str = "localhost/memoryark/backend";
const TOKEN: &str = "token-for-tests";
const SERVICES: [(&str, u16); 2] = [("api", 8081), ("web", 8082)];

/// `api` and `web` behind the router, 1.0.0 serving both, and load on each.
struct Stage<'a> {
    cli: Cli<'a>,
    project: Project,
    router: HaProxy,
    load: Vec<Load>,
}

impl<'a> Stage<'a> {
    async fn up(folder: &'a Path, host: &'a str, name: &str, api: &str) -> Self {
        for name in ["data", "uploads"] {
            let made = folder.join(name);
            std::fs::create_dir_all(&made).expect("a folder");
            std::os::unix::fs::chown(&made, Some(1000), Some(1000)).expect("the back end's user");
        }
        let name = format!("arktogether{name}x{}", std::process::id());
        let own = "tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]";
        let of = |service: &str, port: u16, mounts: &str| {
            format!(
                "  {service}:\n    image: {BACKEND}:1.0.0\n    init: false\n    {mounts}\n    environment: \
                 {{ PORT: \"{port}\", LINE_SERVICE_API_TOKEN: {TOKEN}, STANDIN_DELAY: 2ms }}\n"
            )
        };
        let mounts = match api.contains("swap: hold") {
            true => "volumes: [\"./data:/data\", \"./uploads:/uploads\"]",
            false => own,
        };
        let compose = format!(
            "name: {name}\nservices:\n{}{}",
            of("api", 8081, mounts),
            of("web", 8082, own)
        );
        let release = |service: &str, port: u16, more: &str| {
            format!(
                "  {service}:\n    release: {{ port: {port}, drain_limit: 5s, {more}, \
                 health: {{ http: /api/health, every: 500ms, healthy_after: 2, within: 8s }} }}\n"
            )
        };
        let config = format!(
            "services:\n{}{}router: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\nstate: ./state\n",
            release("api", 8081, api),
            release("web", 8082, "steps: [{ weight: 20, hold: 2s }]"),
        );
        std::fs::write(folder.join("compose.yaml"), compose).expect("written");
        std::fs::write(folder.join("arkwright.yaml"), config).expect("written");
        let selection = Selection {
            files: vec![folder.join("compose.yaml")],
            host: Some(host.to_owned()),
            ..Selection::default()
        };
        let project = Project::load(&selection).expect("a project");
        let cli = Cli {
            folder,
            host,
            project: name,
        };
        cli.ends(0, &["up"]);
        let folders = project.folder().expect("a state folder").host_folders();
        let router = HaProxy::new(folders.router_config, folders.router_run, Inside::container());
        let engine = project.engine().await.expect("an engine");
        let found = engine.observe(&project.stack().name).await.expect("observed");
        let mut containers = found.containers.iter();
        let container = containers.find(|c| c.name.contains("arkwright-router"));
        let mut networks = container.expect("a router").networks.values();
        let ip: IpAddr = networks.find_map(|n| n.ip).expect("an address");
        for (service, _) in SERVICES {
            until("blue", 20, async || {
                let slots = router.slots(&named(service)).await.unwrap_or_default();
                slots.iter().any(|slot| slot.colour == Colour::Blue && slot.up)
            })
            .await;
        }
        let load = SERVICES.map(|(_, port)| {
            let headers = format!("Authorization: Bearer {TOKEN}\r\n");
            let to = SocketAddr::from((ip, port));
            Load::start(to, "/api/photos/upload", 8, Duration::from_millis(5), &headers)
        });
        Stage {
            cli,
            project,
            router,
            load: load.into(),
        }
    }

    /// The receipt of a command that has to end with this code.
    async fn ends(&self, code: i32, args: &[&str]) -> Value {
        let mut command = tokio::process::Command::from(self.cli.command(&[&["--json"], args].concat()));
        let output = command.stdin(Stdio::null()).output().await.expect("the binary runs");
        let told = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}\n{told}");
        let receipt: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        println!("  {args:?}: {} {}", receipt["subject"], receipt["outcome"]);
        for line in receipt["lines"].as_array().into_iter().flatten() {
            println!(
                "    {:24} {}",
                line["label"].as_str().unwrap_or_default(),
                line["value"]
            );
        }
        receipt
    }

    async fn deploy(&self, code: i32, api: &str, web: &str) -> Value {
        let targets = [format!("api={BACKEND}:{api}"), format!("web={BACKEND}:{web}")];
        self.ends(code, &["deploy", &targets[0], &targets[1], "--yes"]).await
    }

    /// Both services have all their traffic on this colour, and their containers are these.
    async fn serve(&self, colour: Colour, containers: &[&str]) {
        for route in self.router.routes().await.expect("the router's file") {
            for slot in route.slots {
                let full = if slot.colour == colour { 100 } else { 0 };
                assert_eq!(slot.weight, full, "{} {}", route.service, slot.colour);
            }
        }
        let engine = self.project.engine().await.expect("an engine");
        let observed = engine.observe(&self.project.stack().name).await.expect("observed");
        let label = |c: &arkwright::ports::Container, name: &str| c.label(name).unwrap_or_default().to_owned();
        let released = observed
            .containers
            .iter()
            .filter(|c| c.label("arkwright.colour").is_some());
        let mut found: Vec<String> = released
            .map(|c| {
                let image = label(c, "arkwright.image");
                let version = image.rsplit(':').next().unwrap_or_default();
                let service = label(c, "com.docker.compose.service");
                format!("{service} {version} {}", label(c, "arkwright.colour"))
            })
            .collect();
        found.sort();
        assert_eq!(found, containers);
    }

    /// Both services have all their traffic on the same colour.
    async fn one_side(&self) {
        let weights = self.router.routes().await.expect("the router's file");
        let serving: Vec<Colour> = weights
            .iter()
            .flat_map(|route| &route.slots)
            .filter(|slot| slot.weight == 100)
            .map(|slot| slot.colour)
            .collect();
        assert_eq!(serving.len(), 2, "{weights:?}");
        assert_eq!(serving[0], serving[1], "both are on one side: {weights:?}");
    }

    /// Ends the load; removes everything, also the names under which releases kept images.
    async fn end(mut self) {
        for load in std::mem::take(&mut self.load) {
            let Counted {
                sent, lost, slowest, ..
            } = load.stop().await;
            println!("  {sent} requests, {} lost, slowest {slowest:?}", lost.len());
            assert!(sent > 100, "there was load: {sent}");
            assert_eq!(lost, [""; 0]);
        }
        let engine = self.project.engine().await.expect("an engine");
        self.cli.ends(0, &["down", "--volumes", "--remove-orphans", "--yes"]);
        for (service, _) in SERVICES {
            for version in ["1.0.0", "1.1.0", "broken"] {
                if let Some(image) = engine.image(&format!("{BACKEND}:{version}")).await.expect("asked") {
                    let kept = keep_repository(&self.project.stack().name, &named(service));
                    let name = format!("{kept}:{}", short_id(&image.id));
                    engine.remove_image(&name).await.expect("one name less");
                }
            }
        }
    }
}

fn named(service: &str) -> ServiceName {
    service.parse().expect("a name")
}

const OLD: [&str; 2] = ["api 1.0.0 blue", "web 1.0.0 blue"];
const BOTH: [&str; 4] = ["api 1.0.0 blue", "api 1.1.0 green", "web 1.0.0 blue", "web 1.1.0 green"];

#[tokio::test(flavor = "multi_thread")]
async fn two_services_get_there_or_go_back_together_and_nothing_is_lost() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Stage::up(
            folder.path(),
            host,
            &format!("side{at}"),
            "steps: [{ weight: 20, hold: 2s }]",
        )
        .await;

        let refused = stage.deploy(1, "1.1.0", "broken").await;
        assert_eq!(refused["outcome"], "aborted", "{refused}");
        let because = refused["because"].as_str().expect("a reason");
        assert!(because.starts_with("web: wait for green to be healthy"), "{because}");
        stage.serve(Colour::Blue, &OLD).await;
        for member in refused["detail"]["members"].as_array().expect("both") {
            assert_eq!(
                member["counted"]["to"]["requests"], 0,
                "nobody was sent to the new ones"
            );
        }

        let deployed = stage.deploy(0, "1.1.0", "1.1.0").await;
        assert_eq!(deployed["outcome"], "deployed", "{deployed}");
        assert_eq!(deployed["detail"]["services"], serde_json::json!(["api", "web"]));
        assert_eq!(deployed["detail"]["proven"], true);
        stage.serve(Colour::Green, &BOTH).await;
        let again = stage.deploy(0, "1.1.0", "1.1.0").await;
        assert_eq!(again["outcome"], "unchanged");

        let back = stage
            .ends(0, &["rollback", "web", "--group", "--yes", "--reason", "a test"])
            .await;
        assert_eq!(
            (&back["outcome"], &back["ok"]),
            (&"rolled_back".into(), &true.into()),
            "{back}"
        );
        stage.serve(Colour::Blue, &BOTH).await;
        // Forward to what is warm, with one alone: the receipt says who stays.
        let alone = stage.ends(0, &["rollback", "api", "--yes"]).await;
        let lines = alone["lines"].as_array().expect("lines");
        let stays = lines.iter().find(|line| line["label"] == "alone").expect("it is said");
        assert!(
            stays["value"].as_str().is_some_and(|value| value.contains("with web")),
            "{stays}"
        );
        let both = stage.ends(0, &["rollback", "api", "--yes"]).await;
        assert_eq!(both["outcome"], "rolled_back");
        stage.serve(Colour::Blue, &BOTH).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_is_taken_to_one_end_for_both() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Stage::up(
            folder.path(),
            host,
            &format!("kill{at}"),
            "steps: [{ weight: 20, hold: 2s }]",
        )
        .await;
        for (round, millis) in [150, 400, 900, 1600, 2500, 3600, 4600].into_iter().enumerate() {
            let image = ["1.1.0", "1.0.0"][round % 2];
            println!("  killed after {millis} ms on the way to {image}");
            let targets = [format!("api={BACKEND}:{image}"), format!("web={BACKEND}:{image}")];
            let args = ["deploy", &targets[0], &targets[1], "--yes"];
            let mut child = tokio::process::Command::from(stage.cli.command(&args))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the binary runs");
            tokio::time::sleep(Duration::from_millis(millis)).await;
            child.kill().await.expect("killed");
            // It gets there, or takes both back; which of the two it was is told.
            let resumed = stage.cli.run(&["resume"]);
            println!("{}", String::from_utf8_lossy(&resumed.stdout));
            let told = String::from_utf8_lossy(&resumed.stderr);
            assert!(matches!(resumed.status.code(), Some(0 | 1)), "{told}");
            stage.one_side().await;
            // One that was killed before there was a journal did nothing; then this does it.
            let done = stage.deploy(0, image, image).await;
            assert!(
                ["deployed", "unchanged"].contains(&done["outcome"].as_str().expect("a word")),
                "{done}"
            );
            stage.one_side().await;
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_swapped_in_place_is_the_last_and_takes_all_back_when_it_fails() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Stage::up(folder.path(), host, &format!("held{at}"), "swap: hold").await;
        let refused = stage.deploy(1, "broken", "1.1.0").await;
        // `web` had all its traffic by then.
        assert_eq!(refused["outcome"], "rolled_back", "{refused}");
        let because = refused["because"].as_str().expect("a reason");
        assert!(because.starts_with("api: "), "{because}");
        stage.serve(Colour::Blue, &OLD).await;
        let deployed = stage.deploy(0, "1.1.0", "1.1.0").await;
        assert_eq!(deployed["outcome"], "deployed", "{deployed}");
        stage.serve(Colour::Green, &BOTH).await;
        let back = stage
            .ends(0, &["rollback", "api", "web", "--yes", "--reason", "a test"])
            .await;
        assert_eq!(back["outcome"], "rolled_back", "{back}");
        stage.serve(Colour::Blue, &BOTH).await;
        stage.end().await;
    }
}
