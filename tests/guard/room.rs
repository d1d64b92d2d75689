use crate::common;
use crate::stage::{BACKEND, fails, line, project, write};

#[test]
fn a_deploy_that_will_not_fit_is_refused_with_figures_before_anything_is_touched() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let cli = project(folder.path(), &host, engine, "room");
        let mounts = |limit: &str| {
            format!("tmpfs: [\"/data:mode=1777\", \"/uploads:mode=1777\"]\n    deploy: {{ resources: {{ {limit} }} }}")
        };
        write(folder.path(), "", &mounts(""), "");
        cli.ends(0, &["up"]);

        let target = format!("backend={BACKEND}:1.1.0");
        let told = cli.ends(0, &["deploy", &target, "--plan"]);
        let memory = told
            .lines()
            .find(|line| line.contains("memory for green"))
            .expect("a line");
        assert!(
            memory.contains("1 × ") && memory.contains("what blue uses now"),
            "{memory}"
        );
        assert!(memory.contains("free") && memory.ends_with(": fits"), "{memory}");
        assert!(told.contains("disk for the image: 0 B needed (it is here)"), "{told}");
        let told = cli.ends(0, &["deploy", "backend=localhost/memoryark/not-here:1", "--plan"]);
        let image = told
            .lines()
            .find(|line| line.contains("disk for the image"))
            .expect("a line");
        assert!(
            image.contains("unknown needed") && image.ends_with("not known whether it fits"),
            "{image}"
        );

        // More than any host has: a reservation is no limit, so nothing is carried out about it.
        write(folder.path(), "", &mounts("reservations: { memory: 900000g }"), "");
        let told = fails(&cli, 11, &["deploy", &target, "--yes"]);
        assert!(
            told.contains("does not fit") && told.contains("its reservation"),
            "{told}"
        );
        assert_eq!(
            cli.json(&["history", "--json"]).as_array().map(Vec::len),
            Some(0),
            "nothing was begun"
        );
        assert_eq!(cli.run(&["deploy", &target, "--plan"]).status.code(), Some(11));
        assert_eq!(
            cli.run(&["deploy", &target, "--plan", "--override", "x"]).status.code(),
            Some(0)
        );

        write(folder.path(), "", &mounts(""), "");
        let receipt = cli.json(&[
            "deploy",
            &target,
            "--yes",
            "--json",
            "--override",
            "nothing to override",
        ]);
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        assert_eq!(line(&receipt, "override"), Some("nothing to override"));
        cli.ends(0, &["down", "--volumes", "--yes"]);
    }
}
