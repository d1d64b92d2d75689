use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::backup::{EntryPath, escape};
use crate::drill::{Files, Found, Integrity, Unread, on_disk};
use crate::ports::Inspector;

/// Looks at a restored tree on this host's disk, and at SQLite databases in it.
pub struct TreeInspector;

/// A query that takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Lines of `integrity_check`, and paths of missing files, that are kept.
const KEPT: usize = 5;
/// A path in a row longer than this names no file.
const LONGEST: usize = 4096;

impl Inspector for TreeInspector {
    fn find(&self, tree: &Path, entry: &EntryPath) -> Found {
        let mut path = tree.to_path_buf();
        let mut found = Found::Folder;
        for part in entry.parts() {
            if found != Found::Folder {
                return Found::Missing;
            }
            path.push(std::ffi::OsStr::from_bytes(&part));
            found = match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_dir() => Found::Folder,
                Ok(meta) if meta.is_file() => Found::File,
                Ok(meta) if meta.is_symlink() => return Found::Link,
                Ok(_) | Err(_) => return Found::Missing,
            };
        }
        found
    }

    fn integrity(&self, tree: &Path, database: &EntryPath) -> Result<Integrity, Unread> {
        let open = self.open(tree, database)?;
        let mut problems: Vec<String> = Vec::new();
        open.each(&format!("pragma integrity_check({KEPT})"), |row| {
            problems.push(text_of(row).unwrap_or_default());
            true
        })?;
        if problems == ["ok"] {
            problems.clear();
        } else if problems.is_empty() {
            problems.push("integrity_check said nothing".into());
        }
        let mut dangling = 0;
        if problems.is_empty() {
            open.each("pragma foreign_key_check", |_| {
                dangling += 1;
                true
            })?;
        }
        Ok(Integrity { problems, dangling })
    }

    fn rows(
        &self,
        tree: &Path,
        database: &EntryPath,
        tables: &[String],
    ) -> Result<BTreeMap<String, Option<u64>>, Unread> {
        let open = self.open(tree, database)?;
        let mut known = Vec::new();
        open.each("select name from sqlite_master where type = 'table'", |row| {
            known.extend(text_of(row));
            true
        })?;
        let mut counts = BTreeMap::new();
        for table in tables {
            let count = match known.contains(table) {
                true => Some(open.count(table)?),
                false => None,
            };
            counts.insert(table.clone(), count);
        }
        Ok(counts)
    }

    fn files(&self, tree: &Path, database: &EntryPath, query: &str, under: &EntryPath) -> Result<Files, Unread> {
        let open = self.open(tree, database)?;
        let folder = on_disk(tree, under);
        if self.find(tree, under) != Found::Folder {
            return Err(Unread::Damaged(format!("the snapshot has no folder {under}")));
        }
        let real = fs::canonicalize(&folder).map_err(hindered)?;
        let mut files = Files::default();
        open.each(query, |value| {
            let path = match value {
                ValueRef::Null => return true,
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                ValueRef::Integer(number) => number.to_string().into_bytes(),
                ValueRef::Real(number) => number.to_string().into_bytes(),
            };
            files.rows += 1;
            if !resolves(&real, &path) {
                files.missing += 1;
                if files.examples.len() < KEPT {
                    files.examples.push(escape(&path[..path.len().min(200)]));
                }
            }
            true
        })?;
        Ok(files)
    }

    fn newest(&self, tree: &Path, database: &EntryPath, query: &str) -> Result<Option<String>, Unread> {
        let open = self.open(tree, database)?;
        let mut newest = None;
        open.each(query, |row| {
            newest = text_of(row);
            false
        })?;
        Ok(newest)
    }
}

