//! Listings signed by the right key that were made to write where they must not.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::faithful::facts;
use super::support::World;
use arkwright::backup::{Header, Link, MANIFEST_NAMESPACE, ManifestPart, Node, Recipients};
use arkwright::model::{Digest, Generation};
use arkwright::run::keys;
use arkwright::run::restore::{RestoreError, RestoreReport, Selection};
use arkwright::run::snapshots::SnapshotError;
use arkwright::run::verify::{Level, Verdict};

const GENERATION: Generation = Generation(1);

/// A snapshot of one file, `uploads/a`, whose content the listings below use.
async fn world() -> (World, Value) {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a", "content");
    assert!(world.backup().await.ok);
    let listing = world.listing().await;
    let file = listing.entries.iter().find(|entry| matches!(entry.node, Node::File(_)));
    let file = serde_json::to_value(file.expect("a file")).expect("an entry");
    (world, file)
}

/// Seals and signs these entries as the snapshot's listing.
fn replace_listing(world: &World, entries: &[Value]) {
    let file = world.store_path().join(ManifestPart::Header.name(GENERATION));
    let Ok(Header::Snapshot(mut snapshot)) = Header::parse(&fs::read(&file).expect("read"), GENERATION) else {
        panic!("a snapshot");
    };
    let files: Vec<u64> = entries.iter().filter_map(|entry| entry["size"].as_u64()).collect();
    let first = json!({ "listing": 1, "project": "ark", "set": "full", "taken": snapshot.taken });
    let end = json!({ "end": {
        "entries": entries.len(), "files": files.len(), "bytes": files.iter().sum::<u64>(), "sources": [], "notes": [],
    }});
    let recipients = Recipients::parse(&world.backups.recipients).expect("recipients");
    let mut sealed = recipients.seal(Vec::new()).expect("begun");
    for line in [&first].into_iter().chain(entries).chain([&end]) {
        writeln!(sealed, "{line}").expect("written");
    }
    let bytes = sealed.finish().expect("sealed");
    (snapshot.listing.sha256, snapshot.listing.bytes) = (Digest::of(&bytes), bytes.len() as u64);
    fs::write(world.store_path().join(ManifestPart::Listing.name(GENERATION)), bytes).expect("written");
    let header = Header::Snapshot(snapshot).encode().expect("encoded");
    let signer = keys::signer(&world.keys.signing).expect("a key");
    let signature = signer.sign(MANIFEST_NAMESPACE, &header).expect("signed");
    fs::write(&file, &header).expect("written");
    fs::write(
        world.store_path().join(ManifestPart::Signature.name(GENERATION)),
        signature,
    )
    .expect("written");
    let head = Link {
        generation: GENERATION,
        sha256: Digest::of(&header),
    };
    world.catalogue().set_head(&head).expect("remembered");
}

fn file_at(file: &Value, path: &str) -> Value {
    let mut entry = file.clone();
    entry["path"] = path.into();
    entry
}

fn bare(path: &str, kind: &str) -> Value {
    json!({ "path": path, "type": kind, "mode": 0o755, "uid": 0, "gid": 0, "mtime": 0 })
}

