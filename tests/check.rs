//! `check` as a person and a program run it: what it prints, and what its exit code means.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn image() -> String {
    std::env::var("ARKWRIGHT_TEST_IMAGE").unwrap_or_else(|_| "localhost/memoryark/debian:bookworm".into())
}

fn check(folder: &Path, host: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(["--host", host, "-p", "arkcheck-cli", "check"])
        .args(args)
        .current_dir(folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .env_remove("DOCKER_HOST")
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn codes(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().expect("a list");
    findings.iter().filter_map(|finding| finding["code"].as_str()).collect()
}

fn compose(folder: &Path, service: &str) {
    let text = format!("services:\n  web: {{ image: '{}', {service} }}\n", image());
    fs::write(folder.join("compose.yaml"), text).expect("written");
}

#[test]
fn the_exit_code_is_that_of_the_worst_finding() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        compose(folder, "restart: 'no'");
        let well = check(folder, &host, &["--json"]);
        let report = json(&well);
        assert_eq!(well.status.code(), Some(0), "{engine}: {report}");
        assert_eq!(report["summary"]["errors"], 0, "{engine}: {report}");

        // A warning: a socket that is the whole host.
        compose(folder, "volumes: ['/run/docker.sock:/x.sock']");
        let warned = check(folder, &host, &["--json"]);
        let report = json(&warned);
        assert!(codes(&report).contains(&"engine-socket-mounted"), "{engine}: {report}");
        assert_eq!(warned.status.code(), Some(0));
        let strict = check(folder, &host, &["--strict"]);
        assert_eq!(strict.status.code(), Some(1));
        assert!(strict.stderr.is_empty(), "what is printed says it all");

        compose(folder, "dns: [nowhere]");
        let failed = check(folder, &host, &["--json"]);
        let report = json(&failed);
        assert_eq!(failed.status.code(), Some(1), "{engine}: {report}");
        let finding = &report["findings"][0];
        assert_eq!(
            (&finding["code"], &finding["severity"]),
            (&"dns-server-invalid".into(), &"error".into()),
            "the worst comes first: {report}"
        );
        assert_eq!(
            finding["subject"],
            serde_json::json!({ "kind": "service", "name": "web" })
        );
        for part in ["what", "reason", "remedy"] {
            assert!(
                finding[part].as_str().is_some_and(|text| !text.is_empty()),
                "{part}: {report}"
            );
        }
        assert!(!folder.join("state").exists(), "a check makes nothing");
    }
}

#[test]
fn a_person_reads_what_why_and_what_to_do_and_a_sum() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        compose(folder.path(), "dns: [nowhere], restart: 'no'");
        let output = check(folder.path(), &host, &[]);
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("error    web: `dns` has `nowhere`"),
            "{engine}: {text}"
        );
        assert!(lines[1].trim_start().starts_with("why  "), "{engine}: {text}");
        assert!(lines[2].trim_start().starts_with("do   "), "{engine}: {text}");
        assert!(
            lines.last().is_some_and(|last| last.starts_with("1 error, ")),
            "{engine}: {text}"
        );
        assert!(!text.contains('\u{1b}'), "no colour into a pipe: {text}");
    }
}

#[test]
fn without_an_engine_everything_else_is_still_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    compose(folder.path(), "dns: [nowhere], volumes: ['./absent:/x']");
    let host = format!("unix://{}/none.sock", folder.path().display());
    let output = check(folder.path(), &host, &["--json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    for code in ["engine-unreachable", "dns-server-invalid", "mount-made"] {
        assert!(codes(&report).contains(&code), "{code}: {report}");
    }
    let unreachable = report["findings"].as_array().into_iter().flatten();
    let unreachable: Vec<&Value> = unreachable.filter(|f| f["code"] == "engine-unreachable").collect();
    assert!(
        unreachable[0]["what"]
            .as_str()
            .is_some_and(|what| what.contains("no such socket"))
    );
    assert_eq!(unreachable[0]["unchecked"], true);
    assert!(!folder.path().join("state").exists());
}

#[test]
fn a_file_that_cannot_be_read_is_an_input_error_as_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("compose.yaml"), "services: { web: { imaeg: x } }\n").expect("written");
    let output = check(folder.path(), "unix:///nowhere.sock", &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("imaeg"));
}

/// Every code of docs/checks.md is in the sources, and every code that follows a severity there is in the document.
#[test]
fn the_document_lists_every_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/checks.md")).expect("the document");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let listed: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let folder = fs::read_dir(root.join("src/run/check")).expect("the checks");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.is_file());
    files.push(root.join("src/app/checkup.rs"));
    let sources: String = files
        .iter()
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .map(|code| {
            code.split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let unknown: Vec<&&str> = listed
        .iter()
        .filter(|code| !sources.contains(&format!("\"{code}\"")))
        .collect();
    assert!(unknown.is_empty(), "in the document alone: {unknown:?}");
    let told = sources.split("Severity::").filter_map(|after| {
        let (_, rest) = after.split_once(',')?;
        let word = rest.trim_start().strip_prefix('"')?.split('"').next()?;
        (!word.contains(' ')).then_some(word)
    });
    let told: BTreeSet<&str> = told.collect();
    assert!(told.len() > 60, "the codes were not found");
    let unlisted: Vec<&&str> = told.difference(&listed).collect();
    assert!(unlisted.is_empty(), "not in the document: {unlisted:?}");
}
