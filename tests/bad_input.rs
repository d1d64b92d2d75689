//! Bad input gets one clear error with its place and what to do, an exit code by kind, and changes nothing.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;

const GOOD: &str = "name: bad-input\nservices:\n  web:\n    image: localhost/none:1\n";

fn arkwright(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .output()
        .expect("the binary runs")
}

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// Names of everything below a folder.
fn tree(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            let below = if path.is_dir() { tree(&path) } else { Vec::new() };
            below.into_iter().chain([path.display().to_string()])
        })
        .collect();
    found.sort();
    found
}

/// One error, on standard error, with every one of `says`; exit code `code`; nothing new on the disk.
fn refused(folder: &Path, args: &[&str], code: i32, says: &[&str]) {
    let before = tree(folder);
    let output = arkwright(folder, args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert_eq!(text.matches("error: ").count(), 1, "{args:?}: one error, not: {text}");
    assert!(!text.contains("panicked"), "{text}");
    for said in says {
        assert!(text.contains(said), "{args:?} should say {said:?}: {text}");
    }
    assert_eq!(tree(folder), before, "{args:?} changed something");
}

#[test]
fn a_compose_file_that_is_no_yaml() {
    let folder = project(&[("compose.yaml", "services:\n  web:\n    image: [unclosed\n")]);
    refused(folder.path(), &["config"], 3, &["compose.yaml:"]);
}

#[test]
fn an_unknown_key_with_the_nearest_one() {
    let folder = project(&[("compose.yaml", "services:\n  web:\n    image: a\n    restrat: always\n")]);
    refused(
        folder.path(),
        &["config"],
        3,
        &["compose.yaml:4:5", "restrat", "`restart`"],
    );
}

#[test]
fn a_required_variable_that_is_missing() {
    let folder = project(&[(
        "compose.yaml",
        "services:\n  web:\n    image: ${IMAGE:?name the image}\n",
    )]);
    refused(
        folder.path(),
        &["config"],
        3,
        &["compose.yaml:3:", "IMAGE", "name the image"],
    );
}

#[test]
fn a_network_nobody_defined() {
    let folder = project(&[(
        "compose.yaml",
        "services:\n  web:\n    image: a\n    networks: [inner]\n",
    )]);
    refused(folder.path(), &["config"], 3, &["compose.yaml:4:", "inner"]);
}

#[test]
fn a_compose_file_that_is_not_there_and_one_that_is_a_folder() {
    let folder = project(&[]);
    refused(folder.path(), &["config"], 3, &["compose.yaml"]);
    refused(folder.path(), &["-f", "missing.yaml", "config"], 3, &["missing.yaml"]);
    fs::create_dir(folder.path().join("folder.yaml")).expect("made");
    refused(folder.path(), &["-f", "folder.yaml", "config"], 3, &["folder.yaml"]);
}

#[test]
fn an_unknown_key_in_arkwright_yaml() {
    let folder = project(&[
        ("compose.yaml", GOOD),
        ("arkwright.yaml", "timezone: UTC\nservcies: {}\n"),
    ]);
    refused(
        folder.path(),
        &["check"],
        3,
        &["arkwright.yaml:2:1", "servcies", "did you mean `services`?"],
    );
}

#[test]
fn a_schedule_that_is_none() {
    let backups = "backups:\n  recipients: [age1x]\n  stores: { l: { path: b } }\n  sets:\n    d: { schedule: \"61 * * * *\", sources: [{ path: x }] }\n";
    let folder = project(&[("compose.yaml", GOOD), ("arkwright.yaml", backups)]);
    refused(folder.path(), &["check"], 3, &["arkwright.yaml:5:", "minute"]);
}

#[test]
fn no_engine() {
    let folder = project(&[("compose.yaml", GOOD)]);
    let nowhere = format!("unix://{}/nothing.sock", folder.path().display());
    for verb in ["up", "plan", "ps", "down"] {
        refused(
            folder.path(),
            &["--host", &nowhere, verb],
            4,
            &["no engine answers", "nothing.sock", "--host"],
        );
    }
}

#[test]
fn a_word_that_is_no_command_and_a_service_that_is_not_there() {
    let folder = project(&[("compose.yaml", GOOD)]);
    let output = arkwright(folder.path(), &["depoly"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("deploy"),
        "the nearest command is named"
    );
    let released = "services:\n  wbe:\n    release: { port: 1, health: { http: / } }\n";
    fs::write(folder.path().join("arkwright.yaml"), released).expect("written");
    refused(
        folder.path(),
        &["check"],
        3,
        &["arkwright.yaml:2:3", "did you mean `web`?"],
    );
}

#[test]
fn with_json_an_error_is_an_object() {
    let folder = project(&[("compose.yaml", "services: [\n")]);
    let output = arkwright(folder.path(), &["--json", "config"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON object");
    assert_eq!(error["error"]["kind"], "input");
    assert_eq!(error["error"]["exit_code"], 3);
    assert!(output.stdout.is_empty());
}

/// A project with one source and a key of its own; the folder, ready for `backup run`.
fn backed_up(store: &str) -> tempfile::TempDir {
    let folder = project(&[("compose.yaml", GOOD)]);
    fs::create_dir(folder.path().join("photos")).expect("made");
    fs::write(folder.path().join("photos/a.jpg"), vec![7u8; 3 << 20]).expect("written");
    let keys = arkwright(folder.path(), &["--json", "key", "new", "--recovery", "recovery.key"]);
    assert!(keys.status.success(), "{}", String::from_utf8_lossy(&keys.stderr));
    let keys: serde_json::Value = serde_json::from_slice(&keys.stdout).expect("JSON");
    let recipients = [&keys["recipients"]["recovery"], &keys["recipients"]["drill"]];
    let text = format!(
        "backups:\n  recipients: {}\n  stores: {{ local: {{ path: {store} }} }}\n  sets:\n    \
         photos: {{ sources: [{{ path: ./photos }}] }}\n",
        serde_json::to_string(&recipients).expect("JSON")
    );
    fs::write(folder.path().join("arkwright.yaml"), text).expect("written");
    folder
}

#[test]
fn a_source_that_is_not_there_publishes_nothing() {
    let folder = backed_up("./store");
    fs::remove_dir_all(folder.path().join("photos")).expect("removed");
    let output = arkwright(folder.path(), &["backup", "run", "photos"]);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("photos"), "{text}");
    let listed = arkwright(folder.path(), &["--json", "backup", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed[0]["snapshots"], serde_json::json!([]), "{listed}");
}

#[test]
fn nobody_listening_to_standard_error_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_arkwright"));
    let status = command.current_dir(folder.path()).arg("check").stderr(writer).status();
    assert_eq!(status.expect("the binary runs").code(), Some(3));
}

/// A tmpfs of one mebibyte; dropped, it is taken away.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder.path())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(
            std::thread::panicking() || unmounted.is_ok_and(|status| status.success()),
            "the small disk is taken away again"
        );
    }
}

