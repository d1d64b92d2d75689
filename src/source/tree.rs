use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::backup::{EntryPath, HOST, Meta, NotAPath, SourceRecord, normal};
use crate::config::Source;
use crate::ports::{Body, Opened, Reading, Sink, SourceError, Sources, Stamp};

use super::glob::Glob;

/// The file system of this host.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostSources;

impl Sources for HostSources {
    fn read(&self, source: &Source, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<SourceRecord, SourceError> {
        let Some(path) = source.path() else {
            return Err(SourceError::NoEngine { kind: source.kind() });
        };
        let path = normal(&reading.folder.join(path));
        let entry = EntryPath::of_host_file(reading.folder, &path);
        if let Ok(entry) = &entry
            && path.exists()
        {
            folders_above(&path, entry, sink)?;
        }
        match source {
            Source::Path { exclude, .. } => {
                let exclude = globs(&path, exclude)?;
                let mut walk = Walk {
                    root: &path,
                    exclude,
                    reading,
                    sink,
                    files: 0,
                    bytes: 0,
                };
                let shown = match entry {
                    Ok(entry) => {
                        walk.root(&entry)?;
                        entry
                    }
                    // The project's folder itself.
                    Err(NotAPath::Length) if path.is_dir() => {
                        walk.children(&path, None)?;
                        EntryPath::from_bytes(b"*").map_err(unnameable(&path))?
                    }
                    Err(error) => return Err(unnameable(&path)(error)),
                };
                if walk.files == 0 {
                    return Err(SourceError::Empty { path });
                }
                Ok(SourceRecord {
                    kind: "path".into(),
                    path: shown,
                    files: walk.files,
                    bytes: walk.bytes,
                    newest: None,
                    rows: Default::default(),
                })
            }
            Source::Sqlite { newest, .. } => {
                let entry = entry.map_err(unnameable(&path))?;
                super::sqlite::read(&path, entry, newest.as_deref(), reading, sink)
            }
            _ => Err(SourceError::NoEngine { kind: source.kind() }),
        }
    }

    fn read_stack_file(&self, file: &Path, reading: &Reading<'_>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let file = reading.folder.join(file);
        let entry = EntryPath::of_stack_file(reading.folder, &file).map_err(unnameable(&file))?;
        let found = fs::metadata(&file).map_err(unreadable(&file))?;
        if !found.is_file() {
            return Err(unreadable(&file)(io::Error::other("it is not a file")));
        }
        let meta = meta_of(&found);
        match sink.file(entry, meta, &HostFile::following(&file))? {
            Some(_) => Ok(()),
            None => Err(SourceError::Missing { path: file }),
        }
    }
}

/// The folders a source lies in, so that a restored tree gets their owners and modes.
fn folders_above(path: &Path, entry: &EntryPath, sink: &mut dyn Sink) -> Result<(), SourceError> {
    let above = path.ancestors().skip(1).zip(entry.as_str().rmatch_indices('/'));
    let mut folders = Vec::new();
    for (folder, (at, _)) in above {
        let entry: EntryPath = entry.as_str()[..at].parse().map_err(unnameable(folder))?;
        if entry.as_str() != HOST {
            folders.push((entry, meta_of(&fs::metadata(folder).map_err(unreadable(folder))?)));
        }
    }
    for (entry, meta) in folders.into_iter().rev() {
        sink.dir(entry, meta)?;
    }
    Ok(())
}

fn globs(path: &Path, texts: &[String]) -> Result<Vec<Glob>, SourceError> {
    let parse = |text: &String| {
        Glob::new(text).map_err(|why| SourceError::BadGlob {
            path: path.to_path_buf(),
            glob: text.clone(),
            why,
        })
    };
    texts.iter().map(parse).collect()
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_path_buf();
    |source| SourceError::Unreadable { path, source }
}

fn unnameable(path: &Path) -> impl FnOnce(NotAPath) -> SourceError {
    let path = path.to_path_buf();
    |source| SourceError::Unnameable { path, source }
}

struct Walk<'a> {
    root: &'a Path,
    exclude: Vec<Glob>,
    reading: &'a Reading<'a>,
    sink: &'a mut dyn Sink,
    files: u64,
    bytes: u64,
}

