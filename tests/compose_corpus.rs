//! `arkwright config` against what the reference implementation of the Compose specification made of the same files.

use std::path::PathBuf;
use std::process::Command;

/// The cases live outside the repository: `ARKWRIGHT_CASES`, or `../shared` beside it. Absent, nothing is judged, which
/// is an error only in continuous integration.
#[test]
fn agrees_with_the_reference() {
    let root = std::env::var_os("ARKWRIGHT_CASES").map(PathBuf::from);
    let root = root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let cases = root.join("corpus/compose");
    let judge = cases.join("compare.py");
    if !judge.exists() {
        println!("NOT RUN: no cases in {}", cases.display());
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "set ARKWRIGHT_CASES to the folder that holds corpus/compose"
        );
        return;
    }
    let binary = env!("CARGO_BIN_EXE_arkwright");
    let output = Command::new("python3")
        .arg(judge)
        .arg(binary)
        .arg(&cases)
        .output()
        .expect("python3 judges the cases");
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
