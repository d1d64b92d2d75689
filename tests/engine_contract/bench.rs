use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arkwright::engine::{self, Bollard};
use arkwright::model::{ContainerId, ProjectName};
use arkwright::plan::{ContainerSpec, NetworkSpec, labels};
use arkwright::ports::{Container, Engine, EngineKind};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::common;

/// One case's engine, with names of its own.
pub struct Bench {
    pub engine: Bollard,
    pub project: ProjectName,
    pub image: String,
}

/// Runs a case if the engine is named; what it leaves behind is removed, also when it fails.
pub async fn run<F, T>(variable: &str, case: &str, body: F)
where
    F: FnOnce(Arc<Bench>) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let Ok(host) = std::env::var(variable) else {
        common::not_run(&format!(
            "{case}: {variable} names no engine (./scripts/test starts one)"
        ));
        return;
    };
    let engine = engine::connect(Some(&host), &[]).await.expect("an engine that answers");
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut short: String = case.split('_').filter_map(|word| word.chars().next()).collect();
    short.truncate(8);
    let kind = if variable.ends_with("PODMAN") { "p" } else { "d" };
    let project = format!("arkc-{kind}{}-{number}-{short}", std::process::id());
    let bench = Arc::new(Bench {
        engine,
        project: project.parse().expect("a project name"),
        image: std::env::var("ARKWRIGHT_TEST_IMAGE").unwrap_or_else(|_| "localhost/memoryark/debian:bookworm".into()),
    });
    let result = tokio::spawn(body(bench.clone())).await;
    bench.clean().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Bench {
    pub fn podman(&self) -> bool {
        self.engine.info().kind == EngineKind::Podman
    }

    pub fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.project)
    }

    /// A container of the project that sleeps for ten minutes and dies at once when told.
    pub fn sleeper(&self, what: &str) -> ContainerSpec {
        ContainerSpec {
            stop_signal: Some("SIGKILL".into()),
            ..self.spec(what, &["sleep", "600"])
        }
    }

    pub fn spec(&self, what: &str, command: &[&str]) -> ContainerSpec {
        let labels = [(labels::PROJECT, self.project.as_str()), (labels::SERVICE, what)];
        ContainerSpec {
            name: self.name(what),
            image: self.image.clone(),
            command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..ContainerSpec::default()
        }
    }

    pub async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.engine.create_container(spec).await.expect("created");
        self.engine.start_container(&id).await.expect("started");
        id
    }

    pub async fn look(&self, id: &ContainerId) -> Container {
        let found = self.engine.container(id.as_str()).await.expect("an answer");
        found.expect("the container")
    }

    pub async fn network(&self, what: &str) -> String {
        let name = self.name(what);
        let spec = NetworkSpec {
            name: name.clone(),
            labels: [(labels::PROJECT.to_owned(), self.project.to_string())].into(),
            ..NetworkSpec::default()
        };
        self.engine.create_network(&spec).await.expect("a network");
        name
    }

    /// Standard output of a shell line that must succeed.
    pub async fn sh(&self, id: &ContainerId, line: &str) -> String {
        let command = ["sh", "-c", line].map(str::to_owned);
        let output = self
            .engine
            .exec(id, &command, Duration::from_secs(60))
            .await
            .expect("run");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.exit_code, 0, "`{line}`: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// What the engine itself answers, without anything of ours in between: status and body.
    pub async fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.ask_with(method, path, "{}").await
    }

    pub async fn ask_with(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let socket = self.engine.info().host.trim_start_matches("unix://");
        let mut stream = UnixStream::connect(socket).await.expect("the engine's socket");
        // Without keep-alive and chunks, so that the body is all there is until the end.
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answered");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// The same for a change that must be made.
    pub async fn order(&self, method: &str, path: &str) -> String {
        let (status, body) = self.ask(method, path).await;
        assert!((200..400).contains(&status), "{method} {path}: {status} {body}");
        body
    }

    pub async fn inspect(&self, id: &ContainerId) -> Value {
        let body = self.order("GET", &format!("/containers/{id}/json")).await;
        serde_json::from_str(&body).expect("JSON")
    }

    /// Containers of the project by `service state`, in order of their names.
    pub async fn services(&self) -> Vec<String> {
        let observed = self.engine.observe(&self.project).await.expect("observed");
        let word = |c: &Container| {
            let service = c.label(labels::SERVICE).unwrap_or_default();
            format!("{service} {}", if c.running() { "runs" } else { "is stopped" })
        };
        observed.containers.iter().map(word).collect()
    }

    pub async fn clean(&self) {
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

/// Asks until it is so, for at most two minutes: a machine may be busy with other cases.
pub async fn until<F, T>(what: &str, mut is: F)
where
    F: FnMut() -> T,
    T: Future<Output = bool>,
{
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("never happened: {what}");
}
