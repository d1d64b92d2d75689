use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::backup::{Entry, EntryPath, Meta, Node, SourceRecord, Traits};
use crate::config::Source;

/// Reads what a set's sources hold. Blocks, so it is called where that is allowed.
///
/// A source that is missing, unreadable anywhere, or has no file in it is an error: a backup never passes for more than
/// it holds. A file that vanishes between its folder's listing and its own opening is told to the sink and passed over.
pub trait Sources: Send + Sync {
    /// Everything of one source, folders before what is in them, in the order of names.
    fn read(&self, source: &Source, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<SourceRecord, SourceError>;
    /// One of the stack's own files, placed below `@stack`.
    fn read_stack_file(&self, file: &Path, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<(), SourceError>;
}

pub struct Reading<'a> {
    /// Absolute; where relative source paths begin.
    pub folder: &'a Path,
    /// For temporary copies, which are removed again.
    pub scratch: &'a Path,
    /// Folders that are passed over wherever they turn up; absolute.
    pub skip: &'a [PathBuf],
    /// Files that another source has read already, and what belongs to them.
    pub taken: &'a [PathBuf],
    pub stillness: &'a dyn Stillness,
}

/// Keeps writers from a database while it is copied: one that is no log of writes but changed in its place refuses them
/// meanwhile, and not every program tries again.
pub trait Stillness {
    /// Copies; what a person should know of how that went, if anything.
    fn during(
        &self,
        database: &Path,
        copy: &mut dyn FnMut() -> Result<(), SourceError>,
    ) -> Result<Option<String>, SourceError>;
}

/// Receives what is read, in order.
pub trait Sink {
    /// Whatever has no content: a folder, a link, a named pipe, a device.
    fn entry(&mut self, entry: Entry) -> Result<(), Stopped>;
    fn dir(&mut self, path: EntryPath, meta: Meta) -> Result<(), Stopped> {
        self.entry(Entry::plain(path, meta, Node::Dir))
    }
    /// The size of what was kept; `None` when the file had vanished.
    fn file(&mut self, path: EntryPath, meta: Meta, body: &dyn Body) -> Result<Option<u64>, Stopped>;
    /// Something a person should know, such as a file that vanished.
    fn note(&mut self, note: String);
}

/// The sink will take no more; it knows why.
#[derive(Debug)]
pub struct Stopped;

/// A file that can be read several times.
pub trait Body {
    fn open(&self) -> io::Result<Box<dyn Opened>>;
    /// For messages, and to recognise the file the next time; `None` for a temporary copy.
    fn path(&self) -> Option<&Path>;
    /// How the file stood when it was found, where that is known without opening it.
    fn found(&self) -> Option<Stamp> {
        None
    }
    /// As they are now. Nobody vouches that the holes are those of the content that is read before or after.
    fn traits(&self) -> io::Result<Traits> {
        Ok(Traits::default())
    }
    /// Where the file has several names, what tells that it is the same file.
    fn link(&self) -> Option<FileId> {
        None
    }
}

/// A file on this host, whatever its name, as long as nothing of it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    pub device: u64,
    pub stamp: Stamp,
}

pub trait Opened: Read {
    /// How the file stands now.
    fn stamp(&self) -> io::Result<Stamp>;
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Nanoseconds since 1970.
    pub ctime: i64,
    pub inode: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "the source {path} is not there; if that is meant, take it out of the set, else mount or make it and run the backup again"
    )]
    Missing { path: PathBuf },
    #[error("the source {path} has no file in it; if that is meant, take it out of the set or put a file there")]
    Empty { path: PathBuf },
    #[error("{path} cannot be read, so nothing was published; make it readable for this user or exclude it")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} has no place in a snapshot; rename it or exclude it")]
    Unnameable {
        path: PathBuf,
        #[source]
        source: crate::backup::NotAPath,
    },
    #[error("`{glob}` of the source {path} is not a pattern: {why}")]
    BadGlob {
        path: PathBuf,
        glob: String,
        why: &'static str,
    },
    #[error("the database {path} could not be {what}, so nothing was published")]
    Database {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the database {path} is damaged, so nothing was published: {finding}")]
    Corrupt { path: PathBuf, finding: String },
    #[error("there is no room for a copy of the database {path} in the scratch folder; free space and run it again")]
    ScratchFull { path: PathBuf },
    #[error("reading was stopped")]
    Stopped,
}

impl From<Stopped> for SourceError {
    fn from(Stopped: Stopped) -> Self {
        SourceError::Stopped
    }
}
