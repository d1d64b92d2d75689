//! The same actions on a real host: the stand-in back end on each engine, the agent as a process of its own, and every
//! outcome compared with the history that host keeps.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::engines;
use crate::runner::{Finished, Use};

const BACKEND: &str = "localhost/memoryark/backend";

/// A stack that is up and its agent; dropped, both are gone.
struct Host {
    name: String,
    folder: tempfile::TempDir,
    engine: String,
    agent: Child,
}

/// The static binary where there is one: a drill's probe runs inside the sandbox.
fn binary() -> PathBuf {
    std::env::var_os("ARKWRIGHT_TEST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_arkwright").into(), PathBuf::from)
}

fn arkwright(folder: &Path, engine: &str, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .current_dir(folder)
        .args(["--host", engine])
        .args(args)
        .stdin(Stdio::null());
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{command:?}: {told}");
    output
}

fn write_project(folder: &Path, name: &str, engine: &str) {
    for name in ["data", "uploads"] {
        fs::create_dir(folder.join(name)).expect("made");
        chown(folder.join(name), Some(1000), Some(1000)).expect("the back end's user");
    }
    fs::write(folder.join("uploads/a.jpg"), "a photo").expect("written");
    fs::create_dir(folder.join("passing")).expect("made");
    fs::write(folder.join("passing/note.txt"), "soon gone").expect("written");
    let compose = format!(
        "name: {name}\nservices:\n  backend:\n    image: {BACKEND}:1.0.0\n    \
         volumes: [\"./data:/data\", \"./uploads:/uploads\"]\n    \
         environment: {{ LINE_SERVICE_API_TOKEN: a-token-of-the-test }}\n    \
         healthcheck: {{ test: [CMD, /memoryark-backend, health, \"http://127.0.0.1:8081/api/health\"], interval: 15s }}\n"
    );
    fs::write(folder.join("compose.yaml"), compose).expect("written");
    let keys = done(arkwright(
        folder,
        engine,
        &["--state", "state", "--json", "key", "new", "--recovery", "recovery.key"],
    ));
    let keys: Value = serde_json::from_slice(&keys.stdout).expect("JSON");
    let recipients = [&keys["recipients"]["recovery"], &keys["recipients"]["drill"]];
    let drill = |checks: &str| format!("{{ of: full, boot: [backend], checks: [{checks}] }}");
    let (right, wrong) = (
        drill("{ sqlite: data/memoryark.db, integrity: true }, { http: \"backend:8081/api/health\" }"),
        drill("{ http: \"backend:8081/api/nothing-here\" }"),
    );
    let config = format!(
        "state: ./state\nrouter: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\n\
         agent: {{ listen: \"127.0.0.1:0\", socket: ./agent.sock }}\n\
         services:\n  backend:\n    release: {{ port: 8081, swap: hold, drain_limit: 5s, before: [{{ backup: full }}], \
         health: {{ http: /api/health, every: 500ms, healthy_after: 2, within: 8s }} }}\n\
         backups:\n  recipients: {}\n  stores: {{ local: {{ path: ./backups }} }}\n  sets:\n    \
         full: {{ sources: [{{ sqlite: ./data/memoryark.db }}, {{ path: ./uploads }}] }}\n    \
         passing: {{ sources: [{{ path: ./passing }}] }}\n\
         drills:\n  right: {right}\n  wrong: {wrong}\n",
        serde_json::to_string(&recipients).expect("JSON")
    );
    fs::write(folder.join("arkwright.yaml"), config).expect("written");
}