impl TreeInspector {
    /// Opens a database as it lies there: read-only and without a lock, so that not even a journal is made beside it.
    fn open(&self, tree: &Path, database: &EntryPath) -> Result<Open, Unread> {
        match self.find(tree, database) {
            Found::File => {}
            Found::Missing => return Err(Unread::Missing),
            Found::Folder => return Err(Unread::Damaged("it is a folder".into())),
            Found::Link => return Err(Unread::Damaged("it is a link, which is not followed".into())),
        }
        let path = on_disk(tree, database);
        for suffix in ["-wal", "-journal"] {
            let mut beside = path.clone().into_os_string();
            beside.push(suffix);
            if fs::symlink_metadata(PathBuf::from(beside)).is_ok_and(|meta| meta.len() > 0) {
                let why = format!(
                    "{database}{suffix} lies beside it, so it was copied while it was open; back it up as `sqlite`, not `path`"
                );
                return Err(Unread::Hindered(why));
            }
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri(&path), flags).map_err(unread)?;
        connection
            .pragma_update(None, "trusted_schema", false)
            .map_err(unread)?;
        connection
            .pragma_update(None, "cell_size_check", true)
            .map_err(unread)?;
        Ok(Open { connection })
    }
}

struct Open {
    connection: Connection,
}

impl Open {
    /// The first column of every row, until `take` has enough. Ends after [`PATIENCE`].
    fn each(&self, query: &str, mut take: impl FnMut(ValueRef<'_>) -> bool) -> Result<(), Unread> {
        let handle = self.connection.get_interrupt_handle();
        let (done, waiting) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    handle.interrupt();
                }
            });
            let read = (|| {
                let mut statement = self.connection.prepare(query)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    if !take(row.get_ref(0)?) {
                        break;
                    }
                }
                Ok(())
            })();
            drop(done);
            read
        })
        .map_err(unread)
    }

    fn count(&self, table: &str) -> Result<u64, Unread> {
        let query = format!("select count(*) from \"{}\"", table.replace('"', "\"\""));
        let mut count = 0;
        self.each(&query, |value| {
            count = value
                .as_i64()
                .ok()
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or_default();
            false
        })?;
        Ok(count)
    }
}

/// A path of a row, absolute or not, that stays below the folder and is a file there.
fn resolves(folder: &Path, path: &[u8]) -> bool {
    if path.is_empty() || path.len() > LONGEST || path.contains(&0) {
        return false;
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    // An absolute path would replace the folder.
    if path.is_absolute() {
        return false;
    }
    fs::canonicalize(folder.join(path)).is_ok_and(|real| real.starts_with(folder) && real.is_file())
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(escape(&bytes[..bytes.len().min(1000)])),
    }
}

/// `file:` with everything but plain characters in hex.
fn uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{}", hex::encode_upper([*byte])));
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// What SQLite says of the file is a finding; what it says of the query or of us is not.
fn unread(error: rusqlite::Error) -> Unread {
    let damaged = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
    );
    match damaged {
        true => Unread::Damaged(error.to_string()),
        false => Unread::Hindered(error.to_string()),
    }
}

