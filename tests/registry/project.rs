//! A project as a person has it: files in a folder, and the program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::server::{PASSWORD, Registry, USER, forget_below};

/// The stand-in back end of the demo, which both engines have.
pub const BACKEND: &str = "localhost/memoryark/backend";

pub struct Project {
    folder: tempfile::TempDir,
    pub name: String,
    host: String,
}

impl Project {
    pub fn new(host: &str, what: &str) -> Self {
        let kind = if host.contains("podman") { "p" } else { "d" };
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("home")).expect("a folder");
        Project {
            folder,
            name: format!("arkreg{kind}{what}{}", std::process::id()),
            host: host.to_owned(),
        }
    }

    /// One plain service.
    pub fn plain(&self, image: &str) {
        self.write(
            "compose.yaml",
            &format!("services:\n  web:\n    image: {image}\n    tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]\n    environment: {{ LINE_SERVICE_API_TOKEN: x }}\n    stop_signal: SIGKILL\n"),
        );
    }

    /// The same service behind the router.
    pub fn released(&self, image: &str, more: &str) {
        self.plain(image);
        let text = self.read("compose.yaml");
        self.write("compose.yaml", &format!("{text}    init: false\n    {more}\n"));
        self.write(
            "arkwright.yaml",
            "services:\n  web:\n    release: { port: 8081, drain_limit: 5s, health: { http: /api/health, every: 500ms, \
             healthy_after: 2, within: 10s } }\nrouter: { image: \"localhost/memoryark/haproxy:2.6\" }\nstate: ./state\n\
             agent: { socket: ./a.sock, listen: \"127.0.0.1:0\" }\n",
        );
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("read")
    }

    /// What `docker login` would have left in this project's home.
    pub fn log_in(&self, registry: &Registry, password: &str) {
        self.write("home/.docker/config.json", &auths(registry, password).to_string());
    }

    pub fn log_out(&self) {
        self.write("home/.docker/config.json", "{}");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arkwright"));
        command
            .args(["--host", &self.host, "-p", &self.name])
            .args(args)
            .current_dir(self.folder.path())
            .env("ARKWRIGHT_STATE", self.path("state"))
            .env("HOME", self.path("home"))
            .envs([
                ("XDG_RUNTIME_DIR", self.path("home")),
                ("XDG_CONFIG_HOME", self.path("home")),
            ])
            .env_remove("DOCKER_CONFIG")
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        told(args, self.command(args).output().expect("the binary runs"))
    }

    /// With a document on standard input.
    pub fn run_given(&self, args: &[&str], input: &str) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).expect("taken");
        drop(stdin);
        told(args, child.wait_with_output().expect("ended"))
    }

    /// Standard error of a run that has to end so.
    pub fn ends(&self, code: i32, args: &[&str]) -> String {
        ended(code, &self.run(args))
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {errors}"))
    }

    pub fn agent(&self) -> Child {
        let log = fs::File::create(self.path("agent.log")).expect("a log");
        let child = self
            .command(&["agent"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("an agent");
        let begun = std::time::Instant::now();
        while !self.path("a.sock").exists() {
            assert!(begun.elapsed().as_secs() < 20, "{}", self.read("agent.log"));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        child
    }

    /// Every file below the state folder, journals and all, as one text.
    pub fn everything_written(&self) -> String {
        let mut text = String::new();
        gather(&self.path("state"), &mut text);
        text
    }
}

fn gather(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => gather(&path, text),
            // Sockets cannot be read.
            false => *text += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()),
        }
    }
}

/// Removes what a run leaves.
impl Drop for Project {
    fn drop(&mut self) {
        let output = self.run(&["down", "--volumes", "--remove-orphans", "--yes"]);
        if !output.status.success() {
            eprintln!("not cleaned up: {}", String::from_utf8_lossy(&output.stderr));
        }
        let (host, kept) = (self.host.clone(), format!("localhost/arkwright-keep/{}-", self.name));
        // The test's own runtime is at work on the test.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(forget_below(&host, &kept));
        });
        if cleaning.join().is_err() {
            eprintln!("the names images were kept under stay");
        }
    }
}

pub fn auths(registry: &Registry, password: &str) -> Value {
    json!({ "auths": { registry.address.as_str(): { "auth": base64(&format!("{USER}:{password}")) } } })
}

pub fn given(registry: &Registry) -> String {
    json!({ "username": USER, "password": PASSWORD, "serveraddress": registry.address }).to_string()
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn told(args: &[&str], output: Output) -> Output {
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("    $ {} → {}", args.join(" "), output.status.code().unwrap_or(-1));
    for line in errors.lines() {
        println!("      {line}");
    }
    for secret in [PASSWORD, "hunter2"] {
        assert!(!errors.contains(secret), "a secret is told");
        assert!(
            !String::from_utf8_lossy(&output.stdout).contains(secret),
            "a secret is told"
        );
    }
    output
}

pub fn ended(code: i32, output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{errors}\n{said}");
    errors
}
