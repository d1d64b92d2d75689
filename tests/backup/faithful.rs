//! A tree with everything a file system holds in it, and the same tree restored: on the disk and in memory, as root.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::support::World;
use arkwright::backup::{EntryPath, Node};
use arkwright::model::Digest;
use arkwright::run::restore::Selection;
use arkwright::run::verify::{Level, Verdict};

const SOURCES: &str = r#"[{ "path": "./tree" }]"#;

fn path(text: &str) -> EntryPath {
    text.parse().expect("a path")
}

/// What the kernel keeps of an ACL: its owner and one more user may read and write.
fn acl(other_user: u32) -> Vec<u8> {
    let entry = |tag: u16, permissions: u16, id: u32| {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    [
        2u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 6, other_user),
        entry(4, 5, none),
        entry(0x10, 7, none),
        entry(0x20, 0, none),
    ]
    .concat()
}

/// `cap_net_bind_service` as a file has it (revision 2).
fn capability() -> Vec<u8> {
    [0x0200_0001u32, 1 << 10, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|e| panic!("{name}: {e}"));
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

fn time(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
}

fn node(path: &Path, kind: FileType, device: (u32, u32)) {
    let device = rustix::fs::makedev(device.0, device.1);
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device).expect("made by root");
}

fn sparse(path: &Path, size: u64, data: &[(u64, &[u8])]) {
    let file = File::create(path).expect("made");
    file.set_len(size).expect("lengthened");
    for (at, bytes) in data {
        file.write_all_at(bytes, *at).expect("written");
    }
    file.sync_all().expect("synced");
}

pub fn everything(world: &World) {
    let root = world.project().join("tree");
    world.write("compose.yaml", "services: {}\n");
    for folder in ["deep/er", "empty", "shared", "sticky", "links/a", "links/b"] {
        fs::create_dir_all(root.join(folder)).expect("made");
    }
    let file = |name: &str, content: &[u8]| {
        let path = root.join(name);
        fs::write(&path, content).expect("written");
        path
    };
    // Owners, modes, times.
    let owned = file("deep/er/owned", b"of somebody else");
    chown(&owned, Some(1234), Some(4321)).expect("given away");
    for (name, bits) in [
        ("set-uid", 0o4755),
        ("set-gid", 0o2711),
        ("none", 0o000),
        ("all", 0o777),
    ] {
        let path = file(name, name.as_bytes());
        chown(&path, Some(1), Some(2)).expect("given away");
        mode(&path, bits);
    }
    mode(&root.join("sticky"), 0o1777);
    mode(&root.join("empty"), 0o2550);
    time(&file("old", b"before 1970"), -86_400, 999_999_999);
    time(&file("fine", b"to the nanosecond"), 1_700_000_000, 123_456_789);
    // Extended attributes and ACLs.
    let rich = file("rich", b"attributes");
    xattr(&rich, "user.comment", b"a \xff comment");
    xattr(&rich, "user.empty", b"");
    xattr(&rich, "user.100% \"odd\"", b"x");
    xattr(&rich, "trusted.note", &[7; 700]);
    xattr(&rich, "security.capability", &capability());
    xattr(&rich, "system.posix_acl_access", &acl(1001));
    let shared = root.join("shared");
    xattr(&shared, "system.posix_acl_access", &acl(1002));
    xattr(&shared, "system.posix_acl_default", &acl(1003));
    xattr(&shared, "user.folder", b"too");
    file("shared/inherits", b"an ACL from its folder");
    let bare = file("shared/bare", b"no ACL although its folder gives one");
    rustix::fs::removexattr(&bare, "system.posix_acl_access").expect("taken off");
    // Names.
    for name in [
        &b"caf\xe9"[..],
        b"100%\n line",
        b"-rf",
        b" ",
        b"quote\"back\\slash",
        &[b'n'; 255],
    ] {
        fs::write(root.join(OsStr::from_bytes(name)), name).expect("written");
    }
    // Links.
    symlink("deep/er/owned", root.join("link")).expect("linked");
    lchown(root.join("link"), Some(7), Some(8)).expect("given away");
    xattr(&root.join("link"), "trusted.link", b"on the link itself");
    time(&root.join("link"), 1_600_000_000, 1);
    symlink(OsStr::from_bytes(b"/nowhere/\xff"), root.join("links/broken")).expect("linked");
    let first = file("links/a/one", b"three names");
    mode(&first, 0o640);
    xattr(&first, "user.names", b"3");
    fs::hard_link(&first, root.join("links/b/two")).expect("linked");
    fs::hard_link(&first, root.join("links/zz three")).expect("linked");
    let large = file("links/large", &[9; 9 << 20]);
    fs::hard_link(&large, root.join("links/larger")).expect("linked");
    // The same content twice, which is no link.
    file("links/same", b"three names");
    // Holes.
    sparse(&root.join("hole"), 1 << 20, &[]);
    sparse(&root.join("middle"), 3 << 20, &[(1 << 20, &[1; 8192])]);
    sparse(
        &root.join("ends"),
        12 << 20,
        &[(0, &[2; 4096]), ((12 << 20) - 5, b"last!")],
    );
    let holed = root.join("holed and linked");
    sparse(&holed, 1 << 20, &[(4096, b"x")]);
    fs::hard_link(&holed, root.join("holed again")).expect("linked");
    sparse(&root.join("same as middle"), 3 << 20, &[(1 << 20, &[1; 8192])]);
    file("zeros", &[0; 1 << 20]);
    // What is neither file nor folder.
    node(&root.join("pipe"), FileType::Fifo, (0, 0));
    mode(&root.join("pipe"), 0o622);
    xattr(&root.join("pipe"), "trusted.pipe", b"x");
    node(&root.join("null"), FileType::CharacterDevice, (1, 3));
    mode(&root.join("null"), 0o666);
    node(&root.join("loop"), FileType::BlockDevice, (7, 0));
    chown(root.join("loop"), Some(0), Some(6)).expect("given away");
    drop(UnixListener::bind(root.join("socket")).expect("bound"));
    time(&root.join("deep"), 1_500_000_000, 5);
    time(&root, 1_400_000_000, 4);
}

