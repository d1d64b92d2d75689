use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use crate::backup::{Content, Link, SegmentName, SegmentRecord, SourceRecord};
use crate::model::{Digest, Generation, SegmentId};
use crate::ports::Stamp;

/// What this host remembers of one store: which contents lie where, which files it has seen, what it published last.
///
/// A cache but for the last: lost, it is filled again by the next backup or from the listings. What it says of a
/// segment counts only while the store lists that segment.
pub struct Catalogue {
    db: Connection,
    path: PathBuf,
    store: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the catalogue {path} cannot be used; free space or repair the disk, or move the file aside")]
    Unusable {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("another run has been writing to the catalogue {path} for long; wait for it to end and try again")]
    Busy {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the damaged catalogue {path} cannot be moved aside")]
    Aside {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the catalogue {path} was written by a newer arkwright (format {found}); upgrade")]
    Newer { path: PathBuf, found: i64 },
}

/// Contents are looked up by hash, all over the file: what is read of it stays.
const CACHE_KIB: i64 = 16 << 10;
const FORMAT: i64 = 2;
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS segment (
        store TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, sha256 BLOB NOT NULL, bytes INTEGER NOT NULL,
        PRIMARY KEY (store, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS content (
        store TEXT NOT NULL, sha256 BLOB NOT NULL, segment TEXT NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL,
        PRIMARY KEY (store, sha256)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS seen (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL,
        inode INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS image (
        store TEXT NOT NULL, id TEXT NOT NULL, entries TEXT NOT NULL, PRIMARY KEY (store, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS head (
        store TEXT PRIMARY KEY, generation INTEGER NOT NULL, sha256 BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS last (
        store TEXT NOT NULL, name TEXT NOT NULL, sources TEXT NOT NULL, accepts_less INTEGER NOT NULL,
        PRIMARY KEY (store, name)) WITHOUT ROWID;
";

impl Catalogue {
    /// Opens the file, made anew where it is missing or damaged; `store` is the store's name in arkwright.yaml.
    pub fn open(path: &Path, store: &str) -> Result<Self, CatalogueError> {
        match Catalogue::connect(path, store) {
            Err(CatalogueError::Unusable { source, .. })
                if matches!(
                    source.sqlite_error_code(),
                    Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
                ) =>
            {
                let aside = path.with_extension("damaged");
                tracing::warn!(
                    "the catalogue {} is damaged; it is kept as {}",
                    path.display(),
                    aside.display()
                );
                for (from, to) in
                    [("", ""), ("-wal", "-wal"), ("-shm", "-shm")].map(|(a, b)| (add(path, a), add(&aside, b)))
                {
                    match std::fs::rename(&from, to) {
                        Err(source) if source.kind() != io::ErrorKind::NotFound => {
                            return Err(CatalogueError::Aside { path: from, source });
                        }
                        _ => {}
                    }
                }
                Catalogue::connect(path, store)
            }
            other => other,
        }
    }

    fn connect(path: &Path, store: &str) -> Result<Self, CatalogueError> {
        let unusable = |source| CatalogueError::Unusable {
            path: path.to_path_buf(),
            source,
        };
        let db = Connection::open(path).map_err(unusable)?;
        db.busy_timeout(Duration::from_secs(30)).map_err(unusable)?;
        db.pragma_update(None, "journal_mode", "WAL").map_err(unusable)?;
        db.pragma_update(None, "synchronous", "NORMAL").map_err(unusable)?;
        db.pragma_update(None, "cache_size", -CACHE_KIB).map_err(unusable)?;
        let found: i64 = db
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(unusable)?;
        if found > FORMAT {
            return Err(CatalogueError::Newer {
                path: path.to_path_buf(),
                found,
            });
        }
        // Not on every opening: it would wait for whoever is writing.
        if found < FORMAT {
            db.execute_batch(SCHEMA).map_err(unusable)?;
            db.pragma_update(None, "user_version", FORMAT).map_err(unusable)?;
        }
        db.prepare("SELECT sha256 FROM seen LIMIT 1")
            .and_then(|mut query| query.exists([]))
            .map_err(unusable)?;
        Ok(Catalogue {
            db,
            path: path.to_path_buf(),
            store: store.to_owned(),
        })
    }

    fn unusable(&self, source: rusqlite::Error) -> CatalogueError {
        let path = self.path.clone();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => CatalogueError::Busy { path, source },
            _ => CatalogueError::Unusable { path, source },
        }
    }

    fn run(&self, statement: &str) -> Result<(), CatalogueError> {
        self.db.execute_batch(statement).map_err(|e| self.unusable(e))
    }

    /// From here on what is read is read as of now, which costs less than asking for each anew; until
    /// [`Catalogue::let_go`]. Nobody waits for a reader.
    pub fn hold(&self) -> Result<(), CatalogueError> {
        self.run("BEGIN")
    }

    pub fn let_go(&self) -> Result<(), CatalogueError> {
        self.run("COMMIT")
    }

    /// Writes all of it or nothing; others wait for that long and no longer.
    pub fn write(&self, work: impl FnOnce() -> Result<(), CatalogueError>) -> Result<(), CatalogueError> {
        let held = !self.db.is_autocommit();
        if held {
            self.let_go()?;
        }
        self.run("BEGIN IMMEDIATE")?;
        match work() {
            Ok(()) => self.run("COMMIT")?,
            Err(error) => {
                self.run("ROLLBACK")?;
                return Err(error);
            }
        }
        if held { self.hold() } else { Ok(()) }
    }

    /// Where this content lies in the store, as far as is remembered.
    pub fn content(&self, sha256: &Digest) -> Result<Option<Content>, CatalogueError> {
        let found = self
            .db
            .prepare_cached("SELECT segment, place, size FROM content WHERE store = ?1 AND sha256 = ?2")
            .and_then(|mut query| {
                query
                    .query_row(params![self.store, sha256.as_bytes()], |row| {
                        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
                    })
                    .optional()
            })
            .map_err(|e| self.unusable(e))?;
        Ok(found.and_then(|(segment, place, size)| {
            Some(Content {
                size: u64::try_from(size).ok()?,
                sha256: *sha256,
                segment: segment.parse().ok()?,
                offset: u64::try_from(place).ok()?,
            })
        }))
    }

    /// Remembers a segment that is in the store, and what lies in it.
    pub fn add_segment(&self, segment: &SegmentRecord, contents: &[Content]) -> Result<(), CatalogueError> {
        let add = || -> rusqlite::Result<()> {
            self.db
                .prepare_cached("INSERT OR REPLACE INTO segment VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![
                    self.store,
                    segment.id.as_str(),
                    segment.name.to_string(),
                    segment.sha256.as_bytes(),
                    segment.bytes as i64
                ])?;
            let mut insert = self
                .db
                .prepare_cached("INSERT OR REPLACE INTO content VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for content in contents {
                insert.execute(params![
                    self.store,
                    content.sha256.as_bytes(),
                    content.segment.as_str(),
                    content.offset as i64,
                    content.size as i64
                ])?;
            }
            Ok(())
        };
        add().map_err(|e| self.unusable(e))
    }

    /// Every segment remembered.
    pub fn segments(&self) -> Result<BTreeMap<SegmentId, SegmentRecord>, CatalogueError> {
        let read = || -> rusqlite::Result<Vec<(String, [u8; 32], i64)>> {
            self.db
                .prepare("SELECT name, sha256, bytes FROM segment WHERE store = ?1")?
                .query_map([&self.store], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        };
        let rows = read().map_err(|e| self.unusable(e))?;
        Ok(rows
            .into_iter()
            .filter_map(|(name, sha256, bytes)| {
                let name: SegmentName = name.parse().ok()?;
                let record = SegmentRecord {
                    id: name.id.clone(),
                    name,
                    sha256: Digest::from_bytes(sha256),
                    bytes: u64::try_from(bytes).ok()?,
                };
                Some((record.id.clone(), record))
            })
            .collect())
    }

    /// The content a file had when it was last read, if it has not changed since.
    pub fn seen(&self, path: &Path, stamp: &Stamp) -> Result<Option<Digest>, CatalogueError> {
        self.db
            .prepare_cached(
                "SELECT sha256 FROM seen WHERE path = ?1 AND size = ?2 AND mtime = ?3 AND ctime = ?4 AND inode = ?5",
            )
            .and_then(|mut query| {
                let row = |row: &rusqlite::Row<'_>| row.get::<_, [u8; 32]>(0);
                query
                    .query_row(
                        params![
                            bytes_of(path),
                            stamp.size as i64,
                            stamp.mtime,
                            stamp.ctime,
                            stamp.inode as i64
                        ],
                        row,
                    )
                    .optional()
            })
            .map(|found| found.map(Digest::from_bytes))
            .map_err(|e| self.unusable(e))
    }

    pub fn mark_seen(&self, path: &Path, stamp: &Stamp, sha256: &Digest) -> Result<(), CatalogueError> {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO seen VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .and_then(|mut insert| {
                insert.execute(params![
                    bytes_of(path),
                    stamp.size as i64,
                    stamp.mtime,
                    stamp.ctime,
                    stamp.inode as i64,
                    sha256.as_bytes()
                ])
            })
            .map(|_rows| ())
            .map_err(|e| self.unusable(e))
    }

    /// What was remembered of an image that is in the store, as JSON.
    pub fn image(&self, id: &str) -> Result<Option<String>, CatalogueError> {
        self.db
            .query_row(
                "SELECT entries FROM image WHERE store = ?1 AND id = ?2",
                params![self.store, id],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| self.unusable(e))
    }

    pub fn add_image(&self, id: &str, entries: &str) -> Result<(), CatalogueError> {
        self.db
            .execute(
                "INSERT OR REPLACE INTO image VALUES (?1, ?2, ?3)",
                params![self.store, id, entries],
            )
            .map(|_rows| ())
            .map_err(|e| self.unusable(e))
    }

    /// The last header this host published into the store.
    pub fn head(&self) -> Result<Option<Link>, CatalogueError> {
        let found: Option<(i64, [u8; 32])> = self
            .db
            .query_row(
                "SELECT generation, sha256 FROM head WHERE store = ?1",
                [&self.store],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|e| self.unusable(e))?;
        Ok(found.and_then(|(generation, sha256)| {
            Some(Link {
                generation: Generation(u64::try_from(generation).ok()?),
                sha256: Digest::from_bytes(sha256),
            })
        }))
    }

    /// The store's loss of what was published is known and accepted: the next backup builds upon what is there.
    pub fn forget_head(&self) -> Result<(), CatalogueError> {
        self.db
            .execute("DELETE FROM head WHERE store = ?1", [&self.store])
            .map(|_rows| ())
            .map_err(|e| self.unusable(e))
    }

    /// What the sources of a set held in the last snapshot this host published of it; none where that is not known.
    pub fn last(&self, set: &str) -> Result<Vec<SourceRecord>, CatalogueError> {
        let found: Option<String> = self
            .db
            .query_row(
                "SELECT sources FROM last WHERE store = ?1 AND name = ?2",
                [&self.store, set],
                |row| row.get(0),
            )
            .optional()
            .map_err(|e| self.unusable(e))?;
        Ok(found
            .and_then(|sources| serde_json::from_str(&sources).ok())
            .unwrap_or_default())
    }

    /// Ends what [`Catalogue::accept_less`] began.
    pub fn set_last(&self, set: &str, sources: &[SourceRecord]) -> Result<(), CatalogueError> {
        let bare = sources.iter().map(|source| SourceRecord {
            rows: BTreeMap::new(),
            ..source.clone()
        });
        let sources = serde_json::Value::from_iter(bare.map(|source| serde_json::json!(source))).to_string();
        self.db
            .execute(
                "INSERT OR REPLACE INTO last VALUES (?1, ?2, ?3, 0)",
                [&self.store, set, &sources],
            )
            .map(|_rows| ())
            .map_err(|e| self.unusable(e))
    }

    /// The next snapshot of the set may hold far less than the last. Whether there was one.
    pub fn accept_less(&self, set: &str) -> Result<bool, CatalogueError> {
        self.db
            .execute(
                "UPDATE last SET accepts_less = 1 WHERE store = ?1 AND name = ?2",
                [&self.store, set],
            )
            .map(|rows| rows > 0)
            .map_err(|e| self.unusable(e))
    }

    pub fn accepts_less(&self, set: &str) -> Result<bool, CatalogueError> {
        let query = "SELECT 1 FROM last WHERE store = ?1 AND name = ?2 AND accepts_less = 1";
        self.db
            .prepare(query)
            .and_then(|mut query| query.exists([&self.store, set]))
            .map_err(|e| self.unusable(e))
    }

    /// A damaged segment is used no more, so that the next backup stores its contents again.
    pub fn forget_segment(&self, name: &SegmentName) -> Result<(), CatalogueError> {
        self.db
            .execute(
                "DELETE FROM segment WHERE store = ?1 AND id = ?2",
                params![self.store, name.id.as_str()],
            )
            .map(|_rows| ())
            .map_err(|e| self.unusable(e))
    }

    /// Synced before it returns.
    pub fn set_head(&self, head: &Link) -> Result<(), CatalogueError> {
        let set = || -> rusqlite::Result<()> {
            self.db.pragma_update(None, "synchronous", "FULL")?;
            self.db.execute(
                "INSERT OR REPLACE INTO head VALUES (?1, ?2, ?3)",
                params![self.store, head.generation.0 as i64, head.sha256.as_bytes()],
            )?;
            self.db.pragma_update(None, "synchronous", "NORMAL")
        };
        set().map_err(|e| self.unusable(e))
    }
}

fn bytes_of(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn add(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Coding;

    fn content(bytes: &[u8]) -> Content {
        Content {
            size: bytes.len() as u64,
            sha256: Digest::of(bytes),
            segment: SegmentId::new([1; 16]),
            offset: 512,
        }
    }

    #[test]
    fn what_is_told_of_one_store_is_not_told_of_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("catalogue.db");
        let here = Catalogue::open(&path, "local").expect("opened");
        let segment = SegmentRecord {
            id: SegmentId::new([1; 16]),
            name: SegmentName {
                id: SegmentId::new([1; 16]),
                coding: Coding::Stored,
            },
            sha256: Digest::of(b"c"),
            bytes: 9,
        };
        here.add_segment(&segment, &[content(b"a")]).expect("added");
        let head = Link {
            generation: Generation(3),
            sha256: Digest::of(b"h"),
        };
        here.set_head(&head).expect("set");
        let again = Catalogue::open(&path, "local").expect("opened");
        assert_eq!(again.content(&Digest::of(b"a")).expect("read"), Some(content(b"a")));
        assert_eq!(
            again.segments().expect("read").into_values().collect::<Vec<_>>(),
            [segment]
        );
        assert_eq!(again.head().expect("read"), Some(head));
        let other = Catalogue::open(&path, "offsite").expect("opened");
        assert_eq!(other.content(&Digest::of(b"a")).expect("read"), None);
        assert_eq!(other.head().expect("read"), None);
    }

    #[test]
    fn a_file_is_known_only_while_nothing_of_it_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let catalogue = Catalogue::open(&folder.path().join("c.db"), "local").expect("opened");
        let stamp = Stamp {
            size: 1,
            mtime: 2,
            ctime: 3,
            inode: 4,
        };
        let path = Path::new("/srv/a");
        catalogue.mark_seen(path, &stamp, &Digest::of(b"a")).expect("marked");
        assert_eq!(catalogue.seen(path, &stamp).expect("read"), Some(Digest::of(b"a")));
        for changed in [
            Stamp { size: 2, ..stamp },
            Stamp { mtime: 0, ..stamp },
            Stamp { ctime: 0, ..stamp },
            Stamp { inode: 0, ..stamp },
        ] {
            assert_eq!(catalogue.seen(path, &changed).expect("read"), None);
        }
    }

    #[test]
    fn less_is_accepted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        let catalogue = Catalogue::open(&path, "local").expect("opened");
        assert!(
            !catalogue.accept_less("full").expect("asked"),
            "nothing was published yet"
        );
        let source = SourceRecord {
            kind: "path".into(),
            path: "uploads".parse().expect("a path"),
            files: 3,
            bytes: 4,
            newest: None,
            rows: BTreeMap::new(),
        };
        let counted = SourceRecord {
            rows: [("photo".to_owned(), 2)].into(),
            ..source.clone()
        };
        catalogue.set_last("full", &[counted]).expect("set");
        assert_eq!(catalogue.last("full").expect("read"), [source]);
        assert_eq!(catalogue.last("other").expect("read"), []);
        assert_eq!(
            Catalogue::open(&path, "offsite")
                .expect("opened")
                .last("full")
                .expect("read"),
            []
        );
        assert!(!catalogue.accepts_less("full").expect("read"));
        assert!(catalogue.accept_less("full").expect("asked"));
        assert!(catalogue.accepts_less("full").expect("read"));
        catalogue.set_last("full", &[]).expect("set");
        assert!(!catalogue.accepts_less("full").expect("read"));
    }

    #[test]
    fn a_damaged_catalogue_is_moved_aside_and_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("catalogue.db");
        std::fs::write(&path, vec![b'x'; 5000]).expect("written");
        let catalogue = Catalogue::open(&path, "local").expect("opened");
        assert_eq!(catalogue.head().expect("read"), None);
        assert!(folder.path().join("catalogue.damaged").exists());
    }
}
