use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arkwright::app::{Project, Selection};
use arkwright::ports::{Container, Engine};
use arkwright::release::{keep_repository, short_id};
use serde_json::Value;

use crate::cli::Cli;
use crate::common::engines;

pub const PORT: u16 = 3000;
const TOKEN: &str = "token-for-tests";
const SECRET: &str = "secret-for-tests";

/// Runs a case on every engine there is, at once; the engine's name and address.
pub async fn everywhere(case: impl AsyncFn(&'static str, String)) {
    let running = engines().into_iter().map(|(engine, host)| case(engine, host));
    futures_util::future::join_all(running).await;
}

/// The LINE service's image.
pub fn line(version: &str) -> String {
    let name = std::env::var("ARKWRIGHT_TEST_LINE").unwrap_or_else(|_| "localhost/memoryark/line-service".into());
    format!("{name}:{version}")
}

/// MemoryArk's LINE service with the Redis and the back end it needs; 1.0.0 runs.
pub struct Stage<'a> {
    pub cli: Cli<'a>,
    pub engine: Arc<dyn Engine>,
    project: Project,
}

impl<'a> Stage<'a> {
    /// `service` and `release` go into the LINE service's entries, in YAML's flow.
    pub async fn up(folder: &'a Path, host: &'a str, service: &str, release: &str, gates: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("around{}x{}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        let compose = format!(
            "name: {name}\nservices:\n  redis: {{ image: \"localhost/memoryark/redis:7.0\" }}\n  \
             backend:\n    image: \"localhost/memoryark/backend:1.0.0\"\n    \
             tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]\n    \
             environment: {{ LINE_SERVICE_API_TOKEN: {TOKEN} }}\n  \
             line:\n    image: \"{}\"\n    {service}\n    stop_grace_period: 5s\n    \
             environment: {{ LINE_CHANNEL_SECRET: {SECRET}, MEMORYARK_API_URL: \"http://backend:8081\", \
             MEMORYARK_API_TOKEN: {TOKEN}, STANDIN_LEDGER: ledger }}\n",
            line("1.0.0")
        );
        let config = format!(
            "services:\n  line: {{ release: {{ {release} }} }}\n\
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
        let engine = project.engine().await.expect("an engine");
        let cli = Cli {
            folder,
            host,
            project: name,
        };
        let stage = Stage { cli, engine, project };
        let mut up = stage.run(&["up"]).await;
        // Podman stumbles over networks of others that come and go while it makes one.
        if String::from_utf8_lossy(&up.stderr).contains("route ip+net: no such network interface") {
            up = stage.run(&["up"]).await;
        }
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        stage
    }

    pub async fn run(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.cli.command(args));
        command.stdin(Stdio::null()).output().await.expect("the binary runs")
    }

    /// What it printed, of one that has to end with this code.
    pub async fn ends(&self, code: i32, args: &[&str]) -> Value {
        let output = self.run(&[&["--json"], args].concat()).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}\n{told}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}\n{told}"))
    }

    /// The receipt of a deployment that has to end with this code.
    pub async fn deploy(&self, code: i32, version: &str) -> Value {
        let target = format!("line={}", line(version));
        self.ends(code, &["deploy", &target, "--yes"]).await
    }

    /// The containers of a service, by name.
    pub async fn containers(&self, service: &str) -> Vec<Container> {
        let observed = self.engine.observe(&self.project.stack().name).await.expect("observed");
        let mut found = observed.containers;
        found.retain(|c| c.label("com.docker.compose.service") == Some(service));
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// Where a service's first container is.
    pub async fn address(&self, service: &str, port: u16) -> SocketAddr {
        let containers = self.containers(service).await;
        let mut networks = containers.iter().flat_map(|c| c.networks.values());
        let ip: IpAddr = networks.find_map(|n| n.ip).expect("an address");
        SocketAddr::from((ip, port))
    }

    /// The lines redis-cli prints.
    pub async fn redis(&self, words: &[&str]) -> Vec<String> {
        let redis = self.containers("redis").await;
        let command: Vec<String> = ["redis-cli"]
            .iter()
            .chain(words)
            .map(|word| (*word).to_owned())
            .collect();
        let output = self
            .engine
            .exec(&redis[0].id, &command, Duration::from_secs(10))
            .await
            .expect("asked");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Removes everything, also the names under which releases kept images.
    pub async fn end(self) {
        // Not left to whoever drops: the case on the other engine goes on meanwhile.
        let down = self.run(&["down", "--volumes", "--remove-orphans", "--yes"]).await;
        assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
        for version in ["1.0.0", "1.1.0", "broken"] {
            if let Some(image) = self.engine.image(&line(version)).await.expect("asked") {
                let kept = keep_repository(&self.project.stack().name, &"line".parse().expect("a name"));
                let name = format!("{kept}:{}", short_id(&image.id));
                self.engine.remove_image(&name).await.expect("one name less");
            }
        }
    }
}
