use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::faithful::{differences, everything};
use super::support::World;
use super::whole::archive;

/// The lines of the README that restore a snapshot.
fn lines() -> String {
    lines_of("README.md", "## Restoring without Arkwright")
}

fn lines_of(page: &str, section: &str) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("a page");
    let (_, section) = text.split_once(section).expect("the section");
    let (_, block) = section.split_once("```bash\n").expect("a block of commands");
    let (block, _) = block.split_once("```").expect("the block's end");
    block.to_owned()
}

/// Runs them for a generation, in its ten digits.
pub fn by_hand(world: &World, generation: &str, identity: &Path, out: &Path) -> Output {
    run(&lines(), world, generation, identity, out)
}

fn run(lines: &str, world: &World, generation: &str, identity: &Path, out: &Path) -> Output {
    Command::new("bash")
        .args(["-c", lines])
        .env("STORE", world.store_path())
        .env("N", generation)
        .env("IDENTITY", identity)
        .env("KEY", world.keys.signing.with_extension("pub"))
        .env("OUT", out)
        .output()
        .expect("bash is installed")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_documentation_restore_a_snapshot() {
    let world = archive();
    assert!(world.backup().await.ok);
    world.write("uploads/later.txt", "later");
    world.write("uploads/back\\slash", "odd");
    assert!(world.backup().await.ok);
    for (nth, identity) in [&world.recovery, &world.keys.drill].into_iter().enumerate() {
        let out = world.root.path().join(format!("by-hand-{nth}"));
        let done = by_hand(&world, "0000000002", identity, &out);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        compare(&world.project().join("uploads"), &out.join("tree/uploads"));
        assert!(out.join("tree/@stack/compose.yaml").is_file());
        let db = rusqlite::Connection::open(out.join("tree/data/ark.db")).expect("a database");
        let ok: String = db
            .query_row("pragma integrity_check", [], |row| row.get(0))
            .expect("checked");
        assert_eq!(ok, "ok");
        let listing = fs::read_to_string(out.join("listing")).expect("the listing");
        assert!(
            listing
                .lines()
                .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_format_make_what_is_no_plain_file_too() {
    let world = World::new(r#"[{ "path": "./tree" }]"#);
    everything(&world);
    assert!(world.backup().await.ok);
    let out = world.root.path().join("by-hand");
    let lines = lines() + &lines_of("docs/format.md", "## Restoring by hand");
    let done = run(&lines, &world, "0000000001", &world.recovery, &out);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let tree = world.project().join("tree");
    let times = fs::metadata(&tree).expect("there").modified().expect("a time");
    fs::remove_file(tree.join("socket")).expect("removed");
    fs::File::open(&tree)
        .and_then(|tree| tree.set_modified(times))
        .expect("set back");
    assert_eq!(differences(&tree, &out.join("tree/tree")), Vec::<String>::new());
}

/// Every plain file of one folder is in the other, byte for byte.
fn compare(before: &Path, after: &Path) {
    for entry in fs::read_dir(before).expect("a folder") {
        let entry = entry.expect("an entry");
        let there = after.join(entry.file_name());
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => compare(&entry.path(), &there),
            kind if kind.is_file() => {
                let (a, b) = (fs::read(entry.path()).expect("read"), fs::read(&there));
                assert!(b.is_ok_and(|b| a == b), "{}", there.display());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_lines_refuse_a_header_or_a_segment_that_was_changed() {
    let world = archive();
    world.backup().await;
    world.backup().await;
    for object in world.objects() {
        if object.starts_with("man/0000000001") {
            continue;
        }
        let file = world.store_path().join(&object);
        let whole = fs::read(&file).expect("read");
        let used = object.starts_with("man/")
            || fs::read_to_string(world.store_path().join("man/0000000002.json"))
                .expect("a header")
                .contains(&object);
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 4;
        fs::write(&file, changed).expect("written");
        let out = world.root.path().join(object.replace('/', "-"));
        let done = by_hand(&world, "0000000002", &world.recovery, &out);
        assert_eq!(done.status.success(), !used, "{object}");
        fs::write(&file, whole).expect("written");
    }
}
