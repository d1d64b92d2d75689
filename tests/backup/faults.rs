//! Backups that are cut short at every point, and files that do not stand still.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::support::{Quiet, World};
use arkwright::backup::{EntryPath, Meta, SourceRecord};
use arkwright::config::Source;
use arkwright::ports::{
    Body, ByteStream, ObjectInfo, Opened, Put, Reading, Sink, SourceError, Sources, Stamp, Store, StoreError,
};
use arkwright::run::restore::{RestoreError, RestoreOptions, Selection, restore};
use arkwright::run::snapshots::{SnapshotError, Which};
use arkwright::run::verify::{Level, Verdict, VerifyOptions, verify};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing arrived.
    Refused,
    /// It arrived, and the answer was lost.
    AnswerLost,
    /// The body broke off.
    Torn,
    /// The disk is full.
    Full,
}

/// A store whose n-th `put` fails.
pub struct Failing {
    pub inner: Arc<dyn Store>,
    pub puts: AtomicUsize,
    pub nth: usize,
    pub fault: Fault,
}

#[async_trait]
impl Store for Failing {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        if self.puts.fetch_add(1, Ordering::SeqCst) != self.nth {
            return self.inner.put(name, body, mode).await;
        }
        let failed = || StoreError::Failed {
            store: self.describe(),
            what: "write",
            name: name.to_owned(),
            source: "made to fail".into(),
        };
        match self.fault {
            Fault::Refused => Err(failed()),
            Fault::AnswerLost => {
                self.inner.put(name, body, mode).await?;
                Err(failed())
            }
            Fault::Torn => {
                let torn = body
                    .take(1)
                    .chain(futures_util::stream::iter([Err(io::Error::other("torn"))]));
                self.inner.put(name, Box::pin(torn), mode).await
            }
            Fault::Full => Err(StoreError::Full {
                store: self.describe(),
                name: name.to_owned(),
            }),
        }
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        self.inner.get(name).await
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(name, start, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_complete_or_does_not_exist_whichever_write_fails() {
    // Two segments, sums, listing, signature, header.
    const PUTS: usize = 6;
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Torn, Fault::Full] {
        for nth in 0..PUTS {
            let world = World::new(r#"[{ "path": "./uploads" }]"#);
            world.write("uploads/a.jpg", vec![1; 5000]);
            world.write("uploads/b.txt", "old words");
            assert!(world.backup().await.ok);
            world.write("uploads/c.jpg", vec![2; 300_000]);
            world.write("uploads/b.txt", "new words");
            let failing = Arc::new(Failing {
                inner: world.store(),
                puts: AtomicUsize::new(0),
                nth,
                fault,
            });
            let receipt = world.backup_to(failing.clone()).await;
            assert!(!receipt.ok, "{fault:?} {nth}: {receipt:?}");
            if matches!(fault, Fault::Full) {
                assert!(
                    receipt.because.as_ref().is_some_and(|why| why.contains("is full")),
                    "{receipt:?}"
                );
            }
            // The header is the last write: only its lost answer leaves a snapshot, and that one is complete.
            let report = world.verify(Level::Files).await;
            assert_eq!(report.verdict(), Verdict::Passed, "{fault:?} {nth}: {report:?}");
            let complete = matches!(fault, Fault::AnswerLost) && nth == PUTS - 1;
            assert_eq!(report.snapshots, if complete { 2 } else { 1 }, "{fault:?} {nth}");
            let target = world.root.path().join("before");
            world
                .restore(&target, Selection::Everything)
                .await
                .expect("the one before, or the complete one");
            let words = std::fs::read_to_string(target.join("uploads/b.txt")).expect("there");
            assert_eq!(words, if complete { "new words" } else { "old words" });
            // And the next run makes up for it.
            let receipt = world.backup().await;
            assert!(receipt.ok, "{fault:?} {nth}: {receipt:?}");
            assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
            let target = world.root.path().join("after");
            world.restore(&target, Selection::Everything).await.expect("restored");
            assert_eq!(
                std::fs::read(target.join("uploads/c.jpg")).expect("there"),
                vec![2; 300_000]
            );
        }
    }
}

/// What a fake file does each time it is opened.
#[derive(Clone, Copy)]
enum Act {
    /// Is another file each time.
    Changes,
    /// Grows while it is read.
    Grows,
    Vanished,
    Breaks,
}

struct Acting {
    act: Act,
    size: usize,
    opened: Arc<AtomicUsize>,
}

impl Sources for Acting {
    fn read(&self, source: &Source, _reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<SourceRecord, SourceError> {
        let path: EntryPath = "uploads/file".parse().expect("a path");
        let body = ActingBody {
            act: self.act,
            size: self.size,
            opened: self.opened.clone(),
            path: PathBuf::from("/uploads/file"),
        };
        let meta = Meta {
            mode: 0o644,
            ..Meta::default()
        };
        let bytes = sink.file(path.clone(), meta, &body)?;
        if bytes.is_none() {
            sink.note(format!("{path} vanished"));
        }
        sink.file("uploads/steady".parse().expect("a path"), meta, &Steady)?;
        assert!(matches!(source, Source::Path { .. }));
        Ok(SourceRecord {
            kind: "path".into(),
            path,
            files: 1,
            bytes: bytes.unwrap_or_default(),
            newest: None,
            rows: Default::default(),
        })
    }

    fn read_stack_file(&self, _: &Path, _: &Reading<'_>, _: &mut dyn Sink) -> Result<(), SourceError> {
        Ok(())
    }
}

struct ActingBody {
    act: Act,
    size: usize,
    opened: Arc<AtomicUsize>,
    path: PathBuf,
}

impl Body for ActingBody {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        let nth = self.opened.fetch_add(1, Ordering::SeqCst);
        match self.act {
            Act::Vanished => Err(io::ErrorKind::NotFound.into()),
            Act::Changes => Ok(Box::new(ActingFile {
                left: vec![nth as u8; self.size],
                stamps: (nth as i64, false),
                size: self.size,
                breaks: false,
            })),
            Act::Grows => Ok(Box::new(ActingFile {
                left: vec![7; self.size],
                stamps: (0, true),
                size: self.size,
                breaks: false,
            })),
            Act::Breaks => Ok(Box::new(ActingFile {
                left: vec![7; self.size / 2],
                stamps: (0, false),
                size: self.size,
                breaks: true,
            })),
        }
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }
}

struct ActingFile {
    left: Vec<u8>,
    /// The time it was changed, and whether that moves with every look.
    stamps: (i64, bool),
    size: usize,
    breaks: bool,
}

impl Read for ActingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() && self.breaks {
            return Err(io::Error::other("the disk is worn out"));
        }
        let read = buffer.len().min(self.left.len());
        buffer[..read].copy_from_slice(&self.left[..read]);
        self.left.drain(..read);
        Ok(read)
    }
}

