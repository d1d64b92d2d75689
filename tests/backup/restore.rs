//! What a restore does to the folder it writes into.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::support::{Quiet, World};
use arkwright::backup::EntryPath;
use arkwright::model::Generation;
use arkwright::ports::{ByteStream, ObjectInfo, Put, Store, StoreError};
use arkwright::run::restore::{RestoreError, RestoreOptions, Selection, restore};
use arkwright::run::snapshots::Which;
use async_trait::async_trait;
use bytes::Bytes;

fn path(text: &str) -> EntryPath {
    text.parse().expect("a path")
}

/// A store whose segments cannot be fetched.
struct Unfetched(Arc<dyn Store>);

#[async_trait]
impl Store for Unfetched {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.0.put(name, body, mode).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        match name.starts_with("seg/") {
            true => Err(StoreError::Failed {
                store: self.describe(),
                what: "read",
                name: name.to_owned(),
                source: "made to fail".into(),
            }),
            false => self.0.get(name).await,
        }
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

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

fn database(file: &Path, rows: i64) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(file).expect("a database");
    db.pragma_update(None, "journal_mode", "wal").expect("set");
    db.execute_batch("create table if not exists t (x)").expect("made");
    for row in 0..rows {
        db.execute("insert into t values (?1)", [row]).expect("written");
    }
    db
}

fn rows(file: &Path) -> i64 {
    let db = rusqlite::Connection::open(file).expect("a database");
    db.query_row("select count(*) from t", [], |row| row.get(0))
        .expect("counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_database_left_beside_it_is_not_replayed_into_the_restored_one() {
    let world = World::new(r#"[{ "sqlite": "./data/ark.db" }]"#);
    fs::create_dir_all(world.project().join("data")).expect("made");
    let file = world.project().join("data/ark.db");
    database(&file, 3);
    assert!(world.backup().await.ok);
    // A process that was killed leaves its log; here it is still open, which keeps the log the same way.
    let open = database(&file, 50);
    let target = world.root.path().join("target");
    fs::create_dir_all(target.join("data")).expect("made");
    for suffix in ["-wal", "-shm"] {
        let name = format!("ark.db{suffix}");
        fs::copy(
            world.project().join("data").join(&name),
            target.join("data").join(&name),
        )
        .expect("copied");
    }
    fs::write(target.join("data/ark.db-journal"), "hot").expect("written");
    drop(open);
    let refused = world.restore(&target, Selection::Everything).await;
    assert!(
        matches!(refused, Err(RestoreError::Exists { count: 3, .. })),
        "{refused:?}"
    );
    assert!(target.join("data/ark.db-wal").exists() && !target.join("data/ark.db").exists());
    world
        .restore_with(&target, Selection::Everything, true)
        .await
        .expect("restored");
    for suffix in ["-wal", "-shm", "-journal"] {
        assert!(!target.join(format!("data/ark.db{suffix}")).exists(), "{suffix}");
    }
    assert_eq!(rows(&target.join("data/ark.db")), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_closed_until_the_restore_is_done_and_stay_so_after_a_failure() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("compose.yaml", "services: {}\n");
    world.write("uploads/2024/a.jpg", "a picture");
    fs::set_permissions(world.project().join("uploads/2024"), fs::Permissions::from_mode(0o755)).expect("changed");
    assert!(world.backup().await.ok);
    let target = world.root.path().join("whole");
    world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!(mode(&target.join("uploads/2024")), 0o755);
    assert_eq!(mode(&target.join("@stack")), 0o700, "in no listing");
    // A segment cannot be fetched: the restore ends where it is.
    let target = world.root.path().join("failed");
    let options = RestoreOptions {
        selection: Selection::Everything,
        target: target.clone(),
        overwrite: false,
        devices: false,
    };
    let store: Arc<dyn Store> = Arc::new(Unfetched(world.store()));
    let which = Which::Generation(Generation(1));
    let failed = restore(&store, &world.trust(), &world.identities(), &which, &options, &Quiet).await;
    assert!(matches!(failed, Err(RestoreError::Store(_))), "{failed:?}");
    assert_eq!(mode(&target.join("uploads")), 0o700);
    assert_eq!(mode(&target.join("uploads/2024")), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_there_keeps_its_owner_mode_and_time() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.jpg", "a picture");
    fs::set_permissions(world.project().join("uploads"), fs::Permissions::from_mode(0o755)).expect("changed");
    assert!(world.backup().await.ok);
    let target = world.root.path().join("target");
    fs::create_dir_all(target.join("uploads")).expect("made");
    fs::set_permissions(target.join("uploads"), fs::Permissions::from_mode(0o2700)).expect("changed");
    let time = |root: &Path| fs::metadata(root.join("uploads")).expect("there").mtime_nsec();
    world
        .restore(&target, Selection::Path(path("uploads/a.jpg")))
        .await
        .expect("restored");
    assert_eq!(mode(&target.join("uploads")), 0o2700);
    assert_ne!(time(&target), time(&world.project()));
    world
        .restore_with(&target, Selection::Everything, true)
        .await
        .expect("restored");
    assert_eq!(mode(&target.join("uploads")), 0o755);
    assert_eq!(time(&target), time(&world.project()));
}
