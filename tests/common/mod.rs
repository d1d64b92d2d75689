//! What the integration tests share: finding engines and cases, and saying so where one is missing.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::path::PathBuf;

/// A test that cannot run here says so on a line of its own, which `scripts/test` counts; under `CI=true` it fails.
pub fn not_run(what: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "NOT RUN, and CI must run everything: {what}"
    );
    println!("NOT RUN: {what}");
}

/// The engines the tests may use, as `--host` takes them, with a name for messages.
pub fn engines() -> Vec<(&'static str, String)> {
    let named = [("Docker", "ARKWRIGHT_TEST_DOCKER"), ("Podman", "ARKWRIGHT_TEST_PODMAN")];
    let mut found = Vec::new();
    for (name, variable) in named {
        match std::env::var(variable) {
            Ok(host) => found.push((name, host)),
            Err(_) => not_run(&format!(
                "{name}: {variable} names no engine (./scripts/test starts one)"
            )),
        }
    }
    found
}

/// The folder with the shared cases, without symbolic links: `../shared` unless `ARKWRIGHT_CASES` says otherwise.
pub fn cases() -> Option<PathBuf> {
    let usual = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("ARKWRIGHT_CASES").map_or_else(usual, PathBuf::from);
    if let Ok(real) = folder.canonicalize() {
        return Some(real);
    }
    not_run(&format!(
        "the shared cases: {} is no folder (ARKWRIGHT_CASES)",
        folder.display()
    ));
    None
}
