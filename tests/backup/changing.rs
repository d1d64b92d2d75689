//! Files that grow, change, are replaced and vanish while they are read.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::support::World;
use arkwright::backup::Node;
use arkwright::model::Digest;
use arkwright::run::restore::Selection;
use arkwright::run::verify::{Level, Verdict};

/// Does something over and over until it is dropped.
struct Restless {
    stop: Arc<AtomicBool>,
    task: Option<JoinHandle<u64>>,
}

impl Restless {
    fn new(mut act: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = std::thread::spawn(move || {
            let mut times = 0;
            while !stopped.load(Ordering::Relaxed) {
                act(times);
                times += 1;
            }
            times
        });
        Restless { stop, task: Some(task) }
    }

    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.take().map_or(0, |task| task.join().expect("acted"))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Each is made of one byte, of the same length, over and over.
fn rewrite(path: &Path, size: usize) -> Restless {
    let file = File::create(path).expect("made");
    file.write_all_at(&vec![0; size], 0).expect("written");
    Restless::new(move |times| file.write_all_at(&vec![times as u8; size], 0).expect("written"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_that_does_not_stand_still_is_kept_as_it_was_read() {
    let world = World::new(r#"[{ "path": "./tree" }]"#);
    for name in 0..200 {
        world.write(&format!("tree/steady/{name}"), format!("file {name}"));
    }
    let tree = world.project().join("tree");
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(tree.join("log"))
        .expect("made");
    let mut acts = vec![
        Restless::new(move |times| {
            writeln!(log, "line {times}").expect("written");
            if times.is_multiple_of(64) {
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        }),
        rewrite(&tree.join("small"), 200_000),
        rewrite(&tree.join("large"), 9 << 20),
        // Comes and goes, as files and folders and links do.
        Restless::new({
            let place = tree.join("comes and goes");
            move |times| match times % 3 {
                0 => {
                    fs::write(&place, "a file").expect("written");
                    fs::remove_file(&place).expect("removed");
                }
                1 => {
                    fs::create_dir(&place).expect("made");
                    fs::remove_dir(&place).expect("removed");
                }
                _ => {
                    symlink("/etc", &place).expect("linked");
                    fs::remove_file(&place).expect("removed");
                }
            }
        }),
        // One inode after the other under two names.
        Restless::new({
            let (one, two) = (tree.join("one"), tree.join("two"));
            move |times| {
                fs::write(&one, format!("{times}")).expect("written");
                fs::hard_link(&one, &two).expect("linked");
                fs::remove_file(&one).expect("removed");
                fs::remove_file(&two).expect("removed");
            }
        }),
    ];
    let mut told = String::new();
    for run in 0..40 {
        if run > 3 && told.contains("changed while it was read") && told.contains("vanished while it was read") {
            break;
        }
        let receipt = world.backup().await;
        assert!(receipt.ok, "{receipt:?}");
        let listing = world.listing().await;
        told.push_str(&listing.closing.notes.join("\n"));
        let report = world.verify(Level::Files).await;
        assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
        let target = world.root.path().join(format!("restored-{run}"));
        world.restore(&target, Selection::Everything).await.expect("restored");
        let steady = fs::read_dir(target.join("tree/steady")).expect("a folder").count();
        assert_eq!(steady, 200);
        let log = fs::read_to_string(target.join("tree/log")).expect("read");
        for (nth, line) in log.lines().take(log.lines().count().saturating_sub(1)).enumerate() {
            assert_eq!(line, format!("line {nth}"));
        }
        assert_eq!(fs::metadata(target.join("tree/large")).expect("there").len(), 9 << 20);
        fs::remove_dir_all(&target).expect("removed");
    }
    assert!(told.contains("changed while it was read"), "{told}");
    assert!(told.contains("vanished while it was read"), "{told}");
    for act in &mut acts {
        assert!(act.stop() > 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_holes_are_filled_meanwhile_has_its_bytes() {
    let mut world = World::new(r#"[{ "path": "./tree" }]"#);
    // It is emptied now and then.
    world.backups.sets.get_mut("full").expect("a set").floor = "0%".parse().expect("a percentage");
    fs::create_dir_all(world.project().join("tree")).expect("made");
    let path = world.project().join("tree/disk");
    let file = File::create(&path).expect("made");
    let size = 4 << 20;
    file.set_len(size).expect("lengthened");
    let mut filling = Restless::new(move |times| {
        let block = times % (size / 4096);
        if block == 0 {
            file.set_len(0).expect("emptied");
            file.set_len(size).expect("lengthened");
        }
        file.write_all_at(&[block as u8 | 1; 4096], block * 4096)
            .expect("written");
    });
    for run in 0..5 {
        assert!(world.backup().await.ok);
        assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
        let target = world.root.path().join(format!("restored-{run}"));
        world.restore(&target, Selection::Everything).await.expect("restored");
        // The SHA-256 was compared while it was written; what is on the disk has to be the same bytes.
        let restored = fs::read(target.join("tree/disk")).expect("read");
        let listing = world.listing().await;
        let listed = listing.entries.iter().find_map(|entry| match &entry.node {
            Node::File(content) => Some(content.sha256),
            _ => None,
        });
        assert_eq!(listed, Some(Digest::of(&restored)));
    }
    assert!(filling.stop() > 10);
    // Standing still, its holes are kept.
    fs::remove_file(&path).expect("removed");
    File::create(&path).and_then(|file| file.set_len(size)).expect("made");
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Everything).await.expect("restored");
    let restored = fs::metadata(target.join("tree/disk")).expect("there");
    assert_eq!((restored.len(), restored.blocks()), (size, 0));
}
