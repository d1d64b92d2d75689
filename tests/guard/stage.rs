use std::path::Path;

use serde_json::Value;

use crate::cli::Cli;

pub const BACKEND: &str = "localhost/memoryark/backend";
pub const TOKEN: &str = "token-for-tests";

/// The stand-in back end, 1.0.0 named in the Compose file; `more` are lines of arkwright.yaml.
pub fn write(folder: &Path, release: &str, mounts: &str, more: &str) {
    let compose = format!(
        "services:\n  backend:\n    image: {BACKEND}:1.0.0\n    init: false\n    {mounts}\n    \
         environment: {{ LINE_SERVICE_API_TOKEN: {TOKEN}, STANDIN_DELAY: 2ms }}\n"
    );
    std::fs::write(folder.join("compose.yaml"), compose).expect("written");
    rewrite(folder, release, more);
}

/// arkwright.yaml alone.
pub fn rewrite(folder: &Path, release: &str, more: &str) {
    let config = format!(
        "services:\n  backend:\n    release: {{ port: 8081, {release} drain_limit: 5s, \
         health: {{ http: /api/health, every: 500ms, healthy_after: 2, within: 20s }} }}\n\
         router: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\n{more}\n"
    );
    std::fs::write(folder.join("arkwright.yaml"), config).expect("written");
}

pub fn project<'a>(folder: &'a Path, host: &'a str, engine: &str, case: &str) -> Cli<'a> {
    Cli {
        folder,
        host,
        project: format!("arkguard-{case}-{}{}", engine.to_lowercase(), std::process::id()),
    }
}

/// A command that must end with this exit code; what it said to standard error.
pub fn fails(cli: &Cli<'_>, code: i32, args: &[&str]) -> String {
    let output = cli.run(args);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
    told
}

/// The receipt's line of this label.
pub fn line<'a>(receipt: &'a Value, label: &str) -> Option<&'a str> {
    let lines = receipt["lines"].as_array()?;
    lines.iter().find(|line| line["label"] == label)?["value"].as_str()
}
