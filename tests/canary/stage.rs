//! Hwayo's web behind the router, 1.0.0 serving, and the command line on it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arkwright::app::{Project, Selection};
use arkwright::model::Colour;
use arkwright::ports::Engine;
use arkwright::release::{keep_repository, short_id};
use arkwright::state::read_journal;
use serde_json::Value;

use crate::cli::Cli;
use crate::common::engines;
use crate::diary::Diary;
use crate::lab::{Connection, until};

const WEB: &str = "localhost/hwayo/web";
const PORT: u16 = 3000;

/// Runs a case on every engine there is, at once; the engine's name and address.
pub async fn everywhere<F: Future<Output = ()> + Send + 'static>(case: impl Fn(&'static str, String) -> F) {
    let running: Vec<_> = engines()
        .into_iter()
        .map(|(engine, host)| tokio::spawn(case(engine, host)))
        .collect();
    for one in running {
        one.await.expect("the case holds");
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
        ends(0, tokio::process::Command::from(cli.command(&["up"])).output().await);
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
        };
        until("1.0.0", 20, async || stage.version().await.as_deref() == Some("1.0.0")).await;
        stage
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

    /// The receipt of a deployment that has to end with this code.
    pub async fn deploy(&self, code: i32, version: &str) -> Value {
        let target = format!("web={WEB}:{version}");
        self.ends(code, &["deploy", &target, "--yes"]).await
    }

    /// The journal of the newest release.
    pub fn diary(&self) -> Diary {
        let folder = self.project.folder().expect("a state folder");
        let operations = folder.operations().expect("journals");
        let newest = operations.iter().filter(|(_, kind)| kind == "release").next_back();
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

    /// Removes everything, also the names under which releases kept images.
    pub async fn end(self, versions: &[&str]) {
        let Stage {
            cli, project, engine, ..
        } = self;
        let service = "web".parse().expect("a name");
        for version in versions {
            if let Some(image) = engine.image(&format!("{WEB}:{version}")).await.expect("asked") {
                let kept = keep_repository(&project.stack().name, &service);
                let name = format!("{kept}:{}", short_id(&image.id));
                engine.remove_image(&name).await.expect("one name less");
            }
        }
        tokio::task::block_in_place(|| drop(cli));
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
