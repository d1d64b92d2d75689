use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use arkwright::state::{Catalogue, HostLock, ProjectFolder};
use serde_json::Value;

use super::support::World;
use super::whole::archive;

fn arkwright(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(args)
        .current_dir(folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .output()
        .expect("the binary runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// The arguments that read a store with nothing else of its project.
fn from(world: &World, rest: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = ["--json", "backup"]
        .iter()
        .chain(rest)
        .map(|arg| (*arg).to_owned())
        .collect();
    for (name, path) in [
        ("--from", world.store_path()),
        ("--public-key", world.keys.signing.with_extension("pub")),
        ("--identity", world.recovery.clone()),
    ] {
        args.extend([name.to_owned(), path.display().to_string()]);
    }
    args
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_read_on_another_host_with_the_recovery_identity_alone() {
    let world = archive();
    world.backup().await;
    let elsewhere = tempfile::tempdir().expect("a folder");
    let run = |rest: &[&str]| {
        let args = from(&world, rest);
        arkwright(elsewhere.path(), &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let listed = json(&run(&["list"]));
    assert_eq!(listed[0]["snapshots"][0]["generation"], 1);
    let shown = json(&run(&["show", "full", "--files"]));
    assert_eq!(shown["listing"]["sources"][0]["rows"]["photo"], 2);
    assert!(shown["entries"].as_array().is_some_and(|entries| entries.len() > 10));
    let verified = run(&["verify"]);
    assert_eq!(code(&verified), 0, "{verified:?}");
    let restored = run(&["restore", "1", "--to", "here"]);
    assert_eq!(code(&restored), 0, "{restored:?}");
    assert!(elsewhere.path().join("here/uploads/notes.txt").is_file());
    let again = run(&["restore", "full", "--to", "here"]);
    assert_eq!(code(&again), 5, "nothing is written over: {again:?}");
    let part = run(&["restore", "full", "--to", "part", "--path", "uploads/100%25%0A line"]);
    assert_eq!(code(&part), 0, "{part:?}");
    assert_eq!(code(&run(&["restore", "full", "--to", "x", "--path", "nothing"])), 8);
    assert_eq!(code(&run(&["show", "9"])), 8);
    assert_eq!(code(&run(&["show", "other"])), 8);
    // One changed byte: the exit code says damaged, the message names the object.
    let object = world
        .objects()
        .into_iter()
        .find(|name| name.starts_with("seg/"))
        .expect("a segment");
    let file = world.store_path().join(&object);
    let mut bytes = fs::read(&file).expect("read");
    bytes[300] ^= 1;
    fs::write(&file, bytes).expect("written");
    let verified = run(&["verify", "--level", "objects"]);
    assert_eq!(code(&verified), 7);
    assert_eq!(json(&verified)[0]["damaged"][0]["object"], object.as_str());
    let restored = run(&["restore", "full", "--to", "damaged"]);
    assert_eq!(code(&restored), 7);
    assert!(String::from_utf8_lossy(&restored.stderr).contains(&object));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_files_of_one_content_than_may_be_open_are_restored() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    for name in 0..300 {
        world.write(&format!("uploads/{name}.jpg"), "the same picture");
    }
    assert!(world.backup().await.ok);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let restored = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 100 && exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_arkwright"),
        ])
        .args(from(&world, &["restore", "1", "--to", "here"]))
        .current_dir(elsewhere.path())
        .output()
        .expect("the binary runs");
    assert_eq!(code(&restored), 0, "{restored:?}");
    assert_eq!(json(&restored)["files"], 300);
    for name in 0..300 {
        let file = elsewhere.path().join(format!("here/uploads/{name}.jpg"));
        assert_eq!(fs::read_to_string(file).expect("there"), "the same picture");
    }
}

#[test]
fn keys_are_made_by_a_verb_and_never_written_over() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("compose.yaml"),
        "name: ark\nservices: { web: { image: x } }\n",
    )
    .expect("written");
    let made = arkwright(folder.path(), &["--json", "key", "new", "--recovery", "recovery"]);
    assert_eq!(code(&made), 0, "{made:?}");
    let text = json(&made);
    assert!(
        text["recipients"]["recovery"]
            .as_str()
            .is_some_and(|key| key.starts_with("age1"))
    );
    assert!(text.get("recovery_identity").is_none());
    assert!(folder.path().join("state/ark/keys/signing.pub").is_file());
    let again = arkwright(folder.path(), &["key", "new"]);
    assert_eq!(code(&again), 3, "{again:?}");
    fs::remove_dir_all(folder.path().join("state")).expect("removed");
    let shown = arkwright(folder.path(), &["key", "new"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        text.contains("AGE-SECRET-KEY-1") && text.contains("off this host"),
        "{text}"
    );
}

#[test]
fn a_project_without_backups_or_keys_is_told_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("compose.yaml"),
        "name: ark\nservices: { web: { image: x } }\n",
    )
    .expect("written");
    fs::write(folder.path().join("arkwright.yaml"), "{}\n").expect("written");
    let listed = arkwright(folder.path(), &["backup", "list"]);
    assert_eq!(code(&listed), 3);
    assert!(String::from_utf8_lossy(&listed.stderr).contains("arkwright init"));
    let text =
        "backups: { recipients: [age1x], stores: { local: { path: b } }, sets: { s: { sources: [{ path: u }] } } }\n";
    fs::write(folder.path().join("arkwright.yaml"), text).expect("written");
    let listed = arkwright(folder.path(), &["backup", "list"]);
    assert_eq!(code(&listed), 3);
    assert!(
        String::from_utf8_lossy(&listed.stderr).contains("arkwright key new"),
        "{listed:?}"
    );
    assert_eq!(
        code(&arkwright(folder.path(), &["key", "new", "--recovery", "recovery"])),
        0
    );
    let unknown = arkwright(folder.path(), &["backup", "run", "nothing"]);
    assert_eq!(code(&unknown), 3, "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no backup set `nothing`"));
}

