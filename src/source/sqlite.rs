use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::backup::{EntryPath, SQLITE, SourceRecord};
use crate::model::{Timestamp, instant_of_seconds, parse_instant};
use crate::ports::{Reading, Sink, SourceError};

use super::file::{Copy, meta_of};

/// How long a writer may hold the database before the copy is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Copies a database consistently while it is written to, checks the copy, and hands it on.
///
/// All pages go in one step: in several, each write from outside would begin the copy anew.
pub(super) fn read(
    path: &Path,
    entry: EntryPath,
    newest: Option<&str>,
    reading: &Reading<'_>,
    sink: &mut dyn Sink,
) -> Result<SourceRecord, SourceError> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(SourceError::Missing {
                path: path.to_path_buf(),
            });
        }
        Err(source) => {
            return Err(SourceError::Unreadable {
                path: path.to_path_buf(),
                source,
            });
        }
    };
    if found.len() == 0 {
        return Err(SourceError::Empty {
            path: path.to_path_buf(),
        });
    }
    let copy = Scratch::new(path, reading.scratch)?;
    let mut copying = || copy_database(path, &copy.path);
    let told = match logs_ahead(path)? {
        // Writers and readers do not meet.
        true => copying().map(|()| None)?,
        false => reading.stillness.during(path, &mut copying)?,
    };
    if let Some(told) = told {
        sink.note(told);
    }
    let facts = examine(path, &copy.path, newest, sink)?;
    let body = Copy {
        path: copy.path.clone(),
        original: Some(path.to_path_buf()),
    };
    let bytes = sink.file(entry.clone(), meta_of(&found), &body)?;
    Ok(SourceRecord {
        kind: SQLITE.into(),
        path: entry,
        files: 1,
        bytes: bytes.unwrap_or_default(),
        newest: facts.newest,
        rows: facts.rows,
    })
}

/// A folder of its own for the copy; gone when dropped.
struct Scratch {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scratch {
    fn new(source: &Path, scratch: &Path) -> Result<Self, SourceError> {
        let folder = tempfile::Builder::new()
            .prefix("sqlite-")
            .tempdir_in(scratch)
            .map_err(|e| SourceError::Database {
                path: source.to_path_buf(),
                what: "copied to the scratch folder",
                source: e.into(),
            })?;
        Ok(Scratch {
            path: folder.path().join("copy.db"),
            _folder: folder,
        })
    }
}

fn failed(path: &Path, what: &'static str) -> impl Fn(rusqlite::Error) -> SourceError {
    let path = path.to_path_buf();
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => SourceError::ScratchFull { path: path.clone() },
        _ => SourceError::Database {
            path: path.clone(),
            what,
            source: error.into(),
        },
    }
}

fn open(path: &Path) -> Result<Connection, SourceError> {
    let opened = failed(path, "opened");
    // Writable, since a database in WAL mode that nobody has open cannot be read otherwise; nothing is written by us.
    let writable = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = match Connection::open_with_flags(path, writable) {
        Ok(from) => from,
        Err(_) => Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(&opened)?,
    };
    from.busy_timeout(Duration::from_secs(1)).map_err(&opened)?;
    Ok(from)
}

/// Whether it is in WAL mode, by the read version of its header (<https://sqlite.org/fileformat2.html>, 1.3.3). Asking
/// SQLite would lock it.
fn logs_ahead(path: &Path) -> Result<bool, SourceError> {
    let mut header = Vec::with_capacity(20);
    let read = fs::File::open(path).and_then(|file| file.take(20).read_to_end(&mut header));
    read.map_err(|source| SourceError::Unreadable {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(header.get(19) == Some(&2))
}

fn copy_database(path: &Path, to: &Path) -> Result<(), SourceError> {
    let from = open(path)?;
    let copied = failed(path, "copied");
    let mut into = Connection::open(to).map_err(&copied)?;
    // The copy is synced where it is stored.
    into.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;")
        .map_err(&copied)?;
    let backup = Backup::new(&from, &mut into).map_err(&copied)?;
    let begun = std::time::Instant::now();
    loop {
        match backup.step(-1).map_err(&copied)? {
            StepResult::Done => return Ok(()),
            _ if begun.elapsed() > PATIENCE => {
                return Err(SourceError::Database {
                    path: path.to_path_buf(),
                    what: "copied: a writer holds it locked",
                    source: io::Error::from(io::ErrorKind::TimedOut).into(),
                });
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[derive(Default)]
struct Facts {
    newest: Option<Timestamp>,
    rows: BTreeMap<String, u64>,
}

/// `path` is for messages; `copy` is what is looked at.
fn examine(path: &Path, copy: &Path, newest: Option<&str>, sink: &mut dyn Sink) -> Result<Facts, SourceError> {
    let checked = failed(path, "checked");
    let db = Connection::open(copy).map_err(&checked)?;
    let findings: Vec<String> = db
        .prepare("PRAGMA quick_check(3)")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => SourceError::Corrupt {
                path: path.to_path_buf(),
                finding: error.to_string(),
            },
            _ => checked(error),
        })?;
    if findings != ["ok"] {
        return Err(SourceError::Corrupt {
            path: path.to_path_buf(),
            finding: findings.join("; ").chars().take(500).collect(),
        });
    }
    let mut facts = Facts::default();
    let tables: Vec<String> = db
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
        .map_err(&checked)?;
    for table in tables {
        let quoted = table.replace('"', "\"\"");
        let rows = db.query_row(&format!("SELECT count(*) FROM \"{quoted}\""), [], |row| {
            row.get::<_, i64>(0)
        });
        match rows {
            Ok(rows) => {
                facts.rows.insert(table, rows.unsigned_abs());
            }
            // A virtual table of a module that is not here.
            Err(error) => sink.note(format!("the rows of `{table}` were not counted: {error}")),
        }
    }
    if let Some(query) = newest {
        match db.query_row(query, [], |row| row.get::<_, Value>(0)) {
            Ok(Value::Null) => {}
            Ok(value) => match instant(&value) {
                Some(instant) => facts.newest = Some(instant),
                None => sink.note(format!(
                    "`newest` of {} gave a value of the kind {}, which is no time",
                    path.display(),
                    value.data_type()
                )),
            },
            Err(error) => sink.note(format!("`newest` of {} failed: {error}", path.display())),
        }
    }
    Ok(facts)
}

/// ISO 8601, in UTC where no offset is said, or Unix seconds.
fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Integer(seconds) => instant_of_seconds(*seconds as f64),
        Value::Real(seconds) => instant_of_seconds(*seconds),
        Value::Text(text) => parse_instant(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_text_and_as_numbers() {
        let at = Some(1_767_323_045);
        for value in [
            Value::Text("2026-01-02 03:04:05".into()),
            Value::Integer(1_767_323_045),
            Value::Real(1_767_323_045.0),
        ] {
            assert_eq!(instant(&value).map(|t| t.timestamp()), at, "{value:?}");
        }
        for bad in [
            Value::Null,
            Value::Real(f64::NAN),
            Value::Integer(i64::MAX),
            Value::Blob(vec![1]),
        ] {
            assert_eq!(instant(&bad), None, "{bad:?}");
        }
    }
}
