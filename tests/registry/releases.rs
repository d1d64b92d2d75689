use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::{BACKEND, Project, ended, given};
use crate::server::{PASSWORD, Registry, client, forget, forget_below};

/// The newest release.
fn newest(project: &Project) -> Value {
    let history = project.json(&["history", "--json", "--kind", "release"]);
    // Those of one second are in no order.
    let all = history.as_array().into_iter().flatten();
    all.max_by_key(|receipt| receipt["started"].to_string())
        .expect("a release")
        .clone()
}

/// The image id an engine has for a name.
async fn id_of(host: &str, name: &str) -> String {
    let id = client(host)
        .inspect_image(name)
        .await
        .expect("there")
        .id
        .expect("an id");
    format!("sha256:{}", id.trim_start_matches("sha256:"))
}

/// `colour digest-or-none` of every container of the service.
fn colours(project: &Project) -> Vec<String> {
    let rows = project.json(&["ps", "--json"]);
    let ours = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["service"] == "web");
    let mut found: Vec<String> = ours
        .map(|row| {
            format!(
                "{} {}",
                row["colour"].as_str().unwrap_or_default(),
                row["image_id"].as_str().unwrap_or_default()
            )
        })
        .collect();
    found.sort();
    found
}

pub async fn a_release_runs_what_it_fetched_wherever_the_tag_goes(host: &str, registry: Registry) {
    let (first, second) = (
        id_of(host, &format!("{BACKEND}:1.0.0")).await,
        id_of(host, &format!("{BACKEND}:1.1.0")).await,
    );
    let name = registry.name("moving/web:live");
    registry
        .push(host, &format!("{BACKEND}:1.0.0"), "moving/web:live")
        .await;
    let project = Project::new(host, "moving");
    project.released(&name, "pull_policy: always");
    project.log_in(&registry, PASSWORD);
    project.ends(0, &["up"]);
    project.ends(0, &["deploy", "web", "--yes"]);
    let one = newest(&project);
    println!("    {}", one["lines"]);
    assert_eq!(
        (one["outcome"].as_str(), one["detail"]["digest"].as_str()),
        (Some("deployed"), Some(first.as_str()))
    );
    let at = format!("{}@sha256:", registry.name("moving/web"));
    let pinned = one["detail"]["registry_digest"].as_str().expect("a digest").to_owned();
    assert!(pinned.starts_with(&at), "{pinned}");

    // The tag moves, and the second release goes with it.
    registry
        .push(host, &format!("{BACKEND}:1.1.0"), "moving/web:live")
        .await;
    project.ends(0, &["deploy", "web", "--yes"]);
    let two = newest(&project);
    let moved = two["detail"]["registry_digest"].as_str().expect("a digest").to_owned();
    assert!(moved.starts_with(&at) && moved != pinned, "{moved}");
    assert_eq!(two["detail"]["digest"].as_str(), Some(second.as_str()));
    assert_eq!(
        two["detail"]["previous_registry_digest"].as_str(),
        Some(pinned.as_str())
    );
    let rows = project.json(&["ps", "--json"]);
    let shown: Vec<&Value> = rows
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["service"] == "web")
        .collect();
    assert!(shown.iter().all(|row| row["image"] == name.as_str()), "{rows}");
    assert!(shown.iter().any(|row| row["digest"] == moved.as_str()), "{rows}");
    let served = format!("{} {second}", two["detail"]["to"].as_str().expect("a colour"));
    assert!(colours(&project).contains(&served), "{:?}", colours(&project));

    // The tag goes on without us; a colour that is lost comes back as what it was.
    registry
        .push(host, &format!("{BACKEND}:1.0.0"), "moving/web:live")
        .await;
    let registry_tag = bollard::query_parameters::TagImageOptionsBuilder::new()
        .repo(&registry.name("moving/web"))
        .tag("live")
        .build();
    client(host)
        .tag_image(&first, Some(registry_tag))
        .await
        .expect("moved here too");
    let lost = rows
        .as_array()
        .into_iter()
        .flatten()
        .find(|row| row["image_id"] == second.as_str());
    let lost = lost.expect("the serving one")["id"].as_str().expect("an id").to_owned();
    let hard = bollard::query_parameters::RemoveContainerOptionsBuilder::new()
        .force(true)
        .build();
    client(host).remove_container(&lost, Some(hard)).await.expect("removed");
    project.write(
        "compose.yaml",
        &project.read("compose.yaml").replace("pull_policy: always", ""),
    );
    project.ends(0, &["up"]);
    assert!(colours(&project).contains(&served), "{:?}", colours(&project));
    let plan = project.json(&["plan", "--json"]);
    assert_eq!(plan["changes"], serde_json::json!([]));
    let drift = plan["drift"].to_string();
    assert!(drift.contains("`arkwright deploy web` takes it"), "{drift}");

    // Back to the first, which is the warm one.
    project.ends(0, &["rollback", "web", "--yes"]);
    let back = newest(&project);
    assert_eq!(back["detail"]["digest"].as_str(), Some(first.as_str()));
    assert_eq!(back["detail"]["registry_digest"].as_str(), Some(pinned.as_str()));

    let config = project.run(&["config", "--resolve-image-digests"]);
    let printed = String::from_utf8_lossy(&config.stdout).into_owned();
    ended(0, &config);
    assert!(printed.contains(&format!("{name}@sha256:")), "{printed}");
    drop(project);
    // Docker keeps the digests of a tag that moved.
    forget_below(host, &registry.address).await;
}