fn leading(path: &str, kind: &str, target: &str) -> Value {
    let mut entry = bare(path, kind);
    entry["target"] = target.into();
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_out_of_the_target_is_refused_before_anything_is_written() {
    let (world, file) = world().await;
    let at = |path: &str| file_at(&file, path);
    let mut holed = at("a");
    holed["holes"] = json!([[0, 8]]);
    let mut device = bare("a", "blockdev");
    device["device"] = json!([8]);
    let mut attributes = at("a");
    attributes["xattrs"] = json!({ "": "" });
    for hostile in [
        vec![at("../a")],
        vec![at("/etc/a")],
        vec![at("a/../../b")],
        vec![at("%2E%2E/a")],
        vec![at("a"), at("a")],
        vec![at("a"), at("a/b")],
        vec![leading("a", "symlink", "/etc"), at("a/b")],
        vec![at("a/b"), leading("a", "symlink", "/etc")],
        vec![leading("a", "hardlink", "/etc/passwd")],
        vec![leading("a", "hardlink", "../../etc/passwd")],
        vec![leading("a", "symlink", "/etc/passwd"), leading("b", "hardlink", "a")],
        vec![leading("a", "symlink", "/etc"), leading("b", "hardlink", "a/passwd")],
        vec![leading("b", "hardlink", "a"), at("a")],
        vec![bare("a", "dir"), leading("b", "hardlink", "a")],
        vec![bare("a", "fifo"), at("a/b")],
        vec![holed],
        vec![device],
        vec![attributes],
    ] {
        replace_listing(&world, &hostile);
        let target = world.root.path().join("target");
        let refused = world.restore_with(&target, Selection::Everything, true).await;
        assert!(
            matches!(refused, Err(RestoreError::Snapshot(SnapshotError::Damaged { .. }))),
            "{hostile:?}: {refused:?}"
        );
        assert!(!target.exists(), "{hostile:?}");
        let report = world.verify(Level::Segments).await;
        assert_eq!(report.verdict(), Verdict::Failed, "{hostile:?}");
    }
    replace_listing(&world, &[at("a"), leading("b", "hardlink", "a")]);
    let target = world.root.path().join("target");
    let done = world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!((done.files, done.hardlinks), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_target_does_not_lead_out_of_it() {
    let (world, file) = world().await;
    let entries = [
        bare("d", "dir"),
        file_at(&file, "d/a"),
        leading("d/b", "hardlink", "d/a"),
    ];
    replace_listing(&world, &entries);
    let outside = world.root.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("a"), "mine").expect("written");
    let before = facts(&outside);
    let target = world.root.path().join("target");
    fs::create_dir(&target).expect("made");
    symlink(&outside, target.join("d")).expect("linked");
    for overwrite in [false, true] {
        let refused = world.restore_with(&target, Selection::Everything, overwrite).await;
        assert!(matches!(refused, Err(RestoreError::InTheWay { .. })), "{refused:?}");
    }
    assert_eq!(facts(&outside), before);
    // A link in the place of the file itself is replaced, and not written through.
    fs::remove_file(target.join("d")).expect("removed");
    fs::create_dir(target.join("d")).expect("made");
    symlink(outside.join("a"), target.join("d/a")).expect("linked");
    symlink(outside.join("a"), target.join("d/b")).expect("linked");
    world
        .restore_with(&target, Selection::Everything, true)
        .await
        .expect("restored");
    assert_eq!(facts(&outside), before);
    assert_eq!(fs::read(target.join("d/b")).expect("read"), b"content");
}

/// Paths that lie below each other, in each other's way, or outside.
fn paths() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "b", "c", "a/b", "a/c", "b/a", "a/b/c", "b/c", "c/a", "../a", "/a", "a/../b", "./a", "a//b", "", "%2E%2E",
    ])
}

fn entries(file: Value) -> impl Strategy<Value = Vec<Value>> {
    let targets = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "a/b",
        "../outside",
        "/",
        ".",
        "..",
        "../outside/a",
        "b/a",
    ]);
    let entry = (paths(), 0..6, targets).prop_map(move |(path, kind, target)| match kind {
        0 => bare(path, "dir"),
        1 => file_at(&file, path),
        2 => leading(path, "symlink", target),
        3 => leading(path, "hardlink", target),
        4 => bare(path, "fifo"),
        _ => {
            let mut device = bare(path, "chardev");
            device["device"] = json!([1, 3]);
            device
        }
    });
    prop::collection::vec(entry, 1..6)
}

/// Whether the tree is what the entries say, or was not begun.
fn is_right(target: &Path, entries: &[Value], done: &Result<RestoreReport, RestoreError>) -> bool {
    let there: Vec<_> = match target.exists() {
        true => facts(target)
            .into_keys()
            .filter(|path| !path.as_os_str().is_empty())
            .collect(),
        false => Vec::new(),
    };
    match done {
        // What is refused as a listing is refused before the first byte.
        Err(RestoreError::Snapshot(_)) => there.is_empty(),
        Err(_) => true,
        Ok(_) => there.iter().all(|path| {
            let listed = |entry: &Value| {
                entry["path"]
                    .as_str()
                    .is_some_and(|listed| Path::new(listed).starts_with(path))
            };
            entries.iter().any(listed)
        }),
    }
}

#[test]
fn no_listing_writes_outside_the_target() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (world, file) = runtime.block_on(world());
    let outside = world.root.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("a"), "mine").expect("written");
    let before = facts(&outside);
    let (restored, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(300));
    let links = prop::option::of((prop::sample::select(vec!["a", "b", "c"]), 0..2));
    runner
        .run(&(entries(file), links, any::<bool>()), |(entries, link, overwrite)| {
            let target = world.root.path().join("target");
            if target.exists() {
                fs::remove_dir_all(&target)?;
            }
            // Something may lie in the target already that leads out of it.
            let leads_out = link.is_some();
            if let Some((name, kind)) = link {
                fs::create_dir(&target)?;
                symlink(
                    if kind == 0 { outside.clone() } else { outside.join("a") },
                    target.join(name),
                )?;
            }
            replace_listing(&world, &entries);
            let done = runtime.block_on(world.restore_with(&target, Selection::Everything, overwrite));
            prop_assert_eq!(&facts(&outside), &before, "{:?}", entries);
            prop_assert!(
                leads_out || is_right(&target, &entries, &done),
                "{:?}: {:?}",
                entries,
                done
            );
            match done {
                Ok(_) => restored.set(restored.get() + 1),
                Err(_) => refused.set(refused.get() + 1),
            }
            Ok(())
        })
        .expect("nothing outside was touched");
    let (restored, refused) = (restored.get(), refused.get());
    assert!(restored > 10 && refused > 10, "{restored} restored, {refused} refused");
}