impl Opened for ActingFile {
    fn stamp(&self) -> io::Result<Stamp> {
        let moved = if self.stamps.1 { self.left.len() as i64 } else { 0 };
        Ok(Stamp {
            size: self.size as u64,
            mtime: self.stamps.0 + moved,
            ctime: 0,
            inode: 1,
        })
    }
}

struct Steady;

impl Body for Steady {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(ActingFile {
            left: b"steady".to_vec(),
            stamps: (0, false),
            size: 6,
            breaks: false,
        }))
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

async fn acted(act: Act, size: usize) -> (World, arkwright::run::Receipt, usize) {
    let mut world = World::new(r#"[{ "path": "./uploads" }]"#);
    let opened = Arc::new(AtomicUsize::new(0));
    world.sources = Arc::new(Acting {
        act,
        size,
        opened: opened.clone(),
    });
    let receipt = world.backup().await;
    let opened = opened.load(Ordering::SeqCst);
    (world, receipt, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_read_is_tried_again_kept_and_reported() {
    for size in [1000, 9 << 20] {
        let (world, receipt, opened) = acted(Act::Grows, size).await;
        assert!(receipt.ok, "{size}: {receipt:?}");
        assert!(opened >= 3, "{opened}");
        let notes: Vec<&str> = receipt
            .lines
            .iter()
            .filter(|l| l.label == "note")
            .map(|l| l.value.as_str())
            .collect();
        assert!(
            notes.iter().any(|note| note.contains("uploads/file changed")),
            "{size}: {notes:?}"
        );
        assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
        let target = world.root.path().join("restored");
        world.restore(&target, Selection::Everything).await.expect("restored");
        assert_eq!(
            std::fs::read(target.join("uploads/file")).expect("there"),
            vec![7; size]
        );
        assert_eq!(std::fs::read(target.join("uploads/steady")).expect("there"), b"steady");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_that_is_another_at_the_second_reading_spoils_no_segment() {
    let (world, receipt, _) = acted(Act::Changes, 9 << 20).await;
    assert!(receipt.ok, "{receipt:?}");
    assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Everything).await.expect("restored");
    let content = std::fs::read(target.join("uploads/file")).expect("there");
    assert!(content.len() == 9 << 20 && content.iter().all(|byte| *byte == content[0]));
    assert!(world.objects().iter().all(|name| !name.contains("unfinished")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_vanished_is_reported_and_one_that_cannot_be_read_fails_the_backup() {
    let (_, receipt, _) = acted(Act::Vanished, 10).await;
    assert!(
        receipt.ok && receipt.lines.iter().any(|line| line.value.contains("vanished")),
        "{receipt:?}"
    );
    for size in [1000, 9 << 20] {
        let (world, receipt, _) = acted(Act::Breaks, size).await;
        assert!(!receipt.ok);
        assert!(
            receipt
                .because
                .as_ref()
                .is_some_and(|why| why.contains("/uploads/file")),
            "{receipt:?}"
        );
        assert!(!world.objects().iter().any(|name| name.starts_with("man/")));
    }
}

/// A store that stops answering in the middle of every segment.
struct Resetting(Arc<dyn Store>);

#[async_trait]
impl Store for Resetting {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.0.put(name, body, mode).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        if !name.starts_with("seg/") {
            return self.0.get(name).await;
        }
        let beginning = self.0.get_range(name, 0, 100).await?;
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Ok(Box::pin(futures_util::stream::iter([Ok(beginning), Err(reset)])))
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.0.get_range(name, start, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.0.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete(name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_answering_is_not_a_damaged_one() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.txt", "a".repeat(5000));
    assert!(world.backup().await.ok);
    let store: Arc<dyn Store> = Arc::new(Resetting(world.store()));
    for level in [Level::Objects, Level::Segments, Level::Files] {
        let options = VerifyOptions::default();
        let looked = verify(&store, &world.trust(), &world.identities(), level, &options, &Quiet).await;
        let error = looked.expect_err("nothing is known of it");
        assert!(matches!(error, SnapshotError::Store(_)), "{level:?}: {error:?}");
    }
    let options = RestoreOptions {
        selection: Selection::Everything,
        target: world.root.path().join("out"),
        overwrite: false,
        devices: true,
    };
    let which = Which::Latest { set: "full".into() };
    let restored = restore(&store, &world.trust(), &world.identities(), &which, &options, &Quiet).await;
    assert!(matches!(restored, Err(RestoreError::Store(_))), "{restored:?}");
}
