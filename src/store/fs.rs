use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tempfile::TempPath;
use tokio_util::io::ReaderStream;

use crate::ports::{ByteStream, ObjectInfo, Put, Store, StoreError};

use super::name::{checked, is_name};

/// Unfinished writes; never an object's name, since those have no part that begins with a dot.
const UNFINISHED: &str = ".unfinished";
/// What a killed process left there is removed after this.
const LEFT_BEHIND: Duration = Duration::from_secs(48 * 3600);
const READ_BYTES: usize = 256 << 10;
/// Chunks.
const WRITTEN_AT_ONCE: usize = 16;

/// Objects as files below one folder, each synced and renamed into place.
#[derive(Clone, Debug)]
pub struct FsStore {
    root: PathBuf,
}

impl FsStore {
    /// A folder that is there. One that is missing is an error: its disk may not be mounted.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = FsStore { root: root.into() };
        match fs::metadata(&store.root) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(store.failed("open", "the folder", io::ErrorKind::NotADirectory.into())),
            Err(error) => {
                let folder = "the folder (the first backup makes it; if there was one, is its disk mounted?)";
                return Err(store.failed("open", folder, error));
            }
        }
        store.sweep()?;
        Ok(store)
    }

    /// Makes the folder where it is missing, for its owner alone.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = FsStore { root: root.into() };
        if !store.root.exists() {
            make_folder(&store.root).map_err(|e| store.failed("make", "the folder", e))?;
        }
        FsStore::open(store.root)
    }

    fn sweep(&self) -> Result<(), StoreError> {
        let failed = |e| self.failed("clear", UNFINISHED, e);
        let entries = match fs::read_dir(self.root.join(UNFINISHED)) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // Whoever may only read the store need not clear it.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            Err(e) => return Err(failed(e)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let found = match entry.metadata() {
                Ok(found) => found,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            let age = SystemTime::now().duration_since(found.modified().map_err(failed)?);
            if found.is_file() && age.is_ok_and(|age| age > LEFT_BEHIND) {
                match fs::remove_file(entry.path()) {
                    Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                        return Err(failed(e));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        Ok(self.root.join(checked(name)?))
    }

    fn failed(&self, what: &'static str, name: &str, error: io::Error) -> StoreError {
        let (store, name) = (self.describe(), name.to_owned());
        match error.kind() {
            io::ErrorKind::NotFound if is_name(&name) => StoreError::NotFound { store, name },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { store, name },
            _ => StoreError::Failed {
                store,
                what,
                name,
                source: Box::new(error),
            },
        }
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        done.map_err(io::Error::other)
            .and_then(|result| result)
            .map_err(|error| self.failed(what, name, error))
    }
}

#[async_trait]
impl Store for FsStore {
    fn describe(&self) -> String {
        format!("disk {}", self.root.display())
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        let path = self.path(name)?;
        let failed = |error| self.failed("write", name, error);
        let at = path.clone();
        let (file, unfinished) = self
            .blocking("write", name, move |root| {
                if mode == Put::Create && at.symlink_metadata().is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                if !root.is_dir() {
                    return Err(io::Error::new(
                        io::ErrorKind::NotADirectory,
                        "the store's folder is gone; is its disk mounted?",
                    ));
                }
                let folder = root.join(UNFINISHED);
                make_folder(&folder)?;
                let temporary = tempfile::Builder::new()
                    .permissions(fs::Permissions::from_mode(0o600))
                    .tempfile_in(folder)?;
                Ok(temporary.into_parts())
            })
            .await
            .map_err(|error| exists(self, name, error))?;
        let file = Arc::new(file);
        let mut written = 0;
        // What has come meanwhile is written together: each change of threads costs as much as some KiB.
        let mut body = body.ready_chunks(WRITTEN_AT_ONCE);
        while let Some(chunks) = body.next().await {
            let chunks: Vec<Bytes> = chunks.into_iter().collect::<io::Result<_>>().map_err(failed)?;
            let (to, bytes) = (file.clone(), chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
            self.blocking("write", name, move |_| {
                chunks.iter().try_for_each(|chunk| (&*to).write_all(chunk))
            })
            .await?;
            written += bytes;
        }
        self.blocking("write", name, move |root| place(root, &file, unfinished, &path, mode))
            .await
            .map_err(|error| exists(self, name, error))?;
        Ok(written)
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        let path = self.path(name)?;
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|error| self.failed("read", name, error))?;
        Ok(Box::pin(ReaderStream::with_capacity(file, READ_BYTES)))
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        let bytes = self.blocking("read", name, move |_| {
            let file = File::open(path)?;
            let end = start.checked_add(length);
            if end.is_none_or(|end| file.metadata().is_ok_and(|found| end > found.len())) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            Ok(bytes.into())
        });
        bytes.await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let wanted = prefix.to_owned();
        let objects = self.blocking("list", "its objects", move |root| {
            let mut found = Vec::new();
            // The whole folders of the prefix need not be searched for.
            let top = wanted.rsplit_once('/').map_or("", |(folder, _)| folder);
            if !top.is_empty() && !is_name(top) {
                return Ok(found);
            }
            fs::read_dir(root)?;
            match collect(root, top, &mut found) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !top.is_empty() => {}
                other => other?,
            }
            found.retain(|object: &ObjectInfo| object.name.starts_with(&wanted));
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        });
        objects.await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name)?;
        let done = self.blocking("delete", name, move |_| match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => sync_folder(path.parent()),
        });
        done.await
    }
}

fn exists(store: &FsStore, name: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Failed { source, .. }
            if source
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::AlreadyExists) =>
        {
            StoreError::Exists {
                store: store.describe(),
                name: name.to_owned(),
            }
        }
        other => other,
    }
}

/// Syncs a finished write and gives it its name.
fn place(root: &Path, file: &File, unfinished: TempPath, path: &Path, mode: Put) -> io::Result<()> {
    file.sync_all()?;
    let folder = path.parent().unwrap_or(root);
    if !folder.exists() {
        make_folder(folder)?;
        sync_folder(folder.parent())?;
    }
    match mode {
        Put::Create => unfinished.persist_noclobber(path),
        Put::Replace => unfinished.persist(path),
    }
    .map_err(|refused| refused.error)?;
    sync_folder(Some(folder))
}

/// With those above it, for its owner alone.
fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Files below `root/inner` whose names an object can have; others are not ours (`lost+found`).
fn collect(root: &Path, inner: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(inner))? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(part) = file_name.to_str() else { continue };
        let name = if inner.is_empty() {
            part.to_owned()
        } else {
            format!("{inner}/{part}")
        };
        if !is_name(&name) {
            continue;
        }
        let kind = match fs::metadata(entry.path()) {
            Ok(kind) => kind,
            // Removed meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        if kind.is_dir() {
            collect(root, &name, found)?;
        } else if kind.is_file() {
            found.push(ObjectInfo {
                name,
                bytes: kind.len(),
            });
        }
    }
    Ok(())
}
