use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::state::{forget, make_folder, write_atomic};

/// Uploads in parts that may have left something in the bucket: a file each, written before the server is asked.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upload {
    pub bucket: String,
    pub key: String,
    /// Missing until the server has given it one.
    pub id: Option<String>,
}

/// An upload that is remembered; whoever works on it holds its lock, so nobody else takes it for left behind.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    pub upload: Upload,
    _held: File,
}

const SUFFIX: &str = "upload";

impl Unfinished {
    pub(super) fn new(folder: PathBuf) -> Self {
        Unfinished { folder }
    }

    /// Intent before effect.
    pub(super) fn begin(&self, mark: &str, upload: Upload) -> io::Result<Entry> {
        make_folder(&self.folder, 0o700)?;
        let held = hold(&self.folder, mark)?;
        held.try_lock().map_err(io::Error::from)?;
        let entry = Entry {
            path: self.folder.join(mark).with_extension(SUFFIX),
            upload,
            _held: held,
        };
        entry.write()?;
        Ok(entry)
    }

    /// What nobody works on any more.
    pub(super) fn left_behind(&self) -> io::Result<Vec<Entry>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let mark = path.file_stem().and_then(|stem| stem.to_str());
            let Some(mark) = mark.filter(|_| path.extension().is_some_and(|suffix| suffix == SUFFIX)) else {
                continue;
            };
            let held = hold(&self.folder, mark)?;
            match held.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let text = match fs::read(&path) {
                // Finished since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let upload = serde_json::from_slice(&text)?;
            found.push(Entry {
                path,
                upload,
                _held: held,
            });
        }
        Ok(found)
    }
}

impl Entry {
    pub(super) fn named(&mut self, id: &str) -> io::Result<()> {
        self.upload.id = Some(id.to_owned());
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        write_atomic(&self.path, &serde_json::to_vec(&self.upload)?, 0o600)
    }

    /// Nothing of it is left in the bucket.
    pub(super) fn done(self) -> io::Result<()> {
        forget(&self.path)?;
        forget(&self.path.with_extension("lock"))
    }
}

/// Beside the entry, which is replaced when it is written.
fn hold(folder: &Path, mark: &str) -> io::Result<File> {
    let path = folder.join(mark).with_extension("lock");
    File::options().create(true).truncate(false).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_worked_on_is_not_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let unfinished = Unfinished::new(folder.path().join("uploads"));
        assert!(unfinished.left_behind().expect("none yet").is_empty());
        let upload = Upload {
            bucket: "ark".into(),
            key: "seg/a".into(),
            id: None,
        };
        let mut entry = unfinished.begin("0a", upload).expect("begun");
        entry.named("17").expect("named");
        assert!(unfinished.left_behind().expect("read").is_empty());
        drop(entry);
        let mut left = unfinished.left_behind().expect("read");
        assert_eq!(left[0].upload.id.as_deref(), Some("17"));
        left.remove(0).done().expect("done");
        assert!(unfinished.left_behind().expect("read").is_empty());
        assert_eq!(fs::read_dir(folder.path().join("uploads")).expect("there").count(), 0);
    }
}