impl Walk<'_> {
    /// The source's own path; a link there is followed, one further down is kept as a link.
    fn root(&mut self, entry: &EntryPath) -> Result<(), SourceError> {
        let found = match fs::metadata(self.root) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::Missing {
                    path: self.root.to_path_buf(),
                });
            }
            Err(e) => return Err(unreadable(self.root)(e)),
        };
        if found.is_dir() {
            self.sink.dir(entry.clone(), meta_of(&found))?;
            self.children(self.root, Some(entry))
        } else if found.is_file() {
            self.file(self.root, entry.clone(), &found, true)
        } else {
            Err(unreadable(self.root)(io::Error::other(
                "it is neither a file nor a folder",
            )))
        }
    }

    /// What is in a folder; `entry` is `None` for the project's folder.
    fn children(&mut self, folder: &Path, entry: Option<&EntryPath>) -> Result<(), SourceError> {
        let mut names = Vec::new();
        let listing = match fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.vanished(folder);
                return Ok(());
            }
            Err(e) => return Err(unreadable(folder)(e)),
        };
        for child in listing {
            names.push(child.map_err(unreadable(folder))?.file_name());
        }
        names.sort();
        for name in names {
            let path = folder.join(&name);
            if self.left_out(&path) {
                continue;
            }
            let child = match entry {
                Some(entry) => entry.join(name.as_bytes()),
                None => EntryPath::of_host_file(self.reading.folder, &path),
            };
            self.child(&path, child.map_err(unnameable(&path))?)?;
        }
        Ok(())
    }

    fn child(&mut self, path: &Path, entry: EntryPath) -> Result<(), SourceError> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.vanished(path);
                return Ok(());
            }
            Err(e) => return Err(unreadable(path)(e)),
        };
        let kind = found.file_type();
        if kind.is_dir() {
            self.sink.dir(entry.clone(), meta_of(&found))?;
            self.children(path, Some(&entry))?;
        } else if kind.is_file() {
            self.file(path, entry, &found, false)?;
        } else if kind.is_symlink() {
            match fs::read_link(path) {
                Ok(target) => {
                    let target = target.into_os_string().into_vec();
                    self.sink.symlink(entry, meta_of(&found), target)?;
                    self.files += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.vanished(path),
                Err(e) => return Err(unreadable(path)(e)),
            }
        } else {
            let what = match kind {
                k if k.is_socket() => "a socket",
                k if k.is_fifo() => "a named pipe",
                _ => "a device",
            };
            self.sink.note(format!("{entry} was left out: it is {what}"));
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, entry: EntryPath, found: &Metadata, follow: bool) -> Result<(), SourceError> {
        let body = HostFile {
            path: path.to_path_buf(),
            follow,
        };
        match self.sink.file(entry, meta_of(found), &body)? {
            Some(bytes) => {
                self.files += 1;
                self.bytes += bytes;
            }
            None => self.vanished(path),
        }
        Ok(())
    }

    fn vanished(&mut self, path: &Path) {
        let shown = crate::backup::escape(path.as_os_str().as_bytes());
        self.sink.note(format!("{shown} vanished while it was read"));
    }

    fn left_out(&self, path: &Path) -> bool {
        if self
            .reading
            .skip
            .iter()
            .chain(self.reading.taken)
            .any(|skip| skip == path)
        {
            return true;
        }
        let inner = path
            .strip_prefix(self.root)
            .map_or(OsStr::new("").as_bytes(), |p| p.as_os_str().as_bytes());
        self.exclude.iter().any(|glob| glob.fits(inner))
    }
}

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

/// A file on this host; a link in its place is not followed unless it is the source's own path.
pub(super) struct HostFile {
    path: PathBuf,
    follow: bool,
}

impl HostFile {
    pub(super) fn following(path: &Path) -> Self {
        HostFile {
            path: path.to_path_buf(),
            follow: true,
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
}

/// A copy that was made to be read once.
pub(super) struct Copy {
    pub(super) path: PathBuf,
}

impl Body for Copy {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenFile(open(&self.path, false)?)))
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

fn open(path: &Path, follow: bool) -> io::Result<File> {
    use rustix::fs::OFlags;
    // Not to wait for the other end, should it have become a pipe.
    let mut flags = OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no longer a plain file"));
    }
    Ok(file)
}

struct OpenFile(File);

impl Read for OpenFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Opened for OpenFile {
    fn stamp(&self) -> io::Result<Stamp> {
        let found = self.0.metadata()?;
        Ok(Stamp {
            size: found.len(),
            mtime: nanos(found.mtime(), found.mtime_nsec()),
            ctime: nanos(found.ctime(), found.ctime_nsec()),
            inode: found.ino(),
        })
    }
}
