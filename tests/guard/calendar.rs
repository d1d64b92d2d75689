use chrono::{Datelike, Days, Utc};

use crate::common;
use crate::stage::{BACKEND, fails, line, project, rewrite, write};

const TMPFS: &str = "tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]";

#[test]
fn a_deploy_waits_for_its_window_and_a_rollback_does_not() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let cli = project(folder.path(), &host, engine, "window");
        write(folder.path(), "", TMPFS, "");
        cli.ends(0, &["up"]);

        // A day that is today nowhere.
        let day = Utc::now().date_naive() + Days::new(3);
        let day = day.weekday().to_string().to_lowercase();
        let windows = format!(
            "releases: {{ windows: [{{ days: [{day}], from: \"02:00\", to: \"04:00\", timezone: \"+08:00\" }}] }}"
        );
        rewrite(folder.path(), "", &windows);
        let target = format!("backend={BACKEND}:1.1.0");
        let told = fails(&cli, 11, &["deploy", &target, "--yes"]);
        assert!(
            told.contains("no release window is open; the next window opens"),
            "{told}"
        );
        assert!(told.contains("02:00 +08:00") && told.contains("--override"), "{told}");
        let planned = cli.run(&["deploy", &target, "--plan", "--json"]);
        assert_eq!(planned.status.code(), Some(11));
        let plan: serde_json::Value = serde_json::from_slice(&planned.stdout).expect("JSON");
        assert!(
            plan[0]["steps"].as_array().is_some_and(|steps| steps.len() > 5),
            "{plan}"
        );
        assert!(
            plan[0]["refusals"][0]
                .as_str()
                .is_some_and(|r| r.contains("next window")),
            "{plan}"
        );
        assert_eq!(
            cli.json(&["history", "--json"]).as_array().map(Vec::len),
            Some(0),
            "nothing was begun"
        );

        let receipt = cli.json(&[
            "deploy",
            &target,
            "--yes",
            "--json",
            "--override",
            "the login bug, ticket 12",
        ]);
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        assert_eq!(line(&receipt, "override"), Some("the login bug, ticket 12"));
        assert_eq!(receipt["detail"]["override"]["reason"], "the login bug, ticket 12");
        let operation = receipt["operation"].as_str().expect("an id");
        let told = cli.ends(0, &["history", operation]);
        assert!(
            told.contains("the login bug") && told.contains("no release window"),
            "{told}"
        );

        let freeze = "releases: { freezes: [{ from: 2020-01-01, to: 2099-12-31, reason: audit, by: maria }] }";
        rewrite(folder.path(), "", freeze);
        let told = fails(&cli, 11, &["deploy", "backend", "--yes"]);
        assert!(
            told.contains("frozen by maria until") && told.contains("audit"),
            "{told}"
        );
        let back = cli.json(&["rollback", "backend", "--yes", "--json"]);
        assert_eq!(back["outcome"], "rolled_back", "{engine}: {back}");
        cli.ends(0, &["down", "--volumes", "--yes"]);
    }
}
