use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arkwright::engine;
use arkwright::model::ServiceName;
use arkwright::ports::Engine;
use arkwright::release::{keep_repository, short_id};
use serde_json::Value;

pub const BACKEND: &str = "localhost/memoryark/backend";

/// `web`, which is one process with its data in a folder, and `other`, which adds a line to its volume at every start.
pub struct Project {
    pub folder: tempfile::TempDir,
    pub host: String,
    pub name: String,
    /// Where `web` is published, if it is.
    pub port: Option<u16>,
}

impl Project {
    pub fn new(host: &str, published: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let free = || {
            TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .expect("a port")
                .port()
        };
        let project = Project {
            folder: tempfile::tempdir().expect("a folder"),
            host: host.to_owned(),
            name: format!("arkn{}x{number}", std::process::id()),
            port: published.then(free),
        };
        for name in ["data", "uploads"] {
            let made = project.path(name);
            fs::create_dir(&made).expect("a folder");
            std::os::unix::fs::chown(&made, Some(1000), Some(1000)).expect("the back end's user");
        }
        project.compose_file("1.0.0");
        project
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub fn compose_file(&self, version: &str) {
        let image =
            std::env::var("ARKWRIGHT_TEST_IMAGE").unwrap_or_else(|_| "localhost/memoryark/debian:bookworm".into());
        let ports = self.port.map_or(String::new(), |port| {
            format!("    ports: [\"127.0.0.1:{port}:8081\"]\n")
        });
        // Podman without CAP_SYS_RESOURCE needs its limits spelled out, whoever creates the container.
        let limits = "ulimits: { nofile: { soft: 10000, hard: 20000 }, nproc: 10000 }";
        let text = format!(
            "version: \"3.8\"\nservices:\n  web:\n    image: {BACKEND}:{version}\n    init: false\n{ports}    {limits}\n    \
             environment: {{ LINE_SERVICE_API_TOKEN: token-for-tests }}\n    volumes: [\"./data:/data\", \"./uploads:/uploads\"]\n  \
             other:\n    image: {image}\n    command: [sh, -c, \"echo begun >> /kept/log; echo ready; sleep 600\"]\n    \
             {limits}\n    stop_signal: SIGKILL\n    volumes: [\"kept:/kept\"]\nvolumes: {{ kept: {{}} }}\n"
        );
        fs::write(self.path("compose.yaml"), text).expect("written");
    }

    /// From here on `web` is released.
    pub fn release(&self) {
        let text = "services:\n  web:\n    release: { port: 8081, swap: hold, drain_limit: 5s, \
                    health: { http: /api/health, every: 500ms, healthy_after: 2, within: 20s } }\n\
                    router: { image: \"localhost/memoryark/haproxy:2.6\" }\nstate: ./state\n";
        fs::write(self.path("arkwright.yaml"), text).expect("written");
    }

    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in [
            "DOCKER_HOST",
            "COMPOSE_FILE",
            "COMPOSE_PROJECT_NAME",
            "ARKWRIGHT_CONFIG",
        ] {
            command.env_remove(variable);
        }
        command.env("ARKWRIGHT_STATE", self.path("state"));
        command
    }