#[test]
fn a_loss_is_accepted_for_the_stores_of_the_sets_named_and_only_where_something_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    let run = |args: &[&str]| arkwright(folder.path(), args);
    let made = json(&{
        fs::write(at("compose.yaml"), "name: ark\nservices: { web: { image: x } }\n").expect("written");
        run(&["--json", "key", "new", "--recovery", "recovery"])
    });
    let recipient = made["recipients"]["recovery"].as_str().expect("a key");
    let text = format!(
        "backups:\n  recipients: [{recipient}]\n  stores: {{ a: {{ path: a }}, b: {{ path: b }}, c: {{ path: c }} }}\n  sets:\n    \
         one: {{ sources: [{{ path: data }}], stores: [a, c] }}\n    two: {{ sources: [{{ path: data }}], stores: [b] }}\n"
    );
    fs::write(at("arkwright.yaml"), text).expect("written");
    fs::create_dir(at("data")).expect("made");
    fs::write(at("data/file"), "x").expect("written");
    let taken = run(&["backup", "run"]);
    assert_eq!(code(&taken), 0, "{taken:?}");
    for store in ["a", "b"] {
        fs::remove_file(at(store).join("man/0000000001.json")).expect("removed");
    }
    let state = || ProjectFolder::open(&at("state"), &"ark".parse().expect("a name")).expect("a state");
    let head = |store: &str| {
        let catalogue = Catalogue::open(&state().catalogue(), store).expect("a catalogue");
        catalogue.head().expect("read").map(|head| head.generation.0)
    };
    // Nothing is dropped for a set that is not there, nor while somebody else is at work.
    let unknown = run(&["backup", "run", "three", "--begin-again"]);
    assert_eq!(code(&unknown), 3, "{unknown:?}");
    let held = HostLock::take(&state().lock(), "a test").expect("the lock");
    let busy = run(&["backup", "run", "one", "--begin-again"]);
    assert_eq!(code(&busy), 6, "{busy:?}");
    drop(held);
    assert_eq!((head("a"), head("b"), head("c")), (Some(1), Some(1), Some(1)));
    let again = run(&["backup", "run", "one", "--begin-again"]);
    assert_eq!(code(&again), 0, "{again:?}");
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("a has lost man/0000000001.json"), "{said}");
    assert!(said.contains("c has snapshot 1 still"), "{said}");
    assert!(head("a").is_some_and(|head| head > 1), "published anew");
    let other = run(&["backup", "run", "two"]);
    assert!(
        code(&other) != 0 && format!("{other:?}").contains("has lost man/0000000001.json"),
        "{other:?}"
    );
    assert_eq!(head("b"), Some(1));
}