/// Everything below a folder and the folder itself, with all the system says of it but inode and change time.
pub fn facts(folder: &Path) -> BTreeMap<PathBuf, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut names: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    look(folder, folder, &mut found, &mut names);
    for group in names.into_values() {
        for path in &group {
            found.entry(path.clone()).or_default().push(format!("names {group:?}"));
        }
    }
    found
}

fn look(root: &Path, path: &Path, found: &mut BTreeMap<PathBuf, Vec<String>>, names: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let meta = fs::symlink_metadata(path).expect("there");
    let kind = meta.file_type();
    let inner = path.strip_prefix(root).expect("below").to_path_buf();
    let mut facts = vec![
        format!("mode {:o}", meta.mode()),
        format!("owner {}:{}", meta.uid(), meta.gid()),
        format!("time {}.{:09}", meta.mtime(), meta.mtime_nsec()),
        format!("device {}", meta.rdev()),
        format!("attributes {}", spelled(&xattrs(path))),
    ];
    if kind.is_dir() {
        for child in fs::read_dir(path).expect("a folder") {
            look(root, &child.expect("an entry").path(), found, names);
        }
    } else {
        facts.push(format!("size {} links {}", meta.len(), meta.nlink()));
        names.entry(meta.ino()).or_default().push(inner.clone());
        names.values_mut().for_each(|group| group.sort());
    }
    if kind.is_file() {
        facts.push(format!("blocks {}", meta.blocks()));
        facts.push(Digest::of(&fs::read(path).expect("read")).to_string());
    }
    if kind.is_symlink() {
        facts.push(format!("to {:?}", fs::read_link(path).expect("a link")));
    }
    found.insert(inner, facts);
}