#[test]
fn a_full_disk_is_named_and_publishes_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return common::not_run("a full disk: mounting a small tmpfs needs root");
    };
    let folder = backed_up(&disk.0.path().display().to_string());
    let output = arkwright(folder.path(), &["backup", "run", "photos"]);
    let manifests = disk.0.path().join("man");
    let published = fs::read_dir(&manifests).map(|entries| {
        entries
            .filter(|e| {
                e.as_ref()
                    .is_ok_and(|e| e.path().extension().is_some_and(|x| x == "json"))
            })
            .count()
    });
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("full"), "{text}");
    assert_eq!(published.unwrap_or(0), 0, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_make_it_panic(compose in proptest::collection::vec(any::<u8>(), 0..300), text in "[ -~\n]{0,200}") {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("compose.yaml"), &compose).expect("written");
        let output = arkwright(folder.path(), &["config"]);
        prop_assert!(matches!(output.status.code(), Some(0 | 3)), "{:?}", output);
        fs::write(folder.path().join("compose.yaml"), GOOD).expect("written");
        fs::write(folder.path().join("arkwright.yaml"), &text).expect("written");
        // Where the file can be read, the engine that is not there is a finding.
        let output = arkwright(folder.path(), &["--host", "unix:///nothing", "check"]);
        prop_assert!(matches!(output.status.code(), Some(1 | 3)), "{:?}", output);
    }
}
