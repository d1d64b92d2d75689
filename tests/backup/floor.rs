//! A source that has lost most of what it held.

use std::fs;
use std::process::Command;

use super::support::World;

fn world() -> World {
    let world = World::new(r#"[{ "path": "./uploads" }, { "path": "./notes" }]"#);
    for name in 0..40 {
        world.write(&format!("uploads/{name}.jpg"), "a picture");
    }
    world.write("notes/a", "a note");
    world
}

fn lose(world: &World, names: std::ops::Range<u32>) {
    for name in names {
        fs::remove_file(world.project().join(format!("uploads/{name}.jpg"))).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn far_fewer_files_than_the_last_time_are_no_snapshot_until_that_is_accepted() {
    let world = world();
    assert!(world.backup().await.ok);
    lose(&world, 0..20);
    assert!(world.backup().await.ok, "half of them is the floor");
    lose(&world, 20..31);
    let refused = world.backup().await;
    assert!(!refused.ok);
    let told = refused.because.unwrap_or_default();
    assert!(
        told.contains("uploads has 9 files of 20") && told.contains("--accept-less"),
        "{told}"
    );
    assert_eq!(
        world.head().map(|head| head.generation.0),
        Some(2),
        "nothing was published"
    );
    assert!(!world.backup().await.ok, "nor is it the next time");
    assert!(world.catalogue().accept_less("full").expect("asked"));
    assert!(world.backup().await.ok);
    // Fewer than what has a floor.
    lose(&world, 31..39);
    assert!(world.backup().await.ok);
    assert_eq!(world.head().map(|head| head.generation.0), Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn far_fewer_bytes_are_noticed_too_and_the_floor_is_configured() {
    let mut world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/video", vec![7; 4 << 20]);
    assert!(world.backup().await.ok);
    world.write("uploads/video", vec![7; 1 << 20]);
    assert!(!world.backup().await.ok);
    let set = world.backups.sets.get_mut("full").expect("a set");
    set.floor = "20%".parse().expect("a percentage");
    assert!(world.backup().await.ok);
    world.write("uploads/video", "almost nothing");
    let set = world.backups.sets.get_mut("full").expect("a set");
    set.floor = "0%".parse().expect("a percentage");
    assert!(world.backup().await.ok);
}

#[test]
fn the_command_line_accepts_less_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("compose.yaml", "name: ark\nservices: { web: { image: x } }\n");
    fs::create_dir(folder.path().join("uploads")).expect("made");
    (0..40).for_each(|name| write(&format!("uploads/{name}"), "x"));
    let arkwright = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_arkwright"))
            .args(args)
            .current_dir(folder.path())
            .env("ARKWRIGHT_STATE", folder.path().join("state"))
            .env("DOCKER_HOST", "unix:///nowhere.sock")
            .output()
            .expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let keys = folder.path().join("recovery");
    let (made, said) = arkwright(&["--json", "key", "new", "--recovery", &keys.display().to_string()]);
    assert!(made, "{said}");
    let recipients: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let (recovery, drill) = (
        &recipients["recipients"]["recovery"],
        &recipients["recipients"]["drill"],
    );
    write(
        "arkwright.yaml",
        &format!(
            "backups:\n  recipients: [{recovery}, {drill}]\n  stores: {{ local: {{ path: ./backups }} }}\n  sets: \
             {{ full: {{ floor: 60%, sources: [{{ path: ./uploads }}] }} }}\n"
        ),
    );
    let (first, said) = arkwright(&["backup", "run", "full", "--accept-less"]);
    assert!(first && said.contains("there is no floor"), "{said}");
    (0..30).for_each(|name| fs::remove_file(folder.path().join(format!("uploads/{name}"))).expect("removed"));
    let (refused, said) = arkwright(&["backup", "run", "full"]);
    assert!(!refused && said.contains("under the floor of 60%"), "{said}");
    let (accepted, said) = arkwright(&["backup", "run", "full", "--accept-less"]);
    assert!(accepted, "{said}");
    // With the stack's own two files.
    let (_, shown) = arkwright(&["--json", "backup", "list"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown[0]["snapshots"][1]["totals"]["files"], 12, "{shown}");
}
