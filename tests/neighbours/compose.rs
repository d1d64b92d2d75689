//! docker-compose 1.29, on Docker and on Podman's Docker API.

use crate::common;
use crate::project::{BACKEND, Project, installed, said};

fn docker() -> Option<String> {
    let hosts = common::engines();
    installed("docker-compose").then_some(())?;
    hosts
        .into_iter()
        .find(|(name, _)| *name == "Docker")
        .map(|(_, host)| host)
}

#[test]
fn what_docker_compose_started_is_adopted_with_its_data() {
    let Some(host) = docker() else { return };
    let project = Project::new(&host, true);
    let up = project.docker_compose(&["up", "-d"]);
    assert!(up.status.success(), "{}", said(&up));
    assert_eq!(project.answers(), "1.0.0");
    let before = project.objects();
    assert_eq!(
        (project.rows(), project.starts()),
        (vec!["other - running".to_owned(), "web - running".to_owned()], 1)
    );

    let plan = project.ends(0, &["plan"]);
    assert!(
        plan.contains("arkwright did not create it")
            && !plan.contains("create network")
            && !plan.contains("create volume"),
        "{plan}"
    );
    project.ends(0, &["up"]);
    assert_eq!(project.rows(), ["other - running", "web - running"], "no duplicates");
    assert_eq!(
        (project.objects(), project.answers().as_str(), project.starts()),
        (before, "1.0.0", 2)
    );
    assert!(project.ends(0, &["up"]).contains("nothing to do"));
    let names = project.ends(0, &["ps"]);
    assert!(
        names.contains(&format!("{}-web-1", project.name)) && !names.contains("_web_1"),
        "{names}"
    );
}

#[test]
fn a_service_that_is_released_is_adopted_only_when_asked() {
    let Some(host) = docker() else { return };
    let project = Project::new(&host, true);
    assert!(project.docker_compose(&["up", "-d"]).status.success());
    let web = project.id("web");
    project.release();
    let up = project.ends(0, &["up"]);
    assert!(up.contains("web is to be released and still runs as it was"), "{up}");
    assert_eq!(project.id("web"), web, "left alone");
    project.ends(0, &["up", "--adopt"]);
    assert_eq!(
        project.rows(),
        ["arkwright-router - running", "other - running", "web blue running"]
    );
    assert_eq!(project.answers(), "1.0.0");
    assert!(project.ends(0, &["up", "--adopt"]).contains("nothing to do"));
}

/// On Podman too: its API is Docker's.
#[test]
fn their_verbs_work_on_a_project_of_ours() {
    if !installed("docker-compose") {
        return;
    }
    for (engine, host) in common::engines() {
        let project = Project::new(&host, true);
        project.release();
        project.ends(0, &["up"]);
        assert_eq!(project.answers(), "1.0.0");
        let compose = |args: &[&str]| {
            let output = project.docker_compose(args);
            (output.status.success(), said(&output))
        };
        let (fine, listed) = compose(&["ps"]);
        // It lists services of the file; the router is none, whatever labels it has.
        let shown = |name: &str| listed.contains(&format!("{}-{name}-1", project.name));
        assert!(
            fine && shown("web-blue") && shown("other") && !shown("arkwright-router"),
            "{engine}: {listed}"
        );
        let (fine, logs) = compose(&["logs", "--no-color"]);
        assert!(
            fine && logs.contains("ready") && logs.contains("serves /data/memoryark.db"),
            "{engine}: {logs}"
        );

        let (fine, text) = compose(&["stop"]);
        assert!(fine, "{engine}: {text}");
        let stopped = project.rows();
        assert!(
            stopped[1..].iter().all(|row| row.ends_with("exited")) && stopped.len() == 3,
            "{engine}: {stopped:?}"
        );
        project.ends(0, &["up"]);
        assert_eq!(
            project.rows(),
            ["arkwright-router - running", "other - running", "web blue running"],
            "{engine}"
        );
        assert_eq!(project.answers(), "1.0.0", "{engine}");
        let again = project.ends(0, &["up"]);
        assert!(again.contains("nothing to do"), "{engine}: {again}");

        for verbs in [&["stop"][..], &["start"], &["restart"]] {
            let (fine, text) = compose(verbs);
            assert!(fine, "{engine} {verbs:?}: {text}");
        }
        // It may have another address now, of which only `up` or the agent tells the router.
        project.ends(0, &["up"]);
        assert_eq!(project.answers(), "1.0.0", "{engine}");

        let (_, text) = compose(&["down"]);
        let left = project.rows();
        assert_eq!(
            left,
            ["arkwright-router - running"],
            "{engine}: only an orphan to them: {text}"
        );
        let (fine, text) = compose(&["down", "--remove-orphans"]);
        assert!(fine, "{engine}: {text}");
        assert_eq!(project.rows(), Vec::<String>::new(), "{engine}");
        assert_eq!(
            project.objects(),
            (Vec::new(), vec![format!("{}_kept", project.name)]),
            "{engine}"
        );
        // And from there all comes back, with the data.
        project.ends(0, &["up"]);
        assert_eq!(project.answers(), "1.0.0", "{engine}");
        assert!(project.starts() >= 4, "{engine}");
    }
}

/// It makes its own container of the service, under the service's own name on the network, and takes a colour away.
#[test]
fn a_foreign_up_on_a_released_service_is_noticed_by_everything_that_looks() {
    let Some(host) = docker() else { return };
    let project = Project::new(&host, false);
    project.release();
    project.ends(0, &["up"]);
    project.ends(0, &["deploy", &format!("web={BACKEND}:1.1.0"), "--yes"]);
    let before = project.rows();
    assert!(before.contains(&"web green running".to_owned()), "{before:?}");
    let up = project.docker_compose(&["up", "-d"]);
    let after = project.rows();
    assert!(
        after.iter().any(|row| row.starts_with("web - ")),
        "{after:?}: {}",
        said(&up)
    );
    let colours = |rows: &[String]| {
        rows.iter()
            .filter(|row| row.starts_with("web ") && !row.starts_with("web - "))
            .count()
    };
    assert!(colours(&after) < colours(&before), "it takes a colour away: {after:?}");

    for verb in [&["plan"][..], &["ps"], &["up"]] {
        let said = project.ends(0, verb);
        assert!(
            said.contains("it answers to `web` beside the router"),
            "{verb:?}: {said}"
        );
        assert!(said.contains("stop and remove it"), "{verb:?}: {said}");
    }
    let rows = project.ps();
    let stray = rows.iter().find(|row| row["stray"] == true).expect("a stray");
    assert_eq!(
        (&stray["service"], &stray["colour"]),
        (&"web".into(), &serde_json::Value::Null)
    );
    // `up` has put back the colour that serves; once the stray is gone, nothing is left to say.
    assert!(
        project.rows().contains(&"web green running".to_owned()),
        "{:?}",
        project.rows()
    );
    project.remove(stray["id"].as_str().expect("an id"));
    let quiet = project.ends(0, &["up"]);
    assert!(!quiet.contains("beside the router"), "{quiet}");
    assert!(project.ps().iter().all(|row| row["stray"] == false));
}
