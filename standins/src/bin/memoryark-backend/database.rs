//! The `files` table, opened the way MemoryArk opens it: rollback journal, no waiting for locks, migrated at boot.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;

use crate::photos::Photo;

const SCHEMA_VERSION: i64 = 1;

pub struct Database(Mutex<Connection>);

#[derive(Debug, Serialize, PartialEq)]
pub struct File {
    pub id: i64,
    pub name: String,
    pub path: String,
    pub sha256: String,
    pub size: i64,
    pub created_at: String,
}

const COLUMNS: &str = "id, name, path, sha256, size, created_at";

impl Database {
    /// Opens and migrates, which takes the write lock: a second process that holds it makes this fail at once.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "journal_mode", "delete")?;
        let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        change.execute_batch(
            "create table if not exists schema_version (version integer not null);
             create table if not exists files (
                 id integer primary key, name text, path text, sha256 text, size integer, created_at text
             );
             create unique index if not exists files_sha256 on files (sha256);
             delete from schema_version;",
        )?;
        change.execute("insert into schema_version (version) values (?1)", [SCHEMA_VERSION])?;
        change.commit()?;
        Ok(Self(Mutex::new(connection)))
    }

    /// The row that names `photo`, and whether it is new: the same photo twice is one row.
    pub fn add(&self, name: &str, photo: &Photo) -> rusqlite::Result<(i64, bool)> {
        let connection = self.lock();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let new = connection.execute(
            "insert into files (name, path, sha256, size, created_at) values (?1, ?2, ?3, ?4, ?5)
             on conflict (sha256) do nothing",
            params![name, photo.path, photo.sha256, photo.size, now],
        )?;
        let find = "select id from files where sha256 = ?1";
        Ok((connection.query_row(find, [&photo.sha256], |row| row.get(0))?, new == 1))
    }

    pub fn newest(&self, limit: u32) -> rusqlite::Result<Vec<File>> {
        let connection = self.lock();
        let mut rows = connection.prepare_cached(&format!("select {COLUMNS} from files order by id desc limit ?1"))?;
        rows.query_map([limit], file)?.collect()
    }

    pub fn find(&self, id: i64) -> rusqlite::Result<Option<File>> {
        let find = format!("select {COLUMNS} from files where id = ?1");
        self.lock().query_row(&find, [id], file).optional()
    }

    pub fn count(&self) -> rusqlite::Result<i64> {
        self.lock()
            .query_row("select count(*) from files", [], |row| row.get(0))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    Ok(File {
        id: row.get(0)?,
        name: row.get(1)?,
        path: row.get(2)?,
        sha256: row.get(3)?,
        size: row.get(4)?,
        created_at: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("standins-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn photo(sha256: &str) -> Photo {
        Photo {
            path: format!("2026/01/{sha256}.jpg"),
            sha256: sha256.to_owned(),
            size: 3,
        }
    }

    #[test]
    fn one_row_a_photo_and_the_file_survives_a_second_boot() {
        let folder = folder("rows");
        let path = folder.join("memoryark.db");
        let database = Database::open(&path).expect("opens");
        assert_eq!(database.add("a.jpg", &photo("aa")).expect("adds"), (1, true));
        assert_eq!(database.add("b.jpg", &photo("aa")).expect("adds"), (1, false));
        assert_eq!(database.add("c.jpg", &photo("cc")).expect("adds"), (2, true));
        drop(database);
        let database = Database::open(&path).expect("opens again");
        assert_eq!(database.count().expect("counts"), 2);
        assert_eq!(database.newest(1).expect("lists")[0].path, "2026/01/cc.jpg");
        assert_eq!(database.find(9).expect("looks"), None);
        assert!(!folder.join("memoryark.db-wal").exists());
        std::fs::remove_dir_all(folder).expect("removes the folder");
    }

    #[test]
    fn a_lock_held_elsewhere_is_not_waited_for() {
        let folder = folder("lock");
        let path = folder.join("memoryark.db");
        let database = Database::open(&path).expect("opens");
        let other = Connection::open(&path).expect("opens");
        other.execute_batch("begin exclusive").expect("locks");
        let begun = std::time::Instant::now();
        assert!(database.add("a.jpg", &photo("aa")).is_err());
        assert!(Database::open(&path).is_err());
        assert!(begun.elapsed() < Duration::from_secs(1));
        std::fs::remove_dir_all(folder).expect("removes the folder");
    }
}
