use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::common;
use crate::project::{BACKEND, Project, installed, said};

const ROUTED: [&str; 3] = ["arkwright-router - running", "other - running", "web blue running"];
const PLAIN: [&str; 2] = ["other - running", "web - running"];

#[test]
fn an_ejected_project_is_plain_compose() {
    for (engine, host) in common::engines() {
        let project = Project::new(&host, true);
        project.release();
        project.ends(0, &["up"]);
        assert!(
            project
                .ends(0, &["deploy", &format!("web={BACKEND}:1.1.0"), "--yes"])
                .contains("deployed")
        );
        let before = (project.rows(), project.objects());
        let other = project.id("other");

        // Without a yes nothing happens.
        let shown = project.ends(0, &["eject"]);
        for part in [
            "remove container",
            "from here on nobody answers",
            "nothing was changed",
            &format!("`image: {BACKEND}:1.1.0`"),
        ] {
            assert!(shown.contains(part), "{engine} {part}: {shown}");
        }
        assert_eq!((project.rows(), project.objects()), before, "{engine}");

        let done = project.ends(0, &["eject", "--yes"]);
        assert!(
            done.contains("plain Compose again") && done.contains(&format!("write `image: {BACKEND}:1.1.0`")),
            "{engine}: {done}"
        );
        assert_eq!(project.rows(), PLAIN, "{engine}");
        assert_eq!(project.answers(), "1.1.0", "{engine}: on the same port");
        assert_eq!(
            (project.objects(), project.id("other")),
            (before.1.clone(), other),
            "{engine}: the rest is as it was"
        );
        assert!(project.path("data/memoryark.db").exists());
        assert!(
            project.ends(0, &["eject", "--yes"]).contains("nothing to do"),
            "{engine}"
        );

        // Not taken back without being asked.
        let up = project.ends(0, &["up"]);
        assert!(up.contains("arkwright up --adopt"), "{engine}: {up}");
        assert_eq!(project.rows(), PLAIN, "{engine}");
        by_compose_alone(&project, engine);

        project.ends(0, &["up", "--adopt"]);
        assert_eq!(project.rows(), ROUTED, "{engine}");
        assert_eq!(project.answers(), "1.1.0", "{engine}: as the Compose file says by now");
        assert!(
            !project
                .ends(0, &["eject", "--yes", "--set-config-aside"])
                .contains("write `image:"),
            "{engine}"
        );
        assert!(!project.path("arkwright.yaml").exists() && project.path("arkwright.yaml.ejected").exists());
        assert!(
            project.ends(0, &["up"]).contains("nothing to do"),
            "{engine}: no release, no router"
        );
    }
}

/// With the line written that `eject` printed, docker-compose has nothing to do but what it is told.
fn by_compose_alone(project: &Project, engine: &str) {
    project.compose_file("1.1.0");
    if !installed("docker-compose") {
        return;
    }
    let (web, other) = (project.id("web"), project.id("other"));
    let up = project.docker_compose(&["up", "-d", "--no-recreate"]);
    assert!(up.status.success(), "{engine}: {}", said(&up));
    assert_eq!(
        (project.id("web"), project.id("other")),
        (web, other),
        "{engine}: {}",
        said(&up)
    );
    let listed = said(&project.docker_compose(&["ps"]));
    assert!(
        listed.contains("-web-1") && listed.contains("-other-1"),
        "{engine}: {listed}"
    );
    let down = project.docker_compose(&["down"]);
    assert!(down.status.success(), "{engine}: {}", said(&down));
    assert_eq!(
        project.objects(),
        (Vec::new(), vec![format!("{}_kept", project.name)]),
        "{engine}: all but the data is gone"
    );
    let up = project.docker_compose(&["up", "-d"]);
    assert!(up.status.success(), "{engine}: {}", said(&up));
    assert_eq!(project.answers(), "1.1.0", "{engine}");
}

#[test]
fn cut_off_anywhere_it_is_finished_by_running_it_again() {
    for (engine, host) in common::engines() {
        let project = Project::new(&host, true);
        project.release();
        for after in [1, 2, 3, 4] {
            project.ends(0, &["up", "--adopt"]);
            assert_eq!(project.rows(), ROUTED, "{engine} before {after}");
            let mut child = project
                .arkwright()
                .args(["eject", "--yes"])
                .stderr(Stdio::piped())
                .spawn()
                .expect("the binary runs");
            let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
            let begun = format!("{after}/");
            let seen = lines.map_while(Result::ok).find(|line| line.starts_with(&begun));
            child.kill().expect("killed");
            child.wait().expect("ended");
            assert!(seen.is_some(), "{engine}: it never came to {begun}");
            project.ends(0, &["eject", "--yes"]);
            assert_eq!(project.rows(), PLAIN, "{engine} after {after}");
            assert_eq!(project.answers(), "1.0.0", "{engine} after {after}");
            assert!(
                project.ends(0, &["eject", "--yes"]).contains("nothing to do"),
                "{engine} after {after}"
            );
        }
    }
}

#[test]
fn it_is_refused_while_a_release_is_open() {
    for (engine, host) in common::engines() {
        let project = Project::new(&host, true);
        project.release();
        project.ends(0, &["up"]);
        let broken = format!("web={BACKEND}:broken");
        let mut deploy = project
            .arkwright()
            .args(["deploy", &broken, "--yes"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("runs");
        let mut lines = BufReader::new(deploy.stderr.take().expect("piped")).lines();
        lines.next().expect("it has begun").expect("a line");
        deploy.kill().expect("killed");
        deploy.wait().expect("ended");
        let refused = project.ends(6, &["eject", "--yes"]);
        assert!(refused.contains("arkwright resume"), "{engine}: {refused}");
        assert!(
            project.rows().contains(&"arkwright-router - running".to_owned()),
            "{engine}"
        );
        let id = refused
            .split("the release ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .expect("its id")
            .to_owned();
        project.ends(1, &["resume", &id]);
        project.ends(0, &["eject", "--yes"]);
        assert_eq!(project.rows(), PLAIN, "{engine}");
        assert_eq!(project.answers(), "1.0.0", "{engine}");
    }
}
