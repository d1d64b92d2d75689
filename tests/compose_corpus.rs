//! `arkwright config` against what the reference implementation of the Compose specification made of the same files.

mod common;

use std::process::Command;

/// The cases live outside the repository.
#[test]
fn agrees_with_the_reference() {
    let Some(cases) = common::cases() else { return };
    let cases = cases.join("corpus/compose");
    let judge = cases.join("compare.py");
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