impl Host {
    fn start(name: &str, engine: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_project(folder.path(), name, engine);
        done(arkwright(folder.path(), engine, &["up"]));
        let log = fs::File::create(folder.path().join("agent.log")).expect("a log");
        let agent = arkwright(folder.path(), engine, &["agent"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let host = Host {
            name: name.to_owned(),
            folder,
            engine: engine.to_owned(),
            agent,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !host.socket().exists() {
            let log = fs::read_to_string(host.folder.path().join("agent.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "no agent: {log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        host
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn step(&self, action: &'static str, with: &[(&str, &str)]) -> Use {
        let step = Use::of(action)
            .with("socket", &self.socket().display().to_string())
            .with("binary", &binary().display().to_string());
        with.iter().fold(step, |step, (name, value)| step.with(name, value))
    }

    fn deploy(&self, version: &str) -> Use {
        let image = format!("{BACKEND}:{version}");
        self.step("deploy", &[("service", "backend"), ("image", &image)])
            .env("GITHUB_RUN_ID", &format!("deploy {version}"))
    }

    /// The newest operation of the history, once it is over, says what the step said.
    fn agrees(&self, step: &Finished, code: i32, outcome: &str) {
        assert_eq!(
            (step.code, step.output("outcome")),
            (Some(code), outcome),
            "{:#?}",
            step.log.lines
        );
        let mine = |history: &Value| {
            let all = history.as_array().cloned().unwrap_or_default();
            all.into_iter().find(|one| one["operation"] == step.output("operation"))
        };
        let history = done(arkwright(self.folder.path(), &self.engine, &["--json", "history"]));
        let history: Value = serde_json::from_slice(&history.stdout).expect("JSON");
        let told = mine(&history).expect("the step's operation is in the history");
        assert_eq!(told["outcome"], outcome);
        assert_eq!(told["ok"], code == 0);
        assert!(step.summary.contains(step.output("operation")), "{}", step.summary);
        let word = outcome.replace('_', "\\_");
        let first = step.summary.lines().next().unwrap_or_default();
        assert!(first.ends_with(&word), "{}", step.summary);
        assert_eq!(step.annotations("error").is_empty(), code == 0);
    }

    /// The agent and the router are lost in mid-swap: a way out is told at every turn, and leads out.
    fn gives_a_release_up(mut self) {
        let mut step = self.deploy("broken").env("GITHUB_RUN_ID", "lost").start();
        step.until("start green");
        self.agent.kill().and_then(|()| self.agent.wait()).expect("killed");
        step.kill();
        let run = |args: &[&str], code: i32, words: &str| {
            let output = arkwright(self.folder.path(), &self.engine, args)
                .output()
                .expect("the binary runs");
            let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
            assert!(told.contains(words), "{args:?}: {told}");
            told
        };
        let history = run(&["--json", "history"], 0, "interrupted");
        let history: Value = serde_json::from_str(&history).expect("JSON");
        let open = history
            .as_array()
            .and_then(|all| all.iter().find(|one| one["outcome"] == "interrupted"));
        let id = open
            .and_then(|one| one["operation"].as_str())
            .expect("its name")
            .to_owned();
        self.lose_the_router();
        run(&["down"], 6, "--give-up");
        run(&["up"], 6, "--give-up");
        run(&["resume", &id], 10, "--give-up");
        run(&["resume", &id, "--give-up"], 1, "given_up");
        run(&["up"], 0, "");
        assert!(self.serving().contains("backend:1.0.0"), "{}", self.serving());
        run(
            &["deploy", "backend=localhost/memoryark/backend:1.1.0", "--yes"],
            0,
            "deployed",
        );
    }

    fn lose_the_router(&self) {
        let gone = async {
            let engine = arkwright::app::connect(Some(&self.engine), Default::default()).await?;
            let router = engine.container(&format!("{}-arkwright-router-1", self.name)).await?;
            let id = router.expect("a router").id;
            engine.stop_container(&id, Some(Duration::ZERO)).await?;
            engine.remove_container(&id).await
        };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(gone).expect("removed");
    }

    /// Nothing is left without an end, the backup of an aborted release neither.
    fn comes_to_rest(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let told = done(arkwright(self.folder.path(), &self.engine, &["--json", "history"]));
            let told = String::from_utf8(told.stdout).expect("text");
            if !told.contains("\"running\"") {
                return;
            }
            assert!(Instant::now() < deadline, "{told}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// `image, state` of every container of the back end.
    fn serving(&self) -> String {
        let told = done(arkwright(self.folder.path(), &self.engine, &["--json", "ps"]));
        String::from_utf8(told.stdout).expect("text")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let ended = self.agent.kill().and_then(|()| self.agent.wait());
        let down = arkwright(self.folder.path(), &self.engine, &["down", "--volumes", "--yes"]).output();
        if !std::thread::panicking() {
            ended.expect("the agent ends");
            let down = down.expect("the binary runs");
            assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
        }
    }
}

#[test]
fn on_a_real_host_every_step_says_what_the_history_says() {
    for (at, (name, engine)) in engines().iter().enumerate() {
        println!("on {name}");
        let host = Host::start(&format!("arkactions{}{at}", std::process::id()), engine);

        host.agrees(&host.deploy("1.1.0").run(), 0, "deployed");
        assert!(host.serving().contains("backend:1.1.0"), "{}", host.serving());
        host.agrees(
            &host.step("rollback", &[("service", "backend")]).run(),
            0,
            "rolled_back",
        );
        let mut step = host.deploy("broken").start();
        step.until("start green");
        let up = arkwright(host.folder.path(), engine, &["up"])
            .output()
            .expect("the binary runs");
        let told = String::from_utf8_lossy(&up.stderr);
        assert_eq!(up.status.code(), Some(6), "a release is under way: {told}");
        assert!(told.contains("the release"), "{told}");
        host.agrees(&step.wait(), 1, "aborted");
        let mut step = host.deploy("1.1.0").env("GITHUB_RUN_ID", "cancelled early").start();
        step.until("back up");
        host.agrees(&step.cancel(), 1, "aborted");
        host.comes_to_rest();
        let mut step = host.deploy("1.1.0").env("GITHUB_RUN_ID", "cancelled").start();
        step.until("close the gate");
        host.agrees(&step.cancel(), 1, "aborted");
        assert!(host.serving().contains("backend:1.0.0"), "{}", host.serving());

        host.agrees(&host.step("backup", &[("set", "full")]).run(), 0, "published");
        fs::remove_dir_all(host.folder.path().join("passing")).expect("removed");
        host.agrees(&host.step("backup", &[("set", "passing")]).run(), 1, "not_published");

        let drill = |name: &str| host.step("restore-drill", &[("drill", name)]);
        host.agrees(&drill("right").run(), 0, "passed");
        host.agrees(&drill("wrong").run(), 1, "failed");
        let mut step = drill("right").env("GITHUB_RUN_ID", "cancelled").start();
        step.until("restore");
        host.agrees(&step.cancel(), 1, "aborted");
        if at == 0 {
            host.gives_a_release_up();
        }
    }
}
