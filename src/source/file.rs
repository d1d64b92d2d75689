use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

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
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || [Errno::LOOP, Errno::NXIO].contains(&Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// A source's own folder, held open: what lies below it is reached without following any link, also where one takes
/// the place of a folder meanwhile.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// The folder itself may be reached through links: it is where the configuration says.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root {
            folder: rustix::fs::open(path, flags, Mode::empty())?,
            path: path.to_path_buf(),
        })
    }

    /// Something at or below the folder, by its whole path.
    pub(super) fn reach(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let inner = path.strip_prefix(&self.path).map_err(io::Error::other)?;
        let inner = if inner.as_os_str().is_empty() {
            Path::new(".")
        } else {
            inner
        };
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match rustix::fs::openat2(&self.folder, inner, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // A kernel before 5.6, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => Ok(rustix::fs::openat(&self.folder, inner, flags, Mode::empty())?),
            other => Ok(other?),
        }
    }
}

/// A file on this host; no link on the way to it is followed unless it is on the way to the source's own path.
pub(super) struct HostFile {
    path: PathBuf,
    /// `None` where the file itself was named.
    root: Option<Arc<Root>>,
    found: FileId,
    linked: bool,
    /// Whether it takes less room on the disk than it has bytes.
    sparse: bool,
}

impl HostFile {
    pub(super) fn below(root: &Arc<Root>, path: &Path, found: &Metadata) -> Self {
        HostFile {
            root: Some(root.clone()),
            ..HostFile::new(path, found)
        }
    }

    fn new(path: &Path, found: &Metadata) -> Self {
        HostFile {
            path: path.to_path_buf(),
            root: None,
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
            linked: false,
            ..HostFile::new(path, found)
        }
    }
}

impl HostFile {
    fn file(&self) -> io::Result<File> {
        match &self.root {
            Some(root) => plain(root.reach(&self.path, READ).map(File::from)),
            None => plain(open(&self.path)),
        }
    }
}

impl Body for HostFile {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenFile(self.file()?)))
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn found(&self) -> Option<Stamp> {
        Some(self.found.stamp)
    }

    fn traits(&self) -> io::Result<Traits> {
        let holes = match self.sparse {
            true => holes_of(&self.file()?)?,
            false => Vec::new(),
        };
        Ok(Traits {
            xattrs: xattrs_of(&self.path, self.root.is_none())?,
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
        Ok(Box::new(OpenFile(plain(open(&self.path))?)))
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

/// Not to wait for the other end, should it have become a pipe.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, READ | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Not found where there is no plain file any more.
fn plain(opened: io::Result<File>) -> io::Result<File> {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_below_the_source_is_followed_on_the_way_to_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("source/real")).expect("made");
        fs::create_dir(at("outside")).expect("made");
        fs::write(at("source/real/file"), "mine").expect("written");
        fs::write(at("outside/file"), "secret").expect("written");
        symlink(at("source"), at("named")).expect("linked");
        let root = Arc::new(Root::open(&at("named")).expect("a folder"));
        let path = at("named/real/file");
        let body = HostFile::below(&root, &path, &fs::metadata(&path).expect("there"));
        let read = |body: &HostFile| {
            let mut text = String::new();
            body.open()
                .and_then(|mut file| file.read_to_string(&mut text))
                .map(|_| text)
        };
        assert_eq!(read(&body).expect("read"), "mine");
        // The folder is swapped for a link after the file was found in it.
        fs::rename(at("source/real"), at("source/was")).expect("moved");
        symlink(at("outside"), at("source/real")).expect("linked");
        let gone = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        assert!(read(&body).is_err_and(gone));
        assert!(
            root.reach(&at("named/real"), OFlags::DIRECTORY)
                .is_err_and(|e| is_gone(&e))
        );
        assert!(root.reach(&at("outside"), OFlags::DIRECTORY).is_err());
        // So is the file itself.
        fs::remove_file(at("source/real")).expect("removed");
        fs::rename(at("source/was"), at("source/real")).expect("moved");
        assert_eq!(read(&body).expect("read"), "mine");
        fs::remove_file(&path).expect("removed");
        symlink(at("outside/file"), &path).expect("linked");
        assert!(read(&body).is_err_and(gone));
    }
}
