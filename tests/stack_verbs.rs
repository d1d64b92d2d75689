//! `plan`, `up`, `ps`, `logs` and `down` as a person runs them, on every engine there is.

#[path = "common/cli.rs"]
mod cli;
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use cli::Cli;

fn image() -> String {
    std::env::var("ARKWRIGHT_TEST_IMAGE").unwrap_or_else(|_| "localhost/memoryark/debian:bookworm".into())
}

fn compose(folder: &Path, command: &str) {
    let text = format!(
        "version: '3.8'\nservices:\n  web:\n    image: {}\n    command: [sh, -c, {command:?}]\n    stop_signal: SIGKILL\n    \
         environment: {{ API_TOKEN: very-secret-value }}\n    volumes: ['data:/data', './made:/made']\nvolumes: {{ data: {{}} }}\n",
        image()
    );
    fs::write(folder.join("compose.yaml"), text).expect("written");
}

#[test]
fn a_person_takes_a_stack_up_looks_at_it_and_takes_it_down() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        compose(folder.path(), "echo my token is $$API_TOKEN; sleep 600");
        let project = format!("arkv-{}{}", engine.to_lowercase(), std::process::id());
        let cli = Cli {
            folder: folder.path(),
            host: &host,
            project: project.clone(),
        };
        let planned = cli.json(&["plan", "--json"]);
        assert_eq!(planned["performed"], false);
        assert!(
            planned["changes"].as_array().is_some_and(|all| all.len() >= 4),
            "{planned}"
        );
        assert!(!folder.path().join("state").exists(), "a plan makes nothing");

        let done = cli.json(&["up", "--json"]);
        assert_eq!(
            (&done["performed"], &done["changes"]),
            (&Value::Bool(true), &planned["changes"])
        );
        assert!(!done.to_string().contains("very-secret-value"), "{done}");
        assert!(folder.path().join("made").is_dir());
        assert!(cli.ends(0, &["up"]).contains("nothing to do"));

        let rows = cli.json(&["ps", "--json"]);
        assert_eq!(
            (&rows[0]["service"], &rows[0]["state"]),
            (&"web".into(), &"running".into())
        );
        assert!(cli.ends(0, &["ps"]).contains(&format!("{project}-web-1")));
        let logs = cli.ends(0, &["logs", "web"]);
        assert!(logs.contains("my token is <redacted>"), "{logs}");
        assert!(cli.ends(0, &["logs", "--show-secrets"]).contains("very-secret-value"));
        cli.ends(8, &["logs", "nowhere"]);

        if engine == "Docker" {
            seen_by_compose(&cli);
        }

        compose(folder.path(), "echo broken >&2; exit 3");
        let plan = cli.ends(0, &["plan"]);
        assert!(plan.contains("its specification changed"), "{plan}");
        cli.ends(0, &["up"]);

        cli.ends(2, &["down", "--volumes"]);
        cli.ends(0, &["down"]);
        assert_eq!(cli.json(&["ps", "--json"]), Value::Array(Vec::new()));
        let rest = cli.json(&["down", "--volumes", "--yes", "--json"]);
        assert_eq!(rest["changes"][0]["subject"], format!("{project}_data"));
    }
}

