//! The local copy of a held swap's files: there only until the swap is over.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::SQLITE_SIDES;
use crate::state::{make_folder, write_atomic};

const LARGEST_LIST: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{path} could not be copied; free space or mend the disk")]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} could not be put back; its copy lies in {copy}")]
    Restore {
        path: PathBuf,
        copy: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the copy {path} cannot be used")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Written last: a copy without it was cut off, and then nothing had been started that could have changed the data.
#[derive(Serialize, Deserialize)]
struct List {
    databases: Vec<PathBuf>,
    files: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    original: PathBuf,
    /// Its name in the copy's folder.
    name: String,
}

/// Copies the databases and what lies beside them; how many files and bytes. Nobody may have them open.
pub fn copy(databases: &[PathBuf], folder: &Path) -> Result<(usize, u64), DataError> {
    discard(folder)?;
    make_folder(folder, 0o700).map_err(|source| unusable(folder, source))?;
    let mut files = Vec::new();
    let mut bytes = 0;
    for database in databases {
        for original in family(database) {
            let name = files.len().to_string();
            match duplicate(&original, &folder.join(&name)) {
                Ok(copied) => bytes += copied,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(DataError::Copy { path: original, source }),
            }
            files.push(Entry { original, name });
        }
    }
    let count = files.len();
    let list = List {
        databases: databases.to_vec(),
        files,
    };
    let json = serde_json::to_vec(&list).map_err(|e| unusable(folder, e.into()))?;
    write_atomic(&folder.join("list.json"), &json, 0o600).map_err(|source| unusable(folder, source))?;
    Ok((count, bytes))
}

/// Makes the files what they were when they were copied; those that came since are removed. Nobody may have them open.
pub fn restore(folder: &Path) -> Result<(), DataError> {
    let mut json = Vec::new();
    match File::open(folder.join("list.json")) {
        Ok(file) => file
            .take(LARGEST_LIST)
            .read_to_end(&mut json)
            .map_err(|source| unusable(folder, source))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(folder, source)),
    };
    let list: List = serde_json::from_slice(&json).map_err(|e| unusable(folder, e.into()))?;
    let failed = |path: &Path, source| DataError::Restore {
        path: path.to_path_buf(),
        copy: folder.to_path_buf(),
        source,
    };
    for stale in list.databases.iter().flat_map(|database| family(database)) {
        if !list.files.iter().any(|entry| entry.original == stale) {
            match fs::remove_file(&stale) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&stale, e)),
                _ => {}
            }
        }
    }
    for Entry { original, name } in &list.files {
        let place = original.parent().unwrap_or(Path::new("/"));
        let temporary = place.join(format!(".{name}.arkwright-restore"));
        let put = || -> io::Result<()> {
            duplicate(&folder.join(name), &temporary)?;
            fs::rename(&temporary, original)?;
            File::open(place)?.sync_all()
        };
        put().map_err(|source| failed(original, source))?;
    }
    Ok(())
}

pub fn discard(folder: &Path) -> Result<(), DataError> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(folder, e)),
        _ => Ok(()),
    }
}

/// The database itself and its companions, there or not.
fn family(database: &Path) -> Vec<PathBuf> {
    let beside = SQLITE_SIDES.iter().map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    std::iter::once(database.to_path_buf()).chain(beside).collect()
}

/// Contents, mode and owner, on the disk when it returns.
fn duplicate(from: &Path, to: &Path) -> io::Result<u64> {
    let meta = fs::metadata(from)?;
    let bytes = fs::copy(from, to)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    File::open(to)?.sync_all()?;
    Ok(bytes)
}

fn unusable(folder: &Path, source: io::Error) -> DataError {
    DataError::Folder {
        path: folder.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_as_they_were_and_newcomers_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("a.db");
        let copied = folder.path().join("copy");
        let beside = |suffix: &str| folder.path().join(format!("a.db{suffix}"));
        fs::write(&database, "one").expect("written");
        fs::write(beside("-journal"), "hot").expect("written");
        fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).expect("set");
        assert_eq!(copy(std::slice::from_ref(&database), &copied).expect("copied"), (2, 6));
        fs::write(&database, "two").expect("written");
        fs::remove_file(beside("-journal")).expect("removed");
        fs::write(beside("-wal"), "new").expect("written");
        for _ in 0..2 {
            restore(&copied).expect("restored, also twice");
            assert_eq!(fs::read_to_string(&database).expect("there"), "one");
            assert_eq!(fs::read_to_string(beside("-journal")).expect("there"), "hot");
            assert!(!beside("-wal").exists());
        }
        let mode = fs::metadata(&database).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        discard(&copied).expect("dropped");
        discard(&copied).expect("dropped twice");
        fs::write(&database, "three").expect("written");
        restore(&copied).expect("nothing to restore");
        assert_eq!(fs::read_to_string(&database).expect("there"), "three");
    }

    #[test]
    fn a_copy_that_was_cut_off_puts_nothing_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("a.db");
        let copied = folder.path().join("copy");
        fs::write(&database, "one").expect("written");
        copy(std::slice::from_ref(&database), &copied).expect("copied");
        fs::remove_file(copied.join("list.json")).expect("cut off");
        fs::write(&database, "two").expect("written");
        restore(&copied).expect("nothing to restore");
        assert_eq!(fs::read_to_string(&database).expect("there"), "two");
    }
}
