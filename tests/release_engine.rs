//! Releases on a real engine, behind a real router, under load that never tries again.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are those of
//! `scripts/images`.

mod common;
mod lab;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arkwright::app::{Project, Selection, Site, SystemClock, SystemEntropy};
use arkwright::http::WebClient;
use arkwright::journal::Saga;
use arkwright::machine::ThisHost;
use arkwright::model::{Colour, OperationId, ServiceName, Span};
use arkwright::plan::{TearDown, Wishes};
use arkwright::ports::{Engine, Router};
use arkwright::release::{ReleaseStep, due, keep_repository, past, short_id};
use arkwright::router::{HaProxy, Inside};
use arkwright::run::gates::Looker;
use arkwright::run::release::{BeforeRelease, ReleasePerformer, ReleaseScope, plan_release, releases};
use arkwright::run::{Ledger, News, OperationError, Order, Progress, Receipt, StepFailed, Watch};
use arkwright::state::{HostLock, ProjectFolder};
use async_trait::async_trait;
use common::engines;
use lab::{Load, Sockets, until};
use tokio::sync::mpsc;

const BACKEND: &str = "localhost/memoryark/backend";
const TOKEN: &str = "token-for-tests";

struct Says;

impl Progress for Says {
    fn say(&self, text: &str) {
        println!("    {text}");
    }
}

struct NoBackups;

#[async_trait]
impl BeforeRelease for NoBackups {
    async fn backup(&self, set: &str, _: &dyn Progress) -> Result<String, StepFailed> {
        Ok(format!("nothing of {set}"))
    }
}

