use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arkwright::engine;
use arkwright::http::WebClient;
use arkwright::model::{ContainerId, ProjectName};
use arkwright::plan::{ContainerSpec, NetworkAttachment, NetworkSpec, labels};
use arkwright::ports::{Engine, EngineKind};
use arkwright::run::Receipt;
use arkwright::run::restore::Selection;
use arkwright::run::snapshots::{Which, find, listing};
use arkwright::source::ProjectSources;
use arkwright::stack::Volume;

use crate::common;
use crate::support::World;

/// An engine, and a project on it with names of its own.
pub struct Stage {
    pub engine: Arc<dyn Engine>,
    pub project: ProjectName,
    pub host: String,
}

/// Runs a case if the engine is named; what it leaves behind is removed, also when it fails.
pub async fn run<F, T>(variable: &str, body: F)
where
    F: FnOnce(Arc<Stage>) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let Ok(host) = std::env::var(variable) else {
        common::not_run(&format!("{variable} names no engine (./scripts/test starts one)"));
        return;
    };
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let kind = if variable.ends_with("PODMAN") { "p" } else { "d" };
    let engine = engine::connect(Some(&host), &[]).await.expect("an engine that answers");
    let stage = Arc::new(Stage {
        engine: Arc::new(engine),
        project: format!("srcs-{kind}{}-{number}", std::process::id())
            .parse()
            .expect("a name"),
        host,
    });
    let result = tokio::spawn(body(stage.clone())).await;
    stage.clean().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Stage {
    /// Whether the image is there; the case is NOT RUN without it.
    pub async fn has(&self, image: &str) -> bool {
        let found = self.engine.image(image).await.expect("an answer").is_some();
        if !found {
            common::not_run(&format!("{image} is missing (./scripts/images makes it)"));
        }
        found
    }

    pub fn spec(&self, service: &str, image: &str) -> ContainerSpec {
        let labels = [
            (labels::PROJECT, self.project.as_str()),
            (labels::SERVICE, service),
            (labels::NUMBER, "1"),
        ];
        ContainerSpec {
            name: format!("{}-{service}", self.project),
            image: image.to_owned(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..ContainerSpec::default()
        }
    }

    pub async fn start(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create_container(spec).await.expect("created");
        self.engine.start_container(&id).await.expect("started");
        id
    }

    /// A network of the project, as an attachment.
    pub async fn network(&self) -> NetworkAttachment {
        let name = format!("{}-net", self.project);
        let spec = NetworkSpec {
            name: name.clone(),
            labels: [(labels::PROJECT.to_owned(), self.project.to_string())].into(),
            ..NetworkSpec::default()
        };
        self.engine.create_network(&spec).await.expect("a network");
        NetworkAttachment {
            network: name,
            ..NetworkAttachment::default()
        }
    }

    /// Standard output of a shell line that must succeed.
    pub async fn sh(&self, id: &ContainerId, line: &str) -> String {
        let (code, out, err) = self.try_sh(id, line).await;
        assert_eq!(code, 0, "`{line}`: {out}{err}");
        out
    }

    pub async fn try_sh(&self, id: &ContainerId, line: &str) -> (i64, String, String) {
        let command = ["sh", "-c", line].map(str::to_owned);
        let output = self.engine.exec(id, &command, Duration::from_secs(120)).await;
        let output = output.expect("run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.exit_code, text(&output.stdout), text(&output.stderr))
    }

    /// Waits, for at most two minutes, until the line succeeds inside.
    pub async fn until(&self, id: &ContainerId, line: &str) {
        for _ in 0..400 {
            if self.try_sh(id, line).await.0 == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let logs = self.engine.logs(id, 50).await.expect("logs");
        panic!("never happened: `{line}`: {:?}\n{logs}", self.try_sh(id, line).await);
    }

    /// A file into a standard tool of the engine's own command line, without anything of ours in between.
    pub fn by_hand(&self, id: &ContainerId, words: &[&str], input: &Path) -> String {
        let mut client = match self.engine.info().kind {
            EngineKind::Docker => {
                let mut client = Command::new("docker");
                client.args(["-H", &self.host]);
                client
            }
            EngineKind::Podman => {
                let mut client = Command::new("podman");
                client.args(["--remote", "--url", &self.host]);
                client
            }
        };
        let mut child = client
            .args(["exec", "-i", id.as_str()])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the engine's client runs");
        let bytes = std::fs::read(input).expect("read");
        let mut stdin = child.stdin.take().expect("its input");
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = child.wait_with_output().expect("ended");
        writer.join().expect("no panic").expect("written");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A project's backups whose sources are this project's.
    pub fn world(&self, sources: &str) -> World {
        self.world_with(sources, &[])
    }

    /// The same, of a Compose file with these volumes: their keys there, and their names.
    pub fn world_with(&self, sources: &str, volumes: &[(&str, &str)]) -> World {
        let named = |&(key, name): &(&str, &str)| {
            let volume = Volume {
                name: name.to_owned(),
                external: false,
                driver: None,
                driver_opts: Default::default(),
                labels: Default::default(),
            };
            (key.to_owned(), volume)
        };
        let mut world = World::new(sources);
        world.sources = Arc::new(ProjectSources {
            project: self.project.clone(),
            volumes: volumes.iter().map(named).collect(),
            engine: Ok(self.engine.clone()),
            web: Arc::new(WebClient::default()),
        });
        world
    }

    async fn clean(&self) {
        let left = self.engine.observe(&self.project).await.expect("observed");
        for container in left.containers {
            self.engine.remove_container(&container.id).await.expect("removed");
        }
        for network in left.networks {
            self.engine.remove_network(&network.name).await.expect("removed");
        }
        for volume in left.volumes {
            self.engine.remove_volume(&volume.name).await.expect("removed");
        }
    }
}

pub fn good(receipt: &Receipt) {
    assert!(receipt.ok, "{receipt:?}");
}

/// Why a backup failed, as a person is told; nothing may have been published.
pub fn refusal(world: &World, receipt: &Receipt) -> String {
    assert!(!receipt.ok, "{receipt:?}");
    let published = world.objects().into_iter().filter(|name| name.starts_with("man/"));
    assert_eq!(published.count(), 0, "something was published");
    format!("{receipt:?}")
}

/// Restores everything to a new folder.
pub async fn restored(world: &World, name: &str) -> PathBuf {
    let target = world.root.path().join(name);
    world.restore(&target, Selection::Data).await.expect("restored");
    target
}

/// The notes and source records of the newest snapshot.
pub async fn closing(world: &World) -> arkwright::backup::Closing {
    let which = Which::Latest { set: "full".into() };
    let store = world.store();
    let snapshot = find(store.as_ref(), &world.trust(), &which).await.expect("a snapshot");
    let listing = listing(store.as_ref(), &snapshot, &world.identities()).await;
    listing.expect("a listing").closing
}