    pub fn arkwright(&self) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_arkwright"));
        command.args(["--host", &self.host, "-p", &self.name]);
        command
    }

    /// Everything it said; it must end with this exit code.
    pub fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.arkwright().args(args).output().expect("the binary runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        said
    }

    pub fn docker_compose(&self, args: &[&str]) -> Output {
        let mut command = self.command("docker-compose");
        command.args(["-H", &self.host, "-p", &self.name, "-f", "compose.yaml"]);
        command.args(args).output().expect("docker-compose is installed")
    }

    /// podman-compose on this engine's socket.
    pub fn podman_compose(&self, args: &[&str]) -> String {
        let program = self.path("podman-here");
        let script = format!("#!/bin/sh\nexec podman --remote --url {} \"$@\"\n", self.host);
        fs::write(&program, script).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
        let mut command = self.command("podman-compose");
        command
            .arg("--podman-path")
            .arg(&program)
            .args(["-p", &self.name, "-f", "compose.yaml"]);
        said(&command.args(args).output().expect("podman-compose is installed"))
    }

    pub fn ps(&self) -> Vec<Value> {
        let output = self
            .arkwright()
            .args(["ps", "--json"])
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// `service colour state`, by service and name.
    pub fn rows(&self) -> Vec<String> {
        let word = |row: &Value, key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let rows = self.ps();
        rows.iter()
            .map(|row| ["service", "colour", "state"].map(|key| word(row, key)).join(" "))
            .collect()
    }

    pub fn id(&self, service: &str) -> String {
        let rows = self.ps();
        let row = rows
            .iter()
            .find(|row| row["service"] == service)
            .unwrap_or_else(|| panic!("no {service}: {rows:?}"));
        row["id"].as_str().expect("an id").to_owned()
    }

    /// The version that answers on the published port, once one does.
    pub fn answers(&self) -> String {
        let port = self.port.expect("published");
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < Duration::from_secs(20) {
            match ask(port) {
                Ok(text) if text.starts_with("HTTP/1.1 200") => {
                    let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
                    let value: Value = serde_json::from_str(body).expect("JSON");
                    return value["version"].as_str().expect("a version").to_owned();
                }
                Ok(text) => last = text,
                Err(error) => last = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("nobody answers: {last}");
    }

    /// How often `other` was started on its volume, by the volume's file on this host.
    pub fn starts(&self) -> usize {
        let volume = format!("{}_kept", self.name);
        let path = block(async {
            let engine = engine::connect(Some(&self.host), &[]).await.expect("an engine");
            engine.volume_path(&volume).await.expect("the volume").expect("a path")
        });
        fs::read_to_string(path.join("log")).expect("its log").lines().count()
    }

    /// Networks and volumes of the project.
    pub fn objects(&self) -> (Vec<String>, Vec<String>) {
        let observed = block(async {
            let engine = engine::connect(Some(&self.host), &[]).await.expect("an engine");
            engine
                .observe(&self.name.parse().expect("a name"))
                .await
                .expect("observed")
        });
        let networks = observed
            .networks
            .into_iter()
            .map(|network| format!("{} {}", network.name, network.id));
        (
            networks.collect(),
            observed.volumes.into_iter().map(|volume| volume.name).collect(),
        )
    }

    pub fn remove(&self, id: &str) {
        block(async {
            let engine = engine::connect(Some(&self.host), &[]).await.expect("an engine");
            engine
                .remove_container(&arkwright::model::ContainerId::new(id))
                .await
                .expect("removed");
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let down = ["down", "--volumes", "--remove-orphans", "--yes"];
        let output = self.arkwright().args(down).output().expect("the binary runs");
        if !output.status.success() {
            eprintln!("not cleaned up: {}", said(&output));
        }
        // The names that keep released images from being pruned.
        let project = self.name.parse().expect("a name");
        let service: ServiceName = "web".parse().expect("a name");
        block(async {
            let engine = engine::connect(Some(&self.host), &[]).await.expect("an engine");
            for version in ["1.0.0", "1.1.0", "broken"] {
                if let Some(image) = engine.image(&format!("{BACKEND}:{version}")).await.expect("asked") {
                    let name = format!("{}:{}", keep_repository(&project, &service), short_id(&image.id));
                    engine.remove_image(&name).await.expect("one name less");
                }
            }
        });
    }
}

pub fn said(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Whether a program is there; without it the tests of it say so.
pub fn installed(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&folders).any(|folder: std::path::PathBuf| Path::new(&folder).join(program).exists());
    if !found {
        crate::common::not_run(&format!("{program} is not installed"));
    }
    found
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(b"GET /api/health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}