/// Counts updates, so that a driver can be dropped at any.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Watch for Counting {
    fn hear(&self, news: News) {
        if let News::Update(update) = news {
            println!("    {:?} {}", update.kind, update.text);
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A project on an engine: the stand-in back end behind the router, 1.0.0 serving.
struct Stage {
    project: Project,
    engine: Arc<dyn Engine>,
    router: Arc<HaProxy>,
    state: ProjectFolder,
    at: SocketAddr,
    folder: tempfile::TempDir,
}

async fn stage(host: &str, name: &str, swap: &str) -> Stage {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path(), host, name, swap);
    up(&project.site().await.expect("a site"), Wishes::default()).await;
    Stage::of(folder, project).await
}

/// The project's files, read.
fn project(folder: &Path, host: &str, name: &str, swap: &str) -> Project {
    for name in ["data", "uploads"] {
        let made = folder.join(name);
        std::fs::create_dir_all(&made).expect("a folder");
        std::os::unix::fs::chown(&made, Some(1000), Some(1000)).expect("the back end's user");
    }
    // One process may open a bind-mounted database; side by side, each colour has one of its own.
    let mounts = match swap {
        "hold" => "volumes: [\"./data:/data\", \"./uploads:/uploads\"]",
        _ => "tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]",
    };
    let before = match swap {
        "hold" => "before: [{ backup: database }],",
        _ => "",
    };
    let compose = format!(
        "name: ark{name}{}\nservices:\n  backend:\n    image: {BACKEND}:1.0.0\n    init: false\n    {mounts}\n    \
         environment: {{ LINE_SERVICE_API_TOKEN: {TOKEN}, STANDIN_DELAY: 2ms }}\n",
        std::process::id()
    );
    let config = format!(
        "services:\n  backend:\n    release: {{ port: 8081, swap: {swap}, {before} drain_limit: 5s, \
         health: {{ http: /api/health, every: 500ms, healthy_after: 2, within: 8s }} }}\n\
         router: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\nstate: ./state\n\
         backups:\n  recipients: [age1x]\n  stores: {{ here: {{ path: ./backups }} }}\n  \
         sets: {{ database: {{ sources: [{{ sqlite: ./data/memoryark.db }}] }} }}\n"
    );
    std::fs::write(folder.join("compose.yaml"), compose).expect("written");
    std::fs::write(folder.join("arkwright.yaml"), config).expect("written");
    let selection = Selection {
        files: vec![folder.join("compose.yaml")],
        host: Some(host.to_owned()),
        ..Selection::default()
    };
    Project::load(&selection).expect("a project")
}

async fn up(site: &Site<'_>, wishes: Wishes) {
    let observed = site.observe().await.expect("observed");
    let plan = site.plan(&observed, wishes).await.expect("a plan");
    site.perform(&plan, &Says).await.expect("up");
}

fn service() -> ServiceName {
    "backend".parse().expect("a name")
}

fn deploy(version: &str) -> Order {
    Order::Deploy {
        service: service(),
        image: Some(format!("{BACKEND}:{version}")),
        no_canary: false,
    }
}

fn rollback() -> Order {
    Order::Rollback {
        service: service(),
        reason: Some("a test".into()),
    }
}

impl Stage {
    /// A project that is up, once blue is healthy.
    async fn of(folder: tempfile::TempDir, project: Project) -> Self {
        let state = project.folder().expect("a state folder");
        let folders = state.host_folders();
        let inside = Inside::container();
        let router = Arc::new(HaProxy::new(folders.router_config, folders.router_run, inside));
        let engine = project.engine().await.expect("an engine");
        let found = engine.observe(&project.stack().name).await.expect("observed");
        let mut containers = found.containers.iter();
        let container = containers
            .find(|c| c.name.contains("arkwright-router"))
            .expect("a router");
        let ip: IpAddr = container.networks.values().find_map(|n| n.ip).expect("an address");
        let stage = Stage {
            project,
            engine,
            router,
            state,
            at: SocketAddr::from((ip, 8081)),
            folder,
        };
        until("blue", 20, || async {
            let slots = stage.router.slots(&service()).await.unwrap_or_default();
            slots.iter().any(|slot| slot.colour == Colour::Blue && slot.up)
        })
        .await;
        stage
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.state,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }
    }

    fn performer(&self) -> ReleasePerformer {
        ReleasePerformer {
            engine: self.engine.clone(),
            router: self.router.clone(),
            clock: Arc::new(SystemClock),
            before: Arc::new(NoBackups),
            gauges: Arc::new(Looker::new(
                self.engine.clone(),
                self.router.clone(),
                Arc::new(WebClient::default()),
                Arc::new(ThisHost),
                Arc::new(SystemClock),
            )),
            watch: Default::default(),
            state: self.state.clone(),
            secrets: arkwright::stack::Secrets::default(),
            lost: Default::default(),
        }
    }

    fn sagas(&self) -> Vec<Saga<ReleaseStep>> {
        releases(&self.state).expect("the journals")
    }

    async fn begin(&self, order: &Order) -> Result<OperationId, OperationError> {
        let sagas = self.sagas();
        let scope = ReleaseScope {
            stack: self.project.stack(),
            config: &self.project.config,
            folders: &self.state.host_folders(),
            engine: self.engine.as_ref(),
            router: self.router.as_ref(),
            releases: &sagas,
            now: std::time::SystemTime::now().into(),
        };
        let (subject, plan) = plan_release(&scope, order).await?;
        let id = self.ledger().new_id();
        self.ledger().begin::<ReleaseStep>(&id, subject, plan, "a test")?;
        Ok(id)
    }

    async fn release(&self, order: &Order) -> Receipt {
        let id = self.begin(order).await.expect("planned");
        let (_ask, petitions) = mpsc::channel(1);
        let receipt = self
            .ledger()
            .finish(&id, &self.performer(), &Counting::default(), petitions)
            .await;
        told(receipt.expect("driven"))
    }

    /// Drops the driver again and again, each time one update later, and resumes from the journal.
    async fn release_with_interruptions(&self, order: &Order) -> Receipt {
        let id = self.begin(order).await.expect("planned");
        for allowed in 1.. {
            let (_ask, petitions) = mpsc::channel(1);
            let heard = Counting::default();
            let (performer, ledger) = (self.performer(), self.ledger());
            let driving = ledger.finish::<ReleaseStep>(&id, &performer, &heard, petitions);
            let enough = async {
                while heard.0.load(Ordering::SeqCst) < allowed {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                biased;
                () = enough => println!("    -- the driver is gone after {allowed} updates --"),
                receipt = driving => return told(receipt.expect("driven")),
            }
        }
        unreachable!("it ends when enough is allowed")
    }

    /// `version colour` of every container of the service.
    async fn containers(&self) -> Vec<String> {
        let observed = self.engine.observe(&self.project.stack().name).await.expect("observed");
        let ours = observed
            .containers
            .iter()
            .filter(|c| c.label("com.docker.compose.service") == Some("backend"));
        let mut found: Vec<String> = ours
            .map(|c| {
                let image = c.label("arkwright.image").unwrap_or_default();
                let version = image.rsplit(':').next().unwrap_or_default();
                format!(
                    "{version} {}{}",
                    c.label("arkwright.colour").unwrap_or_default(),
                    if c.running() { "" } else { " stopped" }
                )
            })
            .collect();
        found.sort();
        found
    }

    /// What `arkwright` prints, which has to succeed.
    fn ends(&self, args: &[&str]) -> String {
        let host = self.project.selection.host.as_deref().expect("a host");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_arkwright"))
            .args(["--host", host])
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn load(&self) -> Load {
        Load::start(
            self.at,
            "/api/photos/upload",
            16,
            Duration::from_millis(2),
            &format!("Authorization: Bearer {TOKEN}\r\n"),
        )
    }

    fn copy_is_gone(&self) -> bool {
        !self.state.scratch().join("release-backend").exists()
    }

    async fn down(self) {
        let site = self.project.site().await.expect("a site");
        let observed = site.observe().await.expect("observed");
        let what = TearDown {
            volumes: true,
            orphans: true,
        };
        let plan = site.teardown(observed, what).await.expect("a plan");
        site.perform(&plan, &Says).await.expect("down");
        // The names that keep released images from being pruned.
        for version in ["1.0.0", "1.1.0", "broken"] {
            if let Some(image) = self.engine.image(&format!("{BACKEND}:{version}")).await.expect("asked") {
                let kept = keep_repository(&self.project.stack().name, &service());
                let name = format!("{kept}:{}", short_id(&image.id));
                self.engine.remove_image(&name).await.expect("one name less");
            }
        }
        drop(self.folder);
    }
}

fn told(receipt: Receipt) -> Receipt {
    println!("  {} {}: {}", receipt.kind, receipt.subject, receipt.outcome);
    for line in &receipt.lines {
        println!("    {:28} {}", line.label, line.value);
    }
    if let Some(because) = &receipt.because {
        println!("    because {because}");
    }
    receipt
}

async fn settled() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_side_by_side_loses_nothing() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let stage = stage(host, &format!("side{at}x"), "overlap").await;
        let load = stage.load();
        let sockets = Sockets::open(stage.at, "/api/ws", 5).await;
        stage.router.listen().await.expect("listens");
        settled().await;

        let unchanged = stage.release(&deploy("1.0.0")).await;
        assert_eq!((unchanged.outcome.as_str(), unchanged.ok), ("unchanged", true));

        let deployed = stage.release(&deploy("1.1.0")).await;
        assert_eq!(
            (deployed.outcome.as_str(), deployed.ok),
            ("deployed", true),
            "{:?}",
            deployed.because
        );
        assert_eq!(deployed.detail["proven"], true);
        assert_eq!(stage.containers().await, ["1.0.0 blue", "1.1.0 green"]);
        settled().await;
        // The router's user sends its log to a socket of ours, which is not its own.
        let times = stage
            .router
            .latency(&service(), Span::seconds(600))
            .await
            .expect("times");
        assert!(times.iter().all(|(_, latency)| latency.p95.is_some()), "{times:?}");
        println!("  {times:?}");
        let back = stage.release(&rollback()).await;
        assert_eq!(
            (back.outcome.as_str(), back.ok),
            ("rolled_back", true),
            "{:?}",
            back.because
        );
        settled().await;

        // Green makes room for the sick one, which is removed again; nobody was sent to it.
        let refused = stage.release(&deploy("broken")).await;
        assert_eq!((refused.outcome.as_str(), refused.ok), ("aborted", false));
        let because = refused.because.clone().expect("a reason");
        assert!(because.contains("not healthy within 8s"), "{because}");
        assert_eq!(stage.containers().await, ["1.0.0 blue"]);
        assert_eq!(refused.detail["counted"]["to"]["requests"], 0);

        // What is gone is made again from the journal's image, with the driver interrupted on the way.
        assert!(past(&stage.sagas(), std::time::SystemTime::now().into()).contains_key(&service()));
        assert_eq!(
            sockets.cut().await,
            0,
            "blue served all the time, and was never stopped"
        );
        let again = stage.release_with_interruptions(&deploy("1.1.0")).await;
        assert_eq!(again.outcome, "deployed", "{:?}", again.because);
        settled().await;
        let retired = stage.release(&Order::Retire { service: service() }).await;
        assert_eq!(retired.outcome, "retired", "{:?}", retired.because);
        assert_eq!(stage.containers().await, ["1.1.0 green"]);
        let cold = stage.release_with_interruptions(&rollback()).await;
        assert_eq!(cold.outcome, "rolled_back", "{:?}", cold.because);
        settled().await;
        assert_eq!(stage.containers().await, ["1.0.0 blue", "1.1.0 green"]);
        assert_eq!(due(&stage.sagas(), std::time::SystemTime::now().into()), []);

        // `up` finds nothing to do about released colours.
        let site = stage.project.site().await.expect("a site");
        let observed = site.observe().await.expect("observed");
        let plan = site.plan(&observed, Wishes::default()).await.expect("a plan");
        assert_eq!(
            plan.changes,
            [],
            "{:?}",
            plan.changes.iter().map(|c| &c.reason).collect::<Vec<_>>()
        );

        let counted = load.stop().await;
        println!(
            "  {} requests, {} lost, slowest {:?}, {:?}",
            counted.sent,
            counted.lost.len(),
            counted.slowest,
            counted.answers
        );
        assert_eq!(counted.lost, [""; 0]);
        stage.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_swap_loses_nothing_and_puts_the_data_back_when_it_fails() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let stage = stage(host, &format!("held{at}x"), "hold").await;
        let load = stage.load();
        let sockets = Sockets::open(stage.at, "/api/ws", 3).await;
        settled().await;
        let deployed = stage.release(&deploy("1.1.0")).await;
        assert_eq!(
            (deployed.outcome.as_str(), deployed.ok),
            ("deployed", true),
            "{:?}",
            deployed.because
        );
        assert_eq!(deployed.detail["websockets_closed"], 3);
        assert_eq!(sockets.cut().await, 3);
        assert_eq!(stage.containers().await, ["1.0.0 blue stopped", "1.1.0 green"]);
        settled().await;
        let back = stage.release(&rollback()).await;
        assert_eq!(
            (back.outcome.as_str(), back.ok),
            ("rolled_back", true),
            "{:?}",
            back.because
        );
        assert!(
            back.lines
                .iter()
                .any(|l| l.label == "data" && l.value.contains("left as it is"))
        );
        settled().await;

        let refused = stage.release(&deploy("broken")).await;
        assert_eq!((refused.outcome.as_str(), refused.ok), ("aborted", false));
        assert_eq!(stage.containers().await, ["1.0.0 blue"]);
        settled().await;

        let again = stage.release_with_interruptions(&deploy("1.1.0")).await;
        assert_eq!(again.outcome, "deployed", "{:?}", again.because);
        settled().await;
        assert!(stage.copy_is_gone());
        let counted = load.stop().await;
        println!(
            "  {} requests, {} lost, slowest {:?}, {:?}",
            counted.sent,
            counted.lost.len(),
            counted.slowest,
            counted.answers
        );
        assert_eq!(counted.lost, [""; 0]);
        let data: PathBuf = stage.folder.path().join("data/memoryark.db");
        assert!(data.exists());
        stage.down().await;
    }
}

