use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::backup::{Entry, Node};

use super::RestoreError;
use super::target::{Target, failed};

const HELD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What has no content of its own.
impl Target {
    /// Another name of a file that was restored; `false` where that was not.
    pub(super) fn hardlink(&mut self, entry: &Entry, of: &Entry) -> Result<bool, RestoreError> {
        let Some(Some(file)) = self.linked.get(&of.path).copied() else {
            return Ok(false);
        };
        let (path, of_path) = (self.at(&entry.path), self.at(&of.path));
        let (folder, name) = self.parent(&of.path)?;
        let held = rustix::fs::openat(&folder, OsStr::from_bytes(&name), HELD, Mode::empty());
        let held = held.map_err(|e| failed(&of_path, e))?;
        let found = rustix::fs::fstat(&held).map_err(|e| failed(&of_path, e))?;
        if (found.st_dev, found.st_ino) != file {
            return Err(RestoreError::InTheWay {
                path: of_path,
                why: "it is no longer the file that was restored",
            });
        }
        let itself = format!("/proc/self/fd/{}", held.as_raw_fd());
        let (folder, name) = self.parent(&entry.path)?;
        let linked = self.place(&folder, OsStr::from_bytes(&name), &path, |name| {
            rustix::fs::linkat(CWD, &itself, &folder, name, AtFlags::SYMLINK_FOLLOW)
        });
        match linked {
            Err(Refused::Here(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::NOTSUP)) => {
                self.copy(entry, of, &itself)?;
                self.copied += 1;
            }
            other => other.map_err(|refused| refused.into_error(&path))?,
        }
        Ok(true)
    }

    fn copy(&mut self, entry: &Entry, of: &Entry, from: &str) -> Result<(), RestoreError> {
        let entry = Entry {
            path: entry.path.clone(),
            ..of.clone()
        };
        let mut copy = self.begin(&entry)?;
        let copied = File::open(from).and_then(|mut from| io::copy(&mut from, &mut copy.file));
        copied.map_err(|e| failed(&self.at(&entry.path), e))?;
        self.name(&entry, copy)
    }

    /// A link, a named pipe or a device; `false` where the target's file system makes none, which is counted.
    pub(super) fn node(&mut self, entry: &Entry) -> Result<bool, RestoreError> {
        let path = self.at(&entry.path);
        let (folder, name) = self.parent(&entry.path)?;
        let name = OsStr::from_bytes(&name);
        // For nobody until it has its owner.
        let made = |name: &OsStr, kind, device| rustix::fs::mknodat(&folder, name, kind, Mode::empty(), device);
        let placed = match &entry.node {
            Node::Symlink(to) => self.place(&folder, name, &path, |name| {
                rustix::fs::symlinkat(OsStr::from_bytes(to), &folder, name)
            }),
            Node::Fifo => self.place(&folder, name, &path, |name| made(name, FileType::Fifo, 0)),
            Node::Device { block, major, minor } => {
                let kind = if *block {
                    FileType::BlockDevice
                } else {
                    FileType::CharacterDevice
                };
                let device = rustix::fs::makedev(*major, *minor);
                self.place(&folder, name, &path, |name| made(name, kind, device))
            }
            Node::Dir | Node::File(_) | Node::Hardlink(_) => return Ok(true),
        };
        match placed {
            Err(Refused::Here(error)) if cannot_be(error) => {
                self.lost += 1;
                self.lost_example
                    .get_or_insert_with(|| format!("{}: {error}", path.display()));
                return Ok(false);
            }
            other => other.map_err(|refused| refused.into_error(&path))?,
        }
        let is_link = matches!(entry.node, Node::Symlink(_));
        self.dresser.dress_at(&folder, name, &path, entry, is_link)?;
        Ok(true)
    }

    /// Makes something under a name, in the place of what has it now where that may be replaced.
    fn place(
        &self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &Path,
        make: impl Fn(&OsStr) -> Result<(), Errno>,
    ) -> Result<(), Refused> {
        match make(name) {
            Err(Errno::EXIST) if self.overwrite => {
                let removed = rustix::fs::unlinkat(folder, name, AtFlags::empty());
                removed.map_err(|e| Refused::Error(failed(path, e)))?;
                make(name).map_err(Refused::Here)
            }
            Err(Errno::EXIST) => Err(Refused::Error(RestoreError::Exists {
                first: path.to_path_buf(),
                count: 1,
            })),
            other => other.map_err(Refused::Here),
        }
    }
}

/// What a file system says that has no such thing, and a user namespace of its devices.
fn cannot_be(error: Errno) -> bool {
    matches!(error, Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL)
}

enum Refused {
    /// By the file system.
    Here(Errno),
    Error(RestoreError),
}

impl Refused {
    fn into_error(self, path: &Path) -> RestoreError {
        match self {
            Refused::Here(error) => failed(path, error),
            Refused::Error(error) => error,
        }
    }
}
