use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common;
use crate::stage::{BACKEND, fails, project, write};

#[test]
fn whoever_waits_hears_who_works_and_whoever_comes_after_a_kill_says_so() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let cli = project(folder.path(), &host, engine, "lock");
        let mounts = "tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]";
        write(folder.path(), "steps: [{ weight: 50, hold: 6s }],", mounts, "");
        cli.ends(0, &["up"]);
        let target = format!("backend={BACKEND}:1.1.0");
        let mut working = cli
            .command(&["deploy", &target, "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let begun = Instant::now();
        while cli.json(&["history", "--json"])[0]["outcome"] != "running" {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never began");
            std::thread::sleep(Duration::from_millis(100));
        }
        let told = fails(&cli, 6, &["deploy", "backend", "--yes"]);
        let owner = format!("process {} on ", working.id());
        assert!(told.contains(&owner) && told.contains("last sign of life"), "{told}");
        assert!(told.contains(&target), "what it does is told: {told}");
        working.kill().expect("killed");
        working.wait().expect("over");

        let output = cli.run(&["deploy", &format!("backend={BACKEND}:1.0.0"), "--yes", "--json"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{engine}: {told}");
        assert!(told.contains("taken over from") && told.contains(&owner), "{told}");
        assert!(told.contains("without letting go"), "{told}");
        let receipt: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let notes = receipt["detail"]["notes"].to_string();
        assert!(
            notes.contains(&owner) && notes.contains("without letting go"),
            "{receipt}"
        );

        let output = cli.run(&["rollback", "backend", "--yes"]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !told.contains("taken over"),
            "said once: {told}"
        );
        cli.ends(0, &["down", "--volumes", "--yes"]);
    }
}
