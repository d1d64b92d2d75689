//! podman-compose 1.0.3: it finds containers by the names it gives them, `project_service_1`, and only lists by a label.

use crate::common;
use crate::project::{Project, installed};

fn podman() -> Option<String> {
    let hosts = common::engines();
    installed("podman-compose").then_some(())?;
    hosts
        .into_iter()
        .find(|(name, _)| *name == "Podman")
        .map(|(_, host)| host)
}

#[test]
fn what_podman_compose_started_is_adopted_with_its_data() {
    let Some(host) = podman() else { return };
    let project = Project::new(&host, true);
    let up = project.podman_compose(&["up", "-d"]);
    assert_eq!(project.rows(), ["other - running", "web - running"], "{up}");
    assert_eq!((project.answers().as_str(), project.starts()), ("1.0.0", 1));
    let before = project.objects();

    project.ends(0, &["up"]);
    assert_eq!(project.rows(), ["other - running", "web - running"], "no duplicates");
    assert_eq!(
        (project.objects(), project.answers().as_str(), project.starts()),
        (before, "1.0.0", 2)
    );
    assert!(project.ends(0, &["up"]).contains("nothing to do"));

    project.release();
    assert!(project.ends(0, &["up"]).contains("still runs as it was"));
    project.ends(0, &["up", "--adopt"]);
    assert_eq!(
        project.rows(),
        ["arkwright-router - running", "other - running", "web blue running"]
    );
    assert_eq!(project.answers(), "1.0.0");
    assert!(project.ends(0, &["up"]).contains("nothing to do"));
}

#[test]
fn podman_compose_lists_ours_and_an_up_of_its_own_is_noticed() {
    let Some(host) = podman() else { return };
    let project = Project::new(&host, false);
    project.release();
    project.ends(0, &["up"]);
    let listed = project.podman_compose(&["ps"]);
    for name in ["web-blue-1", "other-1", "arkwright-router-1"] {
        assert!(listed.contains(&format!("{}-{name}", project.name)), "{name}: {listed}");
    }
    // By its own names it finds nothing of ours, and so harms nothing.
    let stopped = project.podman_compose(&["stop"]);
    assert!(stopped.contains("no such container"), "{stopped}");
    assert_eq!(
        project.rows(),
        ["arkwright-router - running", "other - running", "web blue running"]
    );

    let up = project.podman_compose(&["up", "-d"]);
    let said = project.ends(0, &["plan"]);
    assert!(said.contains("it answers to `web` beside the router"), "{said}: {up}");
    // Its second `other` is one replica too many; the stray is for a person to judge.
    project.ends(0, &["up"]);
    let rows = project.rows();
    assert_eq!(
        rows.iter().filter(|row| row.starts_with("other ")).count(),
        1,
        "{rows:?}"
    );
    let rows = project.ps();
    let stray = rows.iter().find(|row| row["stray"] == true).expect("a stray");
    project.remove(stray["id"].as_str().expect("an id"));
    assert!(project.ends(0, &["up"]).contains("nothing to do"));
}