pub async fn a_login_that_is_refused_changes_nothing(host: &str, registry: Registry) {
    registry.push(host, &format!("{BACKEND}:1.1.0"), "refused/web:2").await;
    let project = Project::new(host, "refused");
    project.released(&format!("{BACKEND}:1.0.0"), "");
    project.ends(0, &["up"]);
    let before = colours(&project);
    let target = format!("web={}", registry.name("refused/web:2"));
    for (password, says) in [(None, "this host has none"), (Some("hunter2"), "was refused")] {
        match password {
            Some(password) => project.log_in(&registry, password),
            None => project.log_out(),
        }
        let output = project.run(&["deploy", &target, "--yes"]);
        ended(1, &output);
        let because = newest(&project)["because"].as_str().expect("a reason").to_owned();
        assert!(because.contains(says) && because.contains("docker login"), "{because}");
        assert!(because.contains(&registry.address), "{because}");
        assert_eq!(newest(&project)["outcome"], "aborted");
        assert_eq!(colours(&project), before);
    }
    project.log_in(&registry, PASSWORD);
    let missing = format!("web={}", registry.name("refused/web:none"));
    project.ends(1, &["deploy", &missing, "--yes"]);
    let because = newest(&project)["because"].as_str().expect("a reason").to_owned();
    assert!(because.contains("no such image or tag"), "{because}");
    assert_eq!(colours(&project), before);
}

pub async fn an_agent_that_dies_takes_the_login_with_it(host: &str, registry: Registry) {
    registry.push(host, &format!("{BACKEND}:1.1.0"), "agent/web:2").await;
    let project = Project::new(host, "agent");
    project.released(&format!("{BACKEND}:1.0.0"), "");
    project.ends(0, &["up"]);
    let before = colours(&project);
    let mut agent = project.agent();
    let target = format!("web={}", registry.name("agent/web:2"));

    // The registry does not answer while it is stopped, so the pull is in its middle.
    signal("STOP", registry.pid());
    let mut deploy = project
        .command(&["deploy", &target, "--yes", "--registry-auth"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut input = deploy.stdin.take().expect("its input");
    std::io::Write::write_all(&mut input, given(&registry).as_bytes()).expect("taken");
    drop(input);
    let begun = Instant::now();
    while !project.everything_written().contains("\"fetch\"") || !open(&project) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the release never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    agent.kill().expect("killed");
    agent.wait().expect("gone");
    deploy.kill().expect("killed");
    deploy.wait().expect("gone");
    signal("CONT", registry.pid());

    std::fs::remove_file(project.path("a.sock")).ok();
    let mut agent = project.agent();
    let begun = Instant::now();
    while open(&project) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{}",
            project.read("agent.log")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let release = newest(&project);
    let because = release["because"].as_str().expect("a reason");
    assert_eq!(release["outcome"], "aborted", "{because}");
    assert!(because.contains("in the memory of a process that is gone"), "{because}");
    assert_eq!(colours(&project), before);

    // Given again, it is used again.
    let again = project.run_given(&["deploy", &target, "--yes", "--registry-auth"], &given(&registry));
    ended(0, &again);
    assert!(!project.everything_written().contains(PASSWORD));
    assert!(!project.read("agent.log").contains(PASSWORD));
    signal("TERM", agent.id());
    agent.wait().expect("gone");
    drop(project);
    forget(host, &registry.name("agent/web:2")).await;
}

fn open(project: &Project) -> bool {
    let history = project.json(&["history", "--json"]);
    let all = history.as_array().into_iter().flatten();
    all.clone().any(|receipt| receipt["outcome"] == "running")
}

fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}
