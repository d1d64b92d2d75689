use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::backup::{Entry, EntryPath, Node, SQLITE_SIDES};

use super::RestoreError;
use super::dress::Dresser;
use super::unnamed::Unnamed;

/// A folder that is written into and never out of: each part of a path is opened below the one before, and no link is
/// followed on the way.
pub(super) struct Target {
    root: OwnedFd,
    path: PathBuf,
    pub(super) overwrite: bool,
    /// Files beside which none of an older database may stay.
    databases: BTreeSet<EntryPath>,
    /// The parts of every folder that was not there before.
    made: BTreeSet<Vec<Vec<u8>>>,
    pub(super) dresser: Dresser,
    /// Files that hard links lead to, and what they are once they were restored.
    pub(super) linked: BTreeMap<EntryPath, Option<(u64, u64)>>,
    /// Hard links that became files of their own.
    pub(super) copied: u64,
    /// Links, named pipes and devices that could not be made, and the first of them with the reason.
    pub(super) lost: u64,
    pub(super) lost_example: Option<String>,
    /// The folder written into last.
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
    temporary: u64,
}

pub(super) fn failed(path: &Path, error: impl Into<io::Error>) -> RestoreError {
    let (path, source) = (path.to_path_buf(), error.into());
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => RestoreError::Full { path },
        _ => RestoreError::Write { path, source },
    }
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Target {
    /// The folder itself may be reached through links: it is where the caller said.
    pub(super) fn open(path: &Path, overwrite: bool, databases: BTreeSet<EntryPath>) -> Result<Self, RestoreError> {
        std::fs::create_dir_all(path).map_err(|e| failed(path, e))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed(path, e))?;
        Ok(Target {
            root,
            path: path.to_path_buf(),
            overwrite,
            databases,
            made: BTreeSet::new(),
            dresser: Dresser::new(),
            linked: BTreeMap::new(),
            copied: 0,
            lost: 0,
            lost_example: None,
            last: None,
            temporary: 0,
        })
    }

    pub(super) fn at(&self, entry: &EntryPath) -> PathBuf {
        self.path.join(OsStr::from_bytes(&entry.to_bytes()))
    }

    /// Nothing that will be written is there, or it may be replaced; folders may be there.
    pub(super) fn must_be_free(&mut self, entries: &[Entry]) -> Result<(), RestoreError> {
        let mut first = None;
        let mut count = 0;
        for entry in entries {
            let Some(found) = self.look(&entry.path)? else {
                continue;
            };
            let (there, wanted) = (found == FileType::Directory, entry.node == Node::Dir);
            if there != wanted {
                let why = if there { "it is a folder" } else { "it is not a folder" };
                return Err(RestoreError::InTheWay {
                    path: self.at(&entry.path),
                    why,
                });
            }
            if !there && !self.overwrite {
                count += 1;
                first.get_or_insert_with(|| self.at(&entry.path));
            }
        }
        for side in self.sides(entries)? {
            match self.look(&side)? {
                None => {}
                Some(FileType::Directory) => {
                    return Err(RestoreError::InTheWay {
                        path: self.at(&side),
                        why: "it is a folder",
                    });
                }
                Some(_) if self.overwrite => {}
                Some(_) => {
                    count += 1;
                    first.get_or_insert_with(|| self.at(&side));
                }
            }
        }
        match first {
            Some(first) => Err(RestoreError::Exists { first, count }),
            None => Ok(()),
        }
    }

    /// What SQLite may have left beside the databases among these.
    fn sides(&self, entries: &[Entry]) -> Result<Vec<EntryPath>, RestoreError> {
        let databases = entries.iter().map(|entry| &entry.path);
        let mut sides = Vec::new();
        for database in databases.filter(|path| self.databases.contains(*path)) {
            for suffix in SQLITE_SIDES {
                let side = EntryPath::from_bytes(&[&database.to_bytes(), suffix.as_bytes()].concat());
                sides.push(side.map_err(|e| failed(&self.at(database), io::Error::other(e)))?);
            }
        }
        Ok(sides)
    }

    /// What is at the path, links not followed; `None` where nothing is.
    fn look(&mut self, path: &EntryPath) -> Result<Option<FileType>, RestoreError> {
        let mut parts = path.parts();
        let Some(name) = parts.pop() else { return Ok(None) };
        let folder = match self.walk(&parts, false) {
            Ok(Some(folder)) => folder,
            Ok(None) => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&folder, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed(&self.at(path), error)),
        }
    }

    /// The folder at these parts, made on the way where that is asked; `None` where it is missing and is not.
    fn walk(&mut self, parts: &[Vec<u8>], make: bool) -> Result<Option<OwnedFd>, RestoreError> {
        if let Some((known, folder)) = &self.last
            && known == parts
        {
            return Ok(Some(folder.try_clone().map_err(|e| failed(&self.path, e))?));
        }
        let mut folder = self.root.try_clone().map_err(|e| failed(&self.path, e))?;
        let mut path = self.path.clone();
        for (depth, part) in parts.iter().enumerate() {
            let name = OsStr::from_bytes(part);
            path.push(name);
            let opened = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o700)) {
                        Ok(()) => {
                            self.made.insert(parts[..=depth].to_vec());
                        }
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(failed(&path, error)),
                    }
                    rustix::fs::openat(&folder, name, FOLDER, Mode::empty())
                }
                other => other,
            };
            folder = match opened {
                Ok(opened) => opened,
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(RestoreError::InTheWay {
                        path,
                        why: "it is a link or a file where a folder should be, and nothing is written through it",
                    });
                }
                Err(error) => return Err(failed(&path, error)),
            };
        }
        let kept = folder.try_clone().map_err(|e| failed(&self.path, e))?;
        self.last = Some((parts.to_vec(), kept));
        Ok(Some(folder))
    }

    pub(super) fn parent(&mut self, entry: &EntryPath) -> Result<(OwnedFd, Vec<u8>), RestoreError> {
        let mut parts = entry.parts();
        let name = parts.pop().unwrap_or_default();
        match self.walk(&parts, true)? {
            Some(folder) => Ok((folder, name)),
            None => Err(failed(&self.at(entry), io::ErrorKind::NotFound)),
        }
    }

    /// For its owner alone; its own mode, owner and time come at the end.
    pub(super) fn make_folder(&mut self, entry: &Entry) -> Result<(), RestoreError> {
        let parts = entry.path.parts();
        self.walk(&parts, true).map(|_folder| ())
    }

    pub(super) fn begin(&mut self, entry: &Entry) -> Result<Unnamed, RestoreError> {
        let path = self.at(&entry.path);
        let (folder, _) = self.parent(&entry.path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            self.temporary += 1;
            let temporary = format!(".arkwright-{}-{}.part", std::process::id(), self.temporary);
            match rustix::fs::openat(&folder, &temporary, flags, Mode::from_raw_mode(0o600)) {
                Ok(file) => {
                    let holes = &entry.traits.holes;
                    return Ok(Unnamed::new(file.into(), folder, temporary, path, holes));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }

    /// Gives a file whose content was checked its owner, mode, time and name.
    pub(super) fn name(&mut self, entry: &Entry, mut unnamed: Unnamed) -> Result<(), RestoreError> {
        let path = self.at(&entry.path);
        self.dresser.dress(&unnamed.file, &path, entry, true)?;
        if let Some(linked) = self.linked.get_mut(&entry.path) {
            let found = rustix::fs::fstat(&unnamed.file).map_err(|e| failed(&path, e))?;
            *linked = Some((found.st_dev, found.st_ino));
        }
        let parts = entry.path.parts();
        let name = OsStr::from_bytes(parts.last().map_or(&[], Vec::as_slice));
        if self.overwrite && self.databases.contains(&entry.path) {
            clear_sides(&unnamed, name).map_err(|e| failed(&path, e))?;
        }
        let renamed = if self.overwrite {
            rustix::fs::renameat(&unnamed.folder, &unnamed.temporary, &unnamed.folder, name)
        } else {
            place_new(&unnamed.folder, &unnamed.temporary, name)
        };
        match renamed {
            Ok(()) => {
                unnamed.named = true;
                Ok(())
            }
            Err(Errno::EXIST) => Err(RestoreError::Exists { first: path, count: 1 }),
            Err(Errno::ISDIR) => Err(RestoreError::InTheWay {
                path,
                why: "it is a folder",
            }),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Folders that were made, or may be replaced, get mode, owner and time, the deepest first; then all is synced.
    pub(super) fn finish(&mut self, entries: &[Entry]) -> Result<(), RestoreError> {
        let is_ours =
            |entry: &&Entry| entry.node == Node::Dir && (self.overwrite || self.made.contains(&entry.path.parts()));
        let mut folders: Vec<&Entry> = entries.iter().filter(is_ours).collect();
        folders.sort_by_key(|entry| std::cmp::Reverse(entry.path.parts().len()));
        for entry in folders {
            self.last = None;
            let path = self.at(&entry.path);
            let parts = entry.path.parts();
            if let Some(folder) = self.walk(&parts, false)? {
                let new = self.made.contains(&parts);
                self.dresser.dress(&folder, &path, entry, new)?;
            }
        }
        rustix::fs::syncfs(&self.root).map_err(|e| failed(&self.path, e))
    }

    /// What a person should know of what was restored.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.dresser.notes();
        if self.copied > 0 {
            notes.push(format!(
                "{} hard links became files of their own: the target takes no link there",
                self.copied
            ));
        }
        notes.extend(self.lost_note());
        notes
    }

    pub(super) fn lost_note(&self) -> Option<String> {
        let example = self.lost_example.as_ref()?;
        Some(format!(
            "{} links, named pipes or devices could not be made, such as {example}",
            self.lost
        ))
    }
}

/// Removes what the database that is replaced left beside it, once the new one is on the disk.
fn clear_sides(database: &Unnamed, name: &OsStr) -> Result<(), io::Error> {
    database.file.sync_all()?;
    for suffix in SQLITE_SIDES {
        let mut side = name.to_os_string();
        side.push(suffix);
        match rustix::fs::unlinkat(&database.folder, &side, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::fs::fsync(&database.folder)?;
    Ok(())
}

/// Renames without ever replacing; by linking where the file system cannot do it in one.
fn place_new(folder: &OwnedFd, from: &str, to: &OsStr) -> Result<(), Errno> {
    match rustix::fs::renameat_with(folder, from, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(folder, from, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(folder, from, AtFlags::empty())
        }
        other => other,
    }
}