/// The stand-in gives up at once where its database is locked, as MemoryArk does.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_what_only_one_process_may_open_lets_no_request_meet_a_lock() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let stage = stage(host, &format!("still{at}x"), "hold").await;
        let keys = stage.ends(&["--json", "key", "new", "--recovery", "recovery.key"]);
        let keys: serde_json::Value = serde_json::from_str(&keys).expect("json");
        let config = stage.folder.path().join("arkwright.yaml");
        let text = std::fs::read_to_string(&config).expect("read");
        let recipient = keys["recipients"]["drill"].as_str().expect("a recipient");
        std::fs::write(&config, text.replace("age1x", recipient)).expect("written");
        let load = stage.load();
        settled().await;
        for _ in 0..4 {
            let receipt = stage.ends(&["--json", "backup", "run", "database"]);
            assert!(receipt.contains("requests to backend waited up to"), "{receipt}");
        }
        settled().await;
        let counted = load.stop().await;
        println!("  {} requests, slowest {:?}", counted.sent, counted.slowest);
        assert_eq!(counted.lost, [""; 0]);
        assert!(counted.sent > 100, "{}", counted.sent);

        // Somebody else has the gates: the copy is made all the same, and said to be.
        let lock = HostLock::take(&stage.state.stack_lock(), "a test").expect("free");
        let receipt = stage.ends(&["--json", "backup", "run", "database"]);
        assert!(receipt.contains("may have been refused a moment: a test"), "{receipt}");
        drop(lock);
        stage.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_service_is_adopted_when_asked_and_not_before() {
    for (at, (_, host)) in engines().iter().enumerate() {
        println!("on {host}");
        let folder = tempfile::tempdir().expect("a folder");
        let name = format!("plain{at}x");
        let mut plain = project(folder.path(), host, &name, "hold");
        let released = std::mem::take(&mut plain.config.services);
        up(&plain.site().await.expect("a site"), Wishes::default()).await;
        let engine = plain.engine().await.expect("an engine");
        let names = async || -> Vec<String> {
            let observed = engine.observe(&plain.stack().name).await.expect("observed");
            observed
                .containers
                .iter()
                .map(|c| c.name.rsplit_once("x").map_or("", |n| n.1).to_owned())
                .collect()
        };
        assert_eq!(names().await.len(), 1);

        let mut project = project(folder.path(), host, &name, "hold");
        project.config.services = released;
        up(&project.site().await.expect("a site"), Wishes::default()).await;
        assert_eq!(names().await.len(), 1, "it is left alone");
        let adopt = Wishes {
            adopt: true,
            ..Wishes::default()
        };
        up(&project.site().await.expect("a site"), adopt).await;
        let stage = Stage::of(folder, project).await;
        assert_eq!(stage.containers().await, ["1.0.0 blue"]);
        let deployed = stage.release(&deploy("1.1.0")).await;
        assert_eq!(deployed.outcome, "deployed", "{:?}", deployed.because);
        stage.down().await;
    }
}