fn hindered(error: io::Error) -> Unread {
    Unread::Hindered(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> EntryPath {
        path.parse().expect("a path")
    }

    /// A database of 200 rows, each naming a photo that is there.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(tree.path().join("data")).expect("made");
        fs::create_dir_all(tree.path().join("uploads/2026")).expect("made");
        let connection = Connection::open(tree.path().join("data/a %?#.db")).expect("opened");
        connection
            .execute_batch(
                "create table users (id integer primary key);
                 create table \"fi\"\"les\" (id integer primary key, user integer references users (id), path text, \
                 filler text, created_at text);
                 create index paths on \"fi\"\"les\" (path);
                 insert into users values (1);",
            )
            .expect("made");
        for n in 0..200 {
            let path = format!("2026/{n}.jpg");
            fs::write(tree.path().join("uploads").join(&path), b"photo").expect("written");
            connection
                .execute(
                    "insert into \"fi\"\"les\" values (?1, 1, ?2, ?3, ?4)",
                    (n, &path, "x".repeat(200), format!("2026-11-21 12:{:02}:00", n % 60)),
                )
                .expect("inserted");
        }
        tree
    }

    const QUERY: &str = "select path from \"fi\"\"les\"";

    #[test]
    fn a_whole_database_is_whole_and_nothing_is_written_beside_it() {
        let tree = tree();
        let (root, database) = (tree.path(), entry("data/a %25?#.db"));
        assert_eq!(TreeInspector.integrity(root, &database), Ok(Integrity::default()));
        let tables = ["fi\"les".to_owned(), "gone".to_owned()];
        let counts = TreeInspector.rows(root, &database, &tables).expect("counted");
        assert_eq!((counts["fi\"les"], counts["gone"]), (Some(200), None));
        let files = TreeInspector
            .files(root, &database, QUERY, &entry("uploads"))
            .expect("resolved");
        assert_eq!((files.rows, files.missing), (200, 0));
        let newest = "select max(created_at) from \"fi\"\"les\"";
        assert_eq!(
            TreeInspector.newest(root, &database, newest),
            Ok(Some("2026-11-21 12:59:00".into()))
        );
        assert_eq!(fs::read_dir(root.join("data")).expect("a folder").count(), 1);
    }

    #[test]
    fn a_page_that_was_overwritten_is_noticed() {
        let tree = tree();
        let path = tree.path().join("data/a %?#.db");
        let mut bytes = fs::read(&path).expect("read");
        let page = bytes.len() / 2 / 4096 * 4096;
        bytes[page..page + 4096].fill(0xa5);
        fs::write(&path, bytes).expect("written");
        match TreeInspector.integrity(tree.path(), &entry("data/a %25?#.db")) {
            Ok(found) => assert!(!found.problems.is_empty()),
            Err(Unread::Damaged(_)) => {}
            other => panic!("{other:?}"),
        }
        fs::write(&path, b"not a database at all, but long enough to be looked at as one").expect("written");
        let read = TreeInspector.integrity(tree.path(), &entry("data/a %25?#.db"));
        assert!(matches!(read, Err(Unread::Damaged(_))), "{read:?}");
    }

    #[test]
    fn rows_that_name_nothing_are_named() {
        let tree = tree();
        fs::remove_file(tree.path().join("uploads/2026/7.jpg")).expect("removed");
        let connection = Connection::open(tree.path().join("data/a %?#.db")).expect("opened");
        fs::write(tree.path().join("secret"), b"x").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", tree.path().join("uploads/link")).expect("linked");
        for outside in ["../secret", "/etc/passwd", "link", "2026"] {
            connection
                .execute("insert into \"fi\"\"les\" (path) values (?1)", [outside])
                .expect("inserted");
        }
        connection
            .execute_batch("insert into \"fi\"\"les\" (path) values (null); pragma foreign_keys=off; insert into \"fi\"\"les\" (user) values (9)")
            .expect("inserted");
        drop(connection);
        let database = entry("data/a %25?#.db");
        let files = TreeInspector
            .files(tree.path(), &database, QUERY, &entry("uploads"))
            .expect("resolved");
        assert_eq!((files.rows, files.missing), (204, 5));
        assert!(
            files.examples.contains(&"2026/7.jpg".to_owned()),
            "{:?}",
            files.examples
        );
        let integrity = TreeInspector.integrity(tree.path(), &database).expect("read");
        assert_eq!(integrity.dangling, 1);
    }

    #[test]
    fn links_queries_and_journals_are_not_taken_for_answers() {
        let tree = tree();
        let root = tree.path();
        std::os::unix::fs::symlink(root.join("data"), root.join("elsewhere")).expect("linked");
        assert_eq!(TreeInspector.find(root, &entry("elsewhere/a")), Found::Link);
        assert_eq!(TreeInspector.find(root, &entry("data/none")), Found::Missing);
        assert_eq!(TreeInspector.integrity(root, &entry("data/none")), Err(Unread::Missing));
        let database = entry("data/a %25?#.db");
        let bad = TreeInspector.newest(root, &database, "select nonsense from nowhere");
        assert!(matches!(bad, Err(Unread::Hindered(_))), "{bad:?}");
        let write = TreeInspector.newest(root, &database, "delete from users");
        assert!(matches!(write, Err(Unread::Hindered(_))), "{write:?}");
        fs::write(root.join("data/a %?#.db-wal"), b"x").expect("written");
        assert!(matches!(
            TreeInspector.integrity(root, &database),
            Err(Unread::Hindered(_))
        ));
    }
}
