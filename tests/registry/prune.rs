use arkwright::engine;
use arkwright::ports::Engine;
use arkwright::release::short_id;
use arkwright::state::{HostLock, ProjectFolder};
use serde_json::Value;

use crate::image::{make, unique};
use crate::project::{BACKEND, Project};
use crate::server::{PASSWORD, Registry, forget};

/// The exit code where another process is at work on the project.
const BUSY: i32 = 6;

fn names(pruning: &Value, list: &str) -> Vec<String> {
    let all = pruning[list].as_array().into_iter().flatten();
    let names = all.flat_map(|image| image["names"].as_array().into_iter().flatten());
    let mut found: Vec<String> = names.map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
    found.sort();
    found
}

pub async fn images_nothing_needs_are_told_and_then_removed(host: &str, registry: Registry) {
    let engine = engine::connect(Some(host), &[]).await.expect("an engine");
    let name = |rest: &str| registry.name(rest);
    let project = Project::new(host, "prune");
    for (version, tag) in [("1.0.0", "1"), ("1.1.0", "2"), ("broken", "sick")] {
        let (from, to) = (format!("{BACKEND}:{version}"), format!("prune/web:{tag}"));
        registry.push(host, &from, &to).await;
    }
    project.released(&name("prune/web:1"), "");
    project.log_in(&registry, PASSWORD);
    project.ends(0, &["up"]);
    let target = format!("web={}", name("prune/web:2"));
    project.ends(0, &["deploy", &target, "--yes"]);

    // A release that failed leaves an image and the name it was kept under; another name of it is not the project's.
    project.ends(1, &["deploy", &format!("web={}", name("prune/web:sick")), "--yes"]);
    let sick = engine
        .image(&name("prune/web:sick"))
        .await
        .expect("asked")
        .expect("here")
        .id;
    let sick_kept = format!("localhost/arkwright-keep/{}-web:{}", project.name, short_id(&sick));
    // One that no other image has a layer or a name of, and that cannot be started.
    let made = format!("localhost/arkwright-test/{}:1", unique("odd"));
    make(&engine, &made, &unique("odd"), 4096).await;
    registry.push(host, &made, "prune/web:odd").await;
    forget(host, &made).await;
    project.ends(1, &["deploy", &format!("web={}", name("prune/web:odd")), "--yes"]);
    let odd = engine
        .image(&name("prune/web:odd"))
        .await
        .expect("asked")
        .expect("here")
        .id;
    let odd_kept = format!("localhost/arkwright-keep/{}-web:{}", project.name, short_id(&odd));
    // Another project's, which is stopped: it shares the repository, and no release of this one fetched it.
    let alike = name("prune/web:alike");
    make(&engine, &alike, &unique("alike"), 4096).await;
    let theirs = format!("localhost/arkwright-test/{}:1", unique("theirs"));
    make(&engine, &theirs, &unique("theirs"), 4096).await;
    let mut expected = vec![name("prune/web:odd"), odd_kept, name("prune/web:sick"), sick_kept];
    expected.sort();

    let dry = project.json(&["prune", "--images", "--json"]);
    println!("    {dry}");
    assert_eq!(
        (dry["performed"].as_bool(), names(&dry, "remove")),
        (Some(false), expected.clone())
    );
    let mut removals = dry["remove"].as_array().into_iter().flatten();
    let of_odd = removals.find(|removal| removal["id"] == odd.as_str()).expect("listed");
    let known = of_odd["reason"]
        .as_str()
        .is_some_and(|why| !why.contains("no registry is known"));
    assert!(known, "it was fetched from one: {dry}");
    assert_eq!(
        dry["bytes"], of_odd["size"],
        "the sick one stays under a name of its own"
    );
    assert!(
        engine.image(&odd).await.expect("asked").is_some(),
        "nothing was changed"
    );

    // A shell's word for the same, which changes nothing either.
    let shown = project.run(&["prune", "--images"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("at most"), "{shown:?}");
    assert_eq!(project.run(&["prune"]).status.code(), Some(2));

    // Listing waits for nobody; removing is refused while containers are being changed.
    let name_of_project = project.name.parse().expect("a name");
    let folder = ProjectFolder::named(&project.path("state"), &name_of_project);
    let lock = HostLock::take(&folder.stack_lock(), "a test").expect("free");
    let listed = project.json(&["prune", "--images", "--json"]);
    assert_eq!(names(&listed, "remove"), expected);
    project.ends(BUSY, &["prune", "--images", "--yes"]);
    drop(lock);

    let done = project.json(&["prune", "--images", "--yes", "--json"]);
    assert_eq!(
        (done["performed"].as_bool(), names(&done, "remove")),
        (Some(true), expected)
    );
    assert!(done["freed"].as_u64().is_some_and(|bytes| bytes > 4096), "{done}");
    assert!(engine.image(&odd).await.expect("asked").is_none());
    assert!(
        engine.image(&sick).await.expect("asked").is_some(),
        "under the name that is not ours"
    );
    for other in [&alike, &theirs] {
        assert!(
            engine.image(other).await.expect("asked").is_some(),
            "{other} is not ours"
        );
    }
    let again = project.json(&["prune", "--images", "--json"]);
    assert_eq!(names(&again, "remove"), [""; 0]);

    // What serves and what a rollback needs stay, also when no container is left.
    for tag in ["1", "2"] {
        assert!(
            engine
                .image(&name(&format!("prune/web:{tag}")))
                .await
                .expect("asked")
                .is_some()
        );
    }
    let kept: Vec<String> = names(&again, "keep")
        .into_iter()
        .filter(|n| n.contains("arkwright-keep"))
        .collect();
    assert!(!kept.is_empty(), "{again}");
    project.ends(0, &["down", "--volumes", "--remove-orphans", "--yes"]);
    let down = project.json(&["prune", "--images", "--json"]);
    let why = down["keep"].to_string();
    assert!(why.contains("a rollback needs it"), "{down}");
    drop(project);
    for left in kept
        .iter()
        .chain([&alike, &theirs, &name("prune/web:1"), &name("prune/web:2")])
    {
        forget(host, left).await;
    }
}