#[test]
fn what_keep_does_not_ask_for_is_told_and_removed_when_that_is_confirmed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    let run = |args: &[&str]| arkwright(folder.path(), args);
    fs::write(at("compose.yaml"), "name: ark\nservices: { web: { image: x } }\n").expect("written");
    let made = json(&run(&["--json", "key", "new", "--recovery", "recovery"]));
    let key = |name: &str| made["recipients"][name].as_str().expect("a key").to_owned();
    let text = format!(
        "timezone: Asia/Taipei\nbackups:\n  recipients: [{}, {}]\n  stores: {{ a: {{ path: a }}, b: {{ path: b }} }}\n  \
         prune: {{ wait: 0s }}\n  sets:\n    one: {{ sources: [{{ path: data }}], keep: {{ last: 1 }} }}\n    \
         two: {{ sources: [{{ path: data }}], stores: [b], keep: {{ last: 1 }} }}\n",
        key("recovery"),
        key("drill")
    );
    fs::write(at("arkwright.yaml"), &text).expect("written");
    fs::create_dir(at("data")).expect("made");
    for words in ["first", "second, longer"] {
        fs::write(at("data/words"), words).expect("written");
        fs::write(at(&format!("data/{}", words.len())), words).expect("written");
        let taken = run(&["backup", "run"]);
        assert_eq!(code(&taken), 0, "{taken:?}");
    }
    // b has generations 1 and 3 of one, 2 and 4 of two; a has 1 and 2 of one.
    let shown = json(&run(&["--json", "backup", "show", "--store", "b", "--diff", "1", "3"]));
    let told = |shown: &Value| {
        let differences = shown["differences"].as_array().expect("a list");
        let one = |d: &Value| {
            format!(
                "{} {}",
                d["change"].as_str().unwrap_or("?"),
                d["path"].as_str().unwrap_or("?")
            )
        };
        differences.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(told(&shown), ["added data/14", "changed data/words"]);
    assert_eq!(
        (&shown["differences"][1]["before"], &shown["differences"][1]["after"]),
        (&5.into(), &14.into())
    );
    let back = json(&run(&[
        "--json", "backup", "show", "--store", "b", "--diff", "one", "1",
    ]));
    assert_eq!(told(&back), ["removed data/14", "changed data/words"]);
    let text = run(&["backup", "show", "--store", "b", "--diff", "1", "3"]);
    assert!(
        String::from_utf8_lossy(&text.stdout).contains("1 (14 B) added, 0 (0 B) removed, 1 (14 B) changed"),
        "{text:?}"
    );
    assert_eq!(code(&run(&["backup", "show"])), 2);
    assert_eq!(code(&run(&["backup", "show", "1", "--diff", "1", "3"])), 2);
    assert_eq!(code(&run(&["backup", "show", "--diff", "1", "9"])), 8);

    let objects = |store: &str| {
        let count = |inner: &str| fs::read_dir(at(store).join(inner)).expect("a folder").count();
        (count("man"), count("seg"))
    };
    let before = (objects("a"), objects("b"));
    assert_eq!(code(&run(&["backup", "prune", "--set", "three"])), 3);
    assert_eq!(code(&run(&["backup", "prune", "--store", "c"])), 3);
    let dry = json(&run(&["--json", "backup", "prune", "--dry-run"]));
    let going = |of: &Value| {
        let snapshots = of["snapshots"].as_array().expect("a list").iter();
        let gone = snapshots.filter(|s| s["stays"].as_array().is_some_and(|why| why.is_empty()));
        gone.map(|s| s["generation"].as_u64().expect("a number"))
            .collect::<Vec<_>>()
    };
    assert_eq!((going(&dry[0]), going(&dry[1])), (vec![1], vec![1, 2]), "{dry}");
    let told = run(&["backup", "prune", "--dry-run"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("Asia/Taipei") && told.contains("stays: newest, last"),
        "{told}"
    );
    let unconfirmed = run(&["backup", "prune"]);
    assert_eq!(code(&unconfirmed), 2, "{unconfirmed:?}");
    assert!(String::from_utf8_lossy(&unconfirmed.stderr).contains("--dry-run"));
    assert_eq!((objects("a"), objects("b")), before, "nothing was changed");

    // While a backup is at work it waits.
    let state = ProjectFolder::open(&at("state"), &"ark".parse().expect("a name")).expect("a state");
    let held = HostLock::take(&state.backup_lock(), "a backup").expect("the lock");
    let pruned = std::thread::scope(|scope| {
        let pruning = scope.spawn(|| run(&["--json", "backup", "prune", "--set", "two", "--yes"]));
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!pruning.is_finished());
        assert_eq!((objects("a"), objects("b")), before, "it waits");
        drop(held);
        pruning.join().expect("it ran")
    });
    assert_eq!(code(&pruned), 0, "{pruned:?}");
    assert!(
        String::from_utf8_lossy(&pruned.stderr).contains("is at work on this project"),
        "{pruned:?}"
    );
    let pruned = json(&pruned);
    assert_eq!((going(&pruned[0]), going(&pruned[1])), (vec![], vec![2]), "{pruned}");
    assert_eq!(pruned[1]["receipt"]["detail"]["removed"], 1);
    let pruned = run(&["backup", "prune", "--yes"]);
    assert_eq!(code(&pruned), 0, "{pruned:?}");
    assert!(
        String::from_utf8_lossy(&pruned.stdout).contains("prune b: pruned"),
        "{pruned:?}"
    );
    let listed = json(&run(&["--json", "backup", "list"]));
    let kinds = |of: &Value| {
        let lines = of["snapshots"].as_array().expect("a list").iter();
        lines
            .map(|line| format!("{} {}", line["generation"], line["kind"].as_str().unwrap_or("?")))
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(&listed[0]), ["2 snapshot", "3 tombstone"], "{listed}");
    assert_eq!(
        kinds(&listed[1]),
        ["3 snapshot", "4 snapshot", "5 tombstone", "6 tombstone"],
        "{listed}"
    );
    let verified = run(&["backup", "verify"]);
    assert_eq!(code(&verified), 0, "{verified:?}");
    let history = json(&run(&["--json", "history", "--kind", "prune"]));
    assert_eq!(history.as_array().map(Vec::len), Some(4), "{history}");
    assert_eq!(code(&run(&["backup", "run"])), 0);
    assert_eq!(code(&run(&["backup", "restore", "one", "--to", "back"])), 0);
    assert_eq!(
        fs::read_to_string(at("back/data/words")).expect("there"),
        "second, longer"
    );

    // A store that lost something is not pruned, and says so.
    fs::remove_file(at("a").join("man/0000000002.json")).expect("removed");
    let refused = run(&["backup", "prune", "--store", "a", "--yes"]);
    assert_eq!(code(&refused), 7, "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("man/0000000002.json"),
        "{refused:?}"
    );
    fs::write(at("arkwright.yaml"), text_with_bad_prune(&made)).expect("written");
    let refused = run(&["backup", "prune", "--dry-run"]);
    assert_eq!(code(&refused), 3, "{refused:?}");
}

fn text_with_bad_prune(made: &Value) -> String {
    let key = made["recipients"]["recovery"].as_str().expect("a key");
    format!(
        "backups:\n  recipients: [{key}]\n  stores: {{ a: {{ path: a }} }}\n  prune: {{ schedule: never }}\n  \
         sets: {{ one: {{ sources: [{{ path: data }}] }} }}\n"
    )
}
