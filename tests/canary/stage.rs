//! Hwayo's web behind the router, 1.0.0 serving, and the command line on it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arkwright::app::{Project, Selection};
use arkwright::model::Colour;
use arkwright::ports::{Engine, Router};
use arkwright::release::{keep_repository, short_id};
use arkwright::router::{HaProxy, Inside};
use arkwright::state::read_journal;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::timeout;

use crate::cli::Cli;
use crate::common::engines;
use crate::diary::Diary;
use crate::lab::{Connection, until};

const WEB: &str = "localhost/hwayo/web";
const PORT: u16 = 3000;

/// Runs a case on every engine there is, at once; the engine's name and address.
pub async fn everywhere(case: impl AsyncFn(&'static str, String)) {
    let running = engines().into_iter().map(|(engine, host)| case(engine, host));
    futures_util::future::join_all(running).await;
}

/// A release and what is done to it; the release may be the first to end, but not long before.
pub async fn meanwhile<T>(release: impl Future<Output = Value>, steering: impl Future<Output = T>) -> (Value, T) {
    tokio::pin!(release, steering);
    tokio::select! {
        done = &mut steering => (release.await, done),
        early = &mut release => match timeout(Duration::from_secs(10), steering).await {
            Ok(done) => (early, done),
            Err(_) => panic!("it ended by itself: {early}"),
        },
    }
}

/// What a project is made of beside what is the same for all.
#[derive(Default)]
pub struct Setting<'a> {
    /// More of the service, in YAML's flow.
    pub service: &'a str,
    /// More of its `release:`.
    pub release: &'a str,
    /// The gates.
    pub gates: &'a str,
}

pub struct Stage<'a> {
    pub cli: Cli<'a>,
    pub project: Project,
    pub engine: Arc<dyn Engine>,
    pub at: SocketAddr,
    agent: Option<Child>,
}

