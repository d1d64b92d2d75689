use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Dir, OFlags};

use crate::backup::{Entry, EntryPath, HOST, Node, NotAPath, SourceRecord, Traits, normal};
use crate::config::Source;
use crate::ports::{Reading, Sink, SourceError, Sources};

use super::file::{HostFile, Root, is_gone, meta_of};
use super::pick::Pick;
use super::traits::xattrs_of;

/// What turns into something else while it is looked at is looked at again this often.
const TRIES: u32 = 3;

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
            Source::Path { include, exclude, .. } => {
                let mut walk = Walk {
                    root: &path,
                    pick: Pick::new(&path, include, exclude)?,
                    reading,
                    sink,
                    pending: Vec::new(),
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
                        walk.everything(None)?;
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
        match sink.file(entry, meta_of(&found), &HostFile::following(&file, &found))? {
            Some(_) => Ok(()),
            None => Err(SourceError::Missing { path: file }),
        }
    }
}

/// The folders a source lies in, so that a restored tree gets their owners and modes.
fn folders_above(path: &Path, entry: &EntryPath, sink: &mut dyn Sink) -> Result<(), SourceError> {
    let above = path.ancestors().skip(1).zip(entry.as_str().rmatch_indices('/'));
    let mut folders = Vec::new();
    for (path, (at, _)) in above {
        let entry: EntryPath = entry.as_str()[..at].parse().map_err(unnameable(path))?;
        if entry.as_str() != HOST {
            let found = fs::metadata(path).map_err(unreadable(path))?;
            folders.push(folder(path, entry, &found, true)?);
        }
    }
    for entry in folders.into_iter().rev() {
        sink.entry(entry)?;
    }
    Ok(())
}

fn folder(path: &Path, entry: EntryPath, found: &Metadata, follow: bool) -> Result<Entry, SourceError> {
    bare(path, entry, found, follow, Node::Dir)
}

/// Something without content.
fn bare(path: &Path, entry: EntryPath, found: &Metadata, follow: bool, node: Node) -> Result<Entry, SourceError> {
    let xattrs = match xattrs_of(path, follow) {
        // What vanished has none; its folder says so where that matters.
        Err(error) if is_gone(&error) => Default::default(),
        other => other.map_err(unreadable(path))?,
    };
    Ok(Entry {
        path: entry,
        meta: meta_of(found),
        traits: Traits {
            xattrs,
            holes: Vec::new(),
        },
        node,
    })
}

/// The names in a folder, in order.
fn names(root: &Root, folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for child in Dir::new(root.reach(folder, OFlags::RDONLY | OFlags::DIRECTORY)?)? {
        let name = child?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
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
    pick: Pick,
    reading: &'a Reading<'a>,
    sink: &'a mut dyn Sink,
    /// Folders on the way that are in the snapshot only if something in them is.
    pending: Vec<Entry>,
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
            self.sink.entry(folder(self.root, entry.clone(), &found, true)?)?;
            self.everything(Some(entry))
        } else if found.is_file() {
            if !self.file(entry.clone(), &found, &HostFile::following(self.root, &found))? {
                self.vanished(self.root);
            }
            Ok(())
        } else {
            Err(unreadable(self.root)(io::Error::other(
                "it is neither a file nor a folder",
            )))
        }
    }

    /// What is in the source's own folder; `entry` is `None` for the project's folder.
    fn everything(&mut self, entry: Option<&EntryPath>) -> Result<(), SourceError> {
        let root = Root::open(self.root).map_err(unreadable(self.root))?;
        self.children(&Arc::new(root), self.root, entry)
    }

    fn children(&mut self, root: &Arc<Root>, folder: &Path, entry: Option<&EntryPath>) -> Result<(), SourceError> {
        let names = match names(root, folder) {
            Ok(names) => names,
            Err(e) if is_gone(&e) => {
                self.vanished(folder);
                return Ok(());
            }
            Err(e) => return Err(unreadable(folder)(e)),
        };
        for name in names {
            let path = folder.join(&name);
            if self.left_out(&path) {
                continue;
            }
            let child = match entry {
                Some(entry) => entry.join(name.as_bytes()),
                None => EntryPath::of_host_file(self.reading.folder, &path),
            };
            self.child(root, &path, &child.map_err(unnameable(&path))?)?;
        }
        Ok(())
    }

    fn child(&mut self, root: &Arc<Root>, path: &Path, entry: &EntryPath) -> Result<(), SourceError> {
        for _ in 0..TRIES {
            let found = match fs::symlink_metadata(path) {
                Ok(found) => found,
                Err(e) if is_gone(&e) => break,
                Err(e) => return Err(unreadable(path)(e)),
            };
            if self.kept(root, path, entry, &found)? {
                return Ok(());
            }
        }
        self.vanished(path);
        Ok(())
    }

    /// Whether it was still what it was found to be.
    fn kept(
        &mut self,
        root: &Arc<Root>,
        path: &Path,
        entry: &EntryPath,
        found: &Metadata,
    ) -> Result<bool, SourceError> {
        let kind = found.file_type();
        let takes = self.pick.takes(self.inner(path));
        if kind.is_dir() {
            let pending = self.pending.len();
            self.pending.push(folder(path, entry.clone(), found, false)?);
            if takes {
                self.settle()?;
            }
            self.children(root, path, Some(entry))?;
            self.pending.truncate(pending);
            return Ok(true);
        }
        if !takes {
            return Ok(true);
        }
        self.settle()?;
        if kind.is_file() {
            return self.file(entry.clone(), found, &HostFile::below(root, path, found));
        }
        let node = if kind.is_symlink() {
            match fs::read_link(path) {
                Ok(target) => Node::Symlink(target.into_os_string().into_vec()),
                // No link has its name, or no longer.
                Err(e) if is_gone(&e) || e.kind() == io::ErrorKind::InvalidInput => return Ok(false),
                Err(e) => return Err(unreadable(path)(e)),
            }
        } else if kind.is_fifo() {
            Node::Fifo
        } else if kind.is_socket() {
            self.sink.note(format!("{entry} was left out: it is a socket"));
            return Ok(true);
        } else {
            Node::Device {
                block: kind.is_block_device(),
                major: rustix::fs::major(found.rdev()),
                minor: rustix::fs::minor(found.rdev()),
            }
        };
        self.files += u64::from(matches!(node, Node::Symlink(_)));
        self.sink.entry(bare(path, entry.clone(), found, false, node)?)?;
        Ok(true)
    }

    /// `false` when it had vanished.
    fn file(&mut self, entry: EntryPath, found: &Metadata, body: &HostFile) -> Result<bool, SourceError> {
        let kept = self.sink.file(entry, meta_of(found), body)?;
        self.files += u64::from(kept.is_some());
        self.bytes += kept.unwrap_or_default();
        Ok(kept.is_some())
    }

    /// The folders something lies in come before it.
    fn settle(&mut self) -> Result<(), SourceError> {
        for folder in self.pending.drain(..) {
            self.sink.entry(folder)?;
        }
        Ok(())
    }

    fn vanished(&mut self, path: &Path) {
        let shown = crate::backup::escape(path.as_os_str().as_bytes());
        self.sink.note(format!("{shown} vanished while it was read"));
    }

    /// Relative to the source's own path.
    fn inner<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.strip_prefix(self.root)
            .map_or(OsStr::new("").as_bytes(), |p| p.as_os_str().as_bytes())
    }

    fn left_out(&self, path: &Path) -> bool {
        let mut passed_over = self.reading.skip.iter().chain(self.reading.taken);
        passed_over.any(|skip| skip == path) || self.pick.leaves_out(self.inner(path))
    }
}
