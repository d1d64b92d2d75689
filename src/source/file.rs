use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::backup::{Meta, Traits};
use crate::ports::{Body, FileId, Opened, Stamp};

use super::traits::{holes_of, xattrs_of};

/// Nanoseconds since 1970, held within what 64 bits say.
fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

pub(super) fn meta_of(found: &Metadata) -> Meta {
    Meta {
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        mtime: nanos(found.mtime(), found.mtime_nsec()),
    }
}

fn stamp_of(found: &Metadata) -> Stamp {
    Stamp {
        size: found.len(),
        mtime: nanos(found.mtime(), found.mtime_nsec()),
        ctime: nanos(found.ctime(), found.ctime_nsec()),
        inode: found.ino(),
    }
}

/// Whether what was looked for is no longer there, be it that something of another kind has its name now.
pub(super) fn is_gone(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || [Errno::LOOP, Errno::NXIO].contains(&Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// A file on this host; a link in its place is not followed unless it is the source's own path.
pub(super) struct HostFile {
    path: PathBuf,
    follow: bool,
    found: FileId,
    linked: bool,
    /// Whether it takes less room on the disk than it has bytes.
    sparse: bool,
}

impl HostFile {
    pub(super) fn new(path: &Path, found: &Metadata) -> Self {
        HostFile {
            path: path.to_path_buf(),
            follow: false,
            found: FileId {
                device: found.dev(),
                stamp: stamp_of(found),
            },
            linked: found.nlink() > 1,
            sparse: found.blocks().saturating_mul(512) < found.len(),
        }
    }

    /// What is behind a link too; on its own, whatever other names it has.
    pub(super) fn following(path: &Path, found: &Metadata) -> Self {
        HostFile {
            follow: true,
            linked: false,
            ..HostFile::new(path, found)
        }
    }
}

impl Body for HostFile {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenFile(open(&self.path, self.follow)?)))
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn found(&self) -> Option<Stamp> {
        Some(self.found.stamp)
    }

    fn traits(&self) -> io::Result<Traits> {
        let holes = match self.sparse {
            true => holes_of(&open(&self.path, self.follow)?)?,
            false => Vec::new(),
        };
        Ok(Traits {
            xattrs: xattrs_of(&self.path, self.follow)?,
            holes,
        })
    }

    fn link(&self) -> Option<FileId> {
        self.linked.then_some(self.found)
    }
}

/// A copy that was made to be read once.
pub(super) struct Copy {
    pub(super) path: PathBuf,
    /// Whose extended attributes it has.
    pub(super) original: PathBuf,
}

impl Body for Copy {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenFile(open(&self.path, false)?)))
    }

    fn path(&self) -> Option<&Path> {
        None
    }

    fn traits(&self) -> io::Result<Traits> {
        Ok(Traits {
            xattrs: xattrs_of(&self.original, true)?,
            holes: Vec::new(),
        })
    }
}

/// Not found where there is no plain file any more.
fn open(path: &Path, follow: bool) -> io::Result<File> {
    // Not to wait for the other end, should it have become a pipe.
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    let file = match opened {
        Err(error) if is_gone(&error) => return Err(io::ErrorKind::NotFound.into()),
        other => other?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

struct OpenFile(File);

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Opened for OpenFile {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp_of(&self.0.metadata()?))
    }
}