impl<'a> Stage<'a> {
    pub async fn up(folder: &'a Path, host: &'a str, setting: Setting<'_>) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("canary{}x{}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let Setting {
            service,
            release,
            gates,
        } = setting;
        let compose = format!(
            "name: {name}\nservices:\n  web: {{ image: \"{WEB}:1.0.0\", restart: always, stop_grace_period: 2s, \
             {service} }}\n"
        );
        let config = format!(
            "services:\n  web:\n    release: {{ port: {PORT}, drain_limit: 5s, {release}, \
             health: {{ http: /health, every: 500ms, healthy_after: 2, within: 15s }} }}\n\
             router: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\nstate: ./state\n\
             agent: {{ listen: \"127.0.0.1:0\", socket: ./agent.sock }}\ngates: {{ {gates} }}\n"
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
        let up = || {
            tokio::process::Command::from(cli.command(&["up"]))
                .kill_on_drop(true)
                .output()
        };
        let mut output = up().await;
        // Podman stumbles over networks of others that come and go while it makes one.
        if output.as_ref().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stderr).contains("route ip+net: no such network interface")
        }) {
            output = up().await;
        }
        ends(0, output);
        let engine = project.engine().await.expect("an engine");
        let found = engine.observe(&project.stack().name).await.expect("observed");
        let router = found.containers.iter().find(|c| c.name.contains("arkwright-router"));
        let networks = &router.expect("a router").networks;
        let ip: IpAddr = networks.values().find_map(|n| n.ip).expect("an address");
        let stage = Stage {
            cli,
            project,
            engine,
            at: SocketAddr::from((ip, PORT)),
            agent: None,
        };
        until("1.0.0", 20, async || stage.version().await.as_deref() == Some("1.0.0")).await;
        stage
    }

    /// Starts the agent; it ends with the stage, or before by [`Stage::without_agent`].
    pub async fn agent(&mut self) {
        let log = std::fs::File::create(self.cli.folder.join("agent.log")).expect("a log");
        let mut command = tokio::process::Command::from(self.cli.command(&["agent"]));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.agent = Some(command.spawn().expect("the agent starts"));
        let socket = self.cli.folder.join("agent.sock");
        until("the agent", 20, async || socket.exists()).await;
    }

    pub async fn without_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            signal(&agent, Signal::TERM);
            agent.wait().await.expect("ended");
        }
    }

    /// A command as a process of its own.
    pub async fn run(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.cli.command(args));
        command.stdin(Stdio::null()).output().await.expect("the binary runs")
    }

    /// What it printed, of one that has to end with this code.
    pub async fn ends(&self, code: i32, args: &[&str]) -> Value {
        let args = [&["--json"], args].concat();
        let printed = ends(code, Ok(self.run(&args).await));
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?}: {error}: {printed}"))
    }

    /// The error of one that has to be refused with this code.
    pub async fn refused(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat()).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        let last = told.lines().last().unwrap_or_default();
        let told: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{args:?}: {error}: {told}"));
        told["error"].clone()
    }

    /// What it told on standard error.
    pub async fn told(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    }

    /// One that goes on meanwhile; what it tells goes into a file beside the project.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let told = std::fs::File::create(self.cli.folder.join("told.log")).expect("a log");
        let mut command = tokio::process::Command::from(self.cli.command(args));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(told)
            .kill_on_drop(true);
        command.spawn().expect("the binary runs")
    }

    /// The receipt of a deployment that has to end with this code.
    pub async fn deploy(&self, code: i32, version: &str) -> Value {
        let target = format!("web={WEB}:{version}");
        self.ends(code, &["deploy", &target, "--yes"]).await
    }

    /// What the history says of the newest operation.
    pub async fn newest(&self) -> Value {
        let history = self.ends(0, &["history"]).await;
        history
            .as_array()
            .and_then(|all| all.last())
            .cloned()
            .unwrap_or_default()
    }

    /// The journal of the newest release.
    pub fn diary(&self) -> Diary {
        let folder = self.project.folder().expect("a state folder");
        let operations = folder.operations().expect("journals");
        let newest = operations.iter().rfind(|(_, kind)| kind == "release");
        let (id, kind) = newest.expect("a release");
        Diary(read_journal(&folder.journal(kind, id)).expect("a journal").0)
    }

    /// Of whoever answers now.
    pub async fn version(&self) -> Option<String> {
        let mut connection = Connection::open(self.at).await.ok()?;
        let (_, body) = connection.send("GET", "/version", "", "").await.ok()?;
        let said: Value = serde_json::from_str(&body).ok()?;
        said["version"].as_str().map(str::to_owned)
    }

    /// The service's containers of one colour.
    pub async fn containers(&self, colour: Colour) -> Vec<String> {
        let observed = self.engine.observe(&self.project.stack().name).await.expect("observed");
        let of_colour = |c: &&arkwright::ports::Container| c.label("arkwright.colour") == Some(colour.as_str());
        let found = observed.containers.iter().filter(of_colour);
        found.map(|c| c.name.clone()).collect()
    }

    /// The containers of programs that releases run.
    pub async fn programs(&self) -> Vec<String> {
        let label = format!("arkwright.hook={}/web", self.project.stack().name);
        let found = self.engine.containers_labelled(&label).await.expect("asked");
        found.into_iter().map(|c| c.name).collect()
    }

    /// The share of one colour, as the router's file has it.
    pub async fn weight(&self, colour: Colour) -> Option<u8> {
        let folders = self.project.folder().expect("a state folder").host_folders();
        let router = HaProxy::new(folders.router_config, folders.router_run, Inside::container());
        let routes = router.routes().await.expect("the router's file");
        let slots = routes.iter().flat_map(|route| &route.slots);
        slots
            .filter(|slot| slot.colour == colour)
            .map(|slot| slot.weight)
            .next()
    }

    /// Removes everything, also the names under which releases kept images.
    pub async fn end(mut self, versions: &[&str]) {
        self.without_agent().await;
        // Not left to whoever drops: the case on the other engine goes on meanwhile.
        self.told(0, &["down", "--volumes", "--remove-orphans", "--yes"]).await;
        let Stage { project, engine, .. } = &self;
        let service = "web".parse().expect("a name");
        for version in versions {
            if let Some(image) = engine.image(&format!("{WEB}:{version}")).await.expect("asked") {
                let kept = keep_repository(&project.stack().name, &service);
                let name = format!("{kept}:{}", short_id(&image.id));
                engine.remove_image(&name).await.expect("one name less");
            }
        }
    }
}

fn ends(code: i32, output: std::io::Result<Output>) -> String {
    let output = output.expect("the binary runs");
    let (said, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(code), "{said}\n{told}");
    said.into_owned()
}

pub fn signal(to: &Child, signal: Signal) {
    let id = to.id().and_then(|id| Pid::from_raw(id as i32)).expect("it runs");
    kill_process(id, signal).expect("told");
}