/// `docker compose` sees the same project.
fn seen_by_compose(cli: &Cli) {
    let compose = |args: &[&str]| {
        Command::new("docker-compose")
            .args(["-H", cli.host, "-p", &cli.project])
            .args(args)
            .current_dir(cli.folder)
            .output()
    };
    let Ok(listed) = compose(&["ps"]) else {
        common::not_run("docker-compose is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&listed.stdout);
    assert!(
        text.contains(&format!("{}-web-1", cli.project)) && text.contains("Up"),
        "{text}"
    );
    let logs = compose(&["logs", "--no-color"]).expect("docker-compose runs");
    assert!(String::from_utf8_lossy(&logs.stdout).contains("my token is"));
}

#[test]
fn services_are_chosen_scaled_and_only_shown() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "services:\n  web: {{ image: {0}, command: [sleep, '600'], stop_signal: SIGKILL, depends_on: [cache] }}\n  \
             cache: {{ image: {0}, command: [sleep, '600'], stop_signal: SIGKILL }}\n  \
             other: {{ image: {0}, command: [sleep, '600'], container_name: {1}-other, profiles: [more] }}\n",
            image(),
            std::process::id(),
        );
        fs::write(folder.path().join("compose.yaml"), text).expect("written");
        let cli = Cli {
            folder: folder.path(),
            host: &host,
            project: format!("arkv-s{}{}", engine.to_lowercase(), std::process::id()),
        };
        let names = || -> Vec<String> {
            let rows = cli.json(&["ps", "--json"]);
            let rows = rows.as_array().expect("a list").clone();
            let strip = |row: &Value| row["container"].as_str().expect("a name")[cli.project.len() + 1..].to_owned();
            rows.iter().map(strip).collect()
        };
        assert!(cli.ends(0, &["up", "--dry-run"]).contains("create container"));
        assert!(!folder.path().join("state").exists(), "shown only");
        cli.ends(0, &["up", "-d", "--no-deps", "web"]);
        assert_eq!(names(), ["web-1"]);
        cli.ends(0, &["up", "web", "--scale", "web=3"]);
        assert_eq!(names(), ["cache-1", "web-1", "web-2", "web-3"]);
        assert!(cli.ends(0, &["up", "--scale", "web=3"]).contains("nothing to do"));
        cli.ends(0, &["up"]);
        assert_eq!(names(), ["cache-1", "web-1"], "the Compose file's number holds again");
        for (args, said) in [
            (["up", "nowhere"], "has no service `nowhere`"),
            (["up", "other"], "switched off by its profiles"),
            (["up", "--scale=web=many"], "`many` is no number"),
            (["up", "--scale=other=2"], "switched off"),
        ] {
            let output = cli.run(&args);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
            assert!(errors.contains(said), "{args:?}: {errors}");
        }
    }
}

#[test]
fn an_interrupt_lets_what_has_begun_end_and_the_next_up_does_the_rest() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        // Takes three seconds to stop, and `late` needs it.
        let write = |value: &str| {
            let text = format!(
                "services:\n  slow:\n    image: {0}\n    environment: {{ VALUE: '{value}' }}\n    \
                 command: [sh, -c, \"trap 'sleep 3; exit 0' TERM; sleep 600 & wait\"]\n  \
                 late:\n    image: {0}\n    environment: {{ VALUE: '{value}' }}\n    command: [sleep, '600']\n    \
                 stop_signal: SIGKILL\n    depends_on: [slow]\n",
                image()
            );
            fs::write(folder.path().join("compose.yaml"), text).expect("written");
        };
        write("one");
        let cli = Cli {
            folder: folder.path(),
            host: &host,
            project: format!("arkv-i{}{}", engine.to_lowercase(), std::process::id()),
        };
        cli.ends(0, &["up"]);
        write("two");
        let up = cli
            .command(&["up"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let up = up.expect("the binary runs");
        std::thread::sleep(Duration::from_secs(2));
        let pid = rustix::process::Pid::from_child(&up);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
        let output = up.wait_with_output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{engine}: {errors}");
        assert!(errors.contains("what has begun comes to its end"), "{engine}: {errors}");
        assert!(errors.contains("interrupted after 2 of"), "{engine}: {errors}");
        let rows = cli.json(&["ps", "--json"]);
        let states: Vec<&Value> = rows
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| &row["state"])
            .collect();
        assert_eq!(states, ["running", "running"], "{engine}: what was taken away is back");
        cli.ends(0, &["up"]);
        assert!(cli.ends(0, &["up"]).contains("nothing to do"), "{engine}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_one_clear_error() {
    let folder = tempfile::tempdir().expect("a folder");
    compose(folder.path(), "true");
    let host = format!("unix://{}/none.sock", folder.path().display());
    for verb in ["plan", "up", "down", "ps", "logs"] {
        let output = Command::new(env!("CARGO_BIN_EXE_arkwright"))
            .args(["--host", &host, verb])
            .current_dir(folder.path())
            .env("ARKWRIGHT_STATE", folder.path().join("state"))
            .output()
            .expect("the binary runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{verb}: {text}");
        assert!(
            text.contains("no such socket") && text.contains("--host or DOCKER_HOST"),
            "{verb}: {text}"
        );
    }
    assert!(!folder.path().join("state").exists());
}