fn spelled(xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let spelled = xattrs
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()));
    spelled.collect::<Vec<_>>().join(" ")
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list[..]).expect("listed");
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("read");
        value.truncate(length);
        value
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

/// The differences, none when one is the other.
pub fn differences(before: &Path, after: &Path) -> Vec<String> {
    let (before, after) = (facts(before), facts(after));
    let mut told = Vec::new();
    for (path, facts) in &before {
        match after.get(path) {
            None => told.push(format!("{path:?} is missing")),
            Some(other) => told.extend(
                facts
                    .iter()
                    .zip(other)
                    .filter(|(a, b)| a != b)
                    .map(|(a, b)| format!("{path:?}: {a} became {b}")),
            ),
        }
    }
    told.extend(
        after
            .keys()
            .filter(|path| !before.contains_key(*path))
            .map(|path| format!("{path:?} is new")),
    );
    told
}

async fn comes_back_the_same(below: &Path) {
    assert!(
        rustix::process::geteuid().is_root(),
        "only root makes devices and gives files away"
    );
    let world = World::below(below, SOURCES);
    everything(&world);
    let root = world.project().join("tree");
    let receipt = world.backup().await;
    assert!(receipt.ok, "{receipt:?}");
    let report = world.verify(Level::Files).await;
    assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
    let told = report
        .checks
        .iter()
        .find(|check| check.name == "listings open")
        .expect("checked");
    for kind in ["4 hard links", "1 named pipes", "2 devices", "5 with holes"] {
        assert!(told.detail.contains(kind), "{kind}: {}", told.detail);
    }
    let listing = world.listing().await;
    assert_eq!(listing.closing.notes, ["tree/socket was left out: it is a socket"]);

    let target = world.root.path().join("restored");
    let done = world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!(done.notes, Vec::<String>::new());
    assert_eq!((done.hardlinks, done.specials, done.xattrs_lost), (4, 3, 0));
    fs::remove_file(root.join("socket")).expect("removed");
    time(&root, 1_400_000_000, 4);
    assert_eq!(differences(&root, &target.join("tree")), Vec::<String>::new());

    // Again over what is there, after all of it was changed.
    for name in ["rich", "pipe", "null", "link", "links/zz three"] {
        fs::remove_file(target.join("tree").join(name)).expect("removed");
        fs::write(target.join("tree").join(name), "another").expect("written");
    }
    mode(&target.join("tree/shared"), 0o700);
    world
        .restore_with(&target, Selection::Everything, true)
        .await
        .expect("restored");
    assert_eq!(differences(&root, &target.join("tree")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_tree_comes_back_the_same_on_the_disk() {
    comes_back_the_same(Path::new(env!("CARGO_TARGET_TMPDIR"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_tree_comes_back_the_same_in_memory() {
    let memory = Path::new("/dev/shm");
    let found = rustix::fs::statfs(memory).expect("a file system");
    assert_eq!(found.f_type, 0x0102_1994, "a tmpfs");
    comes_back_the_same(memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acl_of_the_folder_restored_to_is_not_passed_on() {
    let world = World::new(SOURCES);
    everything(&world);
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    fs::create_dir(&target).expect("made");
    xattr(&target, "system.posix_acl_default", &acl(999));
    world.restore(&target, Selection::Everything).await.expect("restored");
    fs::remove_file(world.project().join("tree/socket")).expect("removed");
    time(&world.project().join("tree"), 1_400_000_000, 4);
    assert_eq!(
        differences(&world.project().join("tree"), &target.join("tree")),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_of_a_file_is_restored_without_the_others() {
    let world = World::new(SOURCES);
    everything(&world);
    assert!(world.backup().await.ok);
    let listing = world.listing().await;
    let last = listing
        .entries
        .iter()
        .find(|entry| entry.path == path("tree/links/zz three"));
    assert_eq!(
        last.map(|entry| &entry.node),
        Some(&Node::Hardlink(path("tree/links/a/one")))
    );
    let target = world.root.path().join("one");
    let selection = Selection::Path(path("tree/links/b"));
    world.restore(&target, selection).await.expect("restored");
    let two = target.join("tree/links/b/two");
    assert_eq!(fs::read(&two).expect("read"), b"three names");
    assert_eq!(xattrs(&two)[&b"user.names"[..]], b"3");
    assert_eq!(fs::metadata(&two).expect("there").nlink(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_included_is_kept_with_the_folders_it_lies_in() {
    let world = World::new(r#"[{ "path": "./tree", "include": ["photos", "/notes/*.txt"], "exclude": ["*.tmp"] }]"#);
    for name in [
        "photos/2024/a.jpg",
        "photos/x.tmp",
        "notes/a.txt",
        "notes/a.jpg",
        "other/deep/photos/b.jpg",
        "none/c",
    ] {
        world.write(&format!("tree/{name}"), name);
    }
    fs::create_dir_all(world.project().join("tree/photos/empty")).expect("made");
    assert!(world.backup().await.ok);
    let listing = world.listing().await;
    let paths: Vec<&str> = listing.entries.iter().map(|entry| entry.path.as_str()).collect();
    let expected = [
        "tree",
        "tree/notes",
        "tree/notes/a.txt",
        "tree/other",
        "tree/other/deep",
        "tree/other/deep/photos",
        "tree/other/deep/photos/b.jpg",
        "tree/photos",
        "tree/photos/2024",
        "tree/photos/2024/a.jpg",
        "tree/photos/empty",
    ];
    assert_eq!(paths, expected);
    let none = World::new(r#"[{ "path": "./tree", "include": ["*.png"] }]"#);
    none.write("tree/a.jpg", "x");
    assert!(!none.backup().await.ok, "a source without a file is no backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_keep_a_file_of_both_once() {
    let world = World::new(r#"[{ "path": "./a" }, { "path": "./b" }]"#);
    let first = world.write("a/one", "the same file");
    fs::create_dir(world.project().join("b")).expect("made");
    fs::hard_link(&first, world.project().join("b/two")).expect("linked");
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    let done = world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!((done.files, done.hardlinks), (1, 1));
    let inode = |path: &str| fs::metadata(target.join(path)).expect("there").ino();
    assert_eq!(inode("a/one"), inode("b/two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_left_out_unless_they_are_asked_for() {
    let world = World::new(SOURCES);
    everything(&world);
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    let done = world
        .restore_as(&target, Selection::Everything, false, false)
        .await
        .expect("restored");
    assert_eq!((done.specials, done.devices_left_out), (1, 2));
    assert_eq!(
        done.notes,
        ["2 device nodes were left out; --devices makes them, as root"]
    );
    assert!(!target.join("tree/null").exists() && !target.join("tree/loop").exists());
    let pipe = fs::symlink_metadata(target.join("tree/pipe")).expect("there");
    assert!(pipe.file_type().is_fifo());
}

fn for_everybody(path: &Path) {
    let meta = fs::symlink_metadata(path).expect("there");
    if meta.is_dir() {
        mode(path, 0o755);
        for child in fs::read_dir(path).expect("a folder") {
            for_everybody(&child.expect("an entry").path());
        }
    } else if meta.is_file() {
        mode(path, 0o644);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_not_root_gets_all_but_what_only_root_can_give() {
    const NOBODY: u32 = 65534;
    let world = World::new(SOURCES);
    everything(&world);
    assert!(world.backup().await.ok);
    for_everybody(&world.store_path());
    let here = |name: &str| world.root.path().join(name);
    mode(world.root.path(), 0o755);
    fs::copy(world.keys.signing.with_extension("pub"), here("signing.pub")).expect("copied");
    for name in ["signing.pub", "recovery"] {
        mode(&here(name), 0o644);
    }
    fs::copy(env!("CARGO_BIN_EXE_arkwright"), here("arkwright")).expect("copied");
    mode(&here("arkwright"), 0o755);
    fs::create_dir(here("home")).expect("made");
    chown(here("home"), Some(NOBODY), Some(NOBODY)).expect("given away");
    let restore = |to: &str, more: &[&str]| {
        let mut command = Command::new(here("arkwright"));
        command
            .args(["--json", "backup", "restore", "full", "--to", to])
            .args(more);
        for (name, path) in [
            ("--from", "backups"),
            ("--public-key", "signing.pub"),
            ("--identity", "recovery"),
        ] {
            command.arg(name).arg(here(path));
        }
        let output = command
            .current_dir(here("home"))
            .env_clear()
            .uid(NOBODY)
            .gid(NOBODY)
            .output();
        output.expect("the binary runs")
    };
    let refused = restore("devices", &["--devices"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("only root can make device nodes"),
        "{told}"
    );
    let begun = fs::read_dir(here("home/devices")).map_or(0, Iterator::count);
    assert_eq!(begun, 0, "nothing was written");

    let done = restore("whole", &[]);
    assert!(done.status.success(), "{done:?}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    // trusted.* of a file, a link and a pipe, and a file's capabilities.
    assert_eq!(
        (&report["xattrs_lost"], &report["devices_left_out"]),
        (&4.into(), &2.into())
    );
    assert_eq!((&report["hardlinks"], &report["specials"]), (&4.into(), &1.into()));
    let notes = report["notes"].to_string();
    for told in [
        "owners were not set",
        "3 set-id modes were given without those bits",
        "4 extended attributes",
    ] {
        assert!(notes.contains(told), "{told}: {notes}");
    }
    let whole = here("home/whole/tree");
    assert_eq!(
        fs::metadata(whole.join("set-uid")).expect("there").mode() & 0o7777,
        0o755
    );
    assert_eq!(xattrs(&whole.join("rich"))[&b"user.comment"[..]], b"a \xff comment");
    assert_eq!(xattrs(&whole.join("rich"))[&b"system.posix_acl_access"[..]], acl(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_the_target_does_not_take_are_told_and_the_rest_is_finished() {
    let world = World::new(SOURCES);
    let file = world.write("tree/deep/file", "content");
    let deep = file.parent().expect("a folder");
    for name in ["one", "two"] {
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(
            CWD,
            deep.join(name),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o644),
            device,
        )
        .expect("made");
    }
    symlink("file", deep.join("zlink")).expect("linked");
    mode(deep, 0o751);
    assert!(world.backup().await.ok);
    // Root of a user namespace, who makes no devices.
    let restore = |to: &Path| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_arkwright")])
            .args(["--json", "backup", "restore", "full", "--devices", "--to"])
            .arg(to)
            .arg("--from")
            .arg(world.store_path())
            .arg("--public-key")
            .arg(world.keys.signing.with_extension("pub"))
            .arg("--identity")
            .arg(world.root.path().join("recovery"));
        command.current_dir(world.root.path()).output().expect("unshare runs")
    };
    let finished = |to: &Path| {
        let folder = to.join("tree/deep");
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o7777, 0o751);
        assert_eq!(fs::read_link(folder.join("zlink")).expect("there"), Path::new("file"));
    };
    let to = world.root.path().join("whole");
    let done = restore(&to);
    assert!(done.status.success(), "{done:?}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(
        (&report["nodes_lost"], &report["specials"], &report["links"]),
        (&2.into(), &0.into(), &1.into())
    );
    let told = "2 links, named pipes or devices could not be made, such as ";
    let notes = report["notes"].to_string();
    assert!(notes.contains(told) && notes.contains("tree/deep/one"), "{notes}");
    finished(&to);

    let objects = world.objects();
    let segment = objects.iter().find(|name| name.starts_with("seg/")).expect("a segment");
    fs::remove_file(world.store_path().join(segment)).expect("removed");
    let to = world.root.path().join("damaged");
    let done = restore(&to);
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains(segment) && said.contains(told), "{said}");
    finished(&to);
}
