use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::backup::{
    Closing, Content, Entry, EntryPath, ListingWriter, Meta, Node, PROBE_BYTES, Probe, SHARED_FILE_BYTES,
    SegmentRecord, SourceRecord, Tally, Traits, sums_line,
};
use crate::model::{Digest, SegmentId, Size, Timestamp};
use crate::ports::{Body, FileId, Opened, Sink, SourceError, Stamp, Stopped};
use crate::run::blocking::Ticker;
use crate::state::Catalogue;

use super::BackupError;
use super::packer::Packer;
use super::places::{Conflict, Places};

/// A file that changes while it is read is read again this often.
const TRIES: u32 = 3;
/// Files that wait to be remembered.
const SEEN_AT_ONCE: usize = 4096;
/// A file changed more recently than this may change again within its time stamps' granularity.
const UNSETTLED_NANOS: i64 = 2_000_000_000;

pub(super) type SealedFile = StreamWriter<Tally<BufWriter<File>>>;

/// Takes what the sources give: stores contents that are new, and writes the listing as it goes.
pub(super) struct Intake<'a> {
    pub(super) packer: Packer,
    pub(super) probe: Probe,
    pub(super) catalogue: &'a Catalogue,
    /// Segments the catalogue knows and the store still has.
    pub(super) live: BTreeMap<SegmentId, SegmentRecord>,
    pub(super) listing: ListingWriter<SealedFile>,
    pub(super) sums: BufWriter<File>,
    pub(super) scratch: &'a Path,
    pub(super) ticker: &'a Ticker,
    pub(super) now: Timestamp,
    pub(super) used: BTreeSet<SegmentId>,
    /// Files that were read since something was remembered.
    pub(super) seen: Vec<(PathBuf, Stamp, Digest)>,
    pub(super) places: Places,
    /// Files with several names, by the name they are kept under.
    pub(super) links: HashMap<FileId, EntryPath>,
    pub(super) notes: Vec<String>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Why no more was taken.
    pub(super) failure: Option<BackupError>,
}

impl Intake<'_> {
    /// A content that is in the store already, or on its way.
    fn known(&self, sha256: &Digest) -> Result<Option<Content>, BackupError> {
        if let Some(content) = self.packer.placed(sha256) {
            return Ok(Some(content));
        }
        let known = self.catalogue.content(sha256)?;
        Ok(known.filter(|content| self.live.contains_key(&content.segment)))
    }

    /// Whether everything of these entries is still in the store.
    pub(super) fn has_all(&self, entries: &[Entry]) -> bool {
        entries.iter().all(|entry| match &entry.node {
            Node::File(content) => self.live.contains_key(&content.segment),
            _ => true,
        })
    }

    /// Whether the path is new; an error when it lies below a file, or two sources differ on what it is.
    fn admit(&mut self, path: &EntryPath, folder: bool) -> Result<bool, BackupError> {
        if self.ticker.stopped() {
            return Err(BackupError::Stopped);
        }
        self.places
            .admit(path, folder)
            .map_err(|Conflict| BackupError::Conflict(path.clone()))
    }

    /// Whether it was not there before.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<bool, BackupError> {
        let new = self.admit(&entry.path, entry.node == Node::Dir)?;
        if new {
            self.write(entry)?;
        }
        Ok(new)
    }

    fn write(&mut self, entry: &Entry) -> Result<(), BackupError> {
        if let Node::File(content) = &entry.node {
            self.used.insert(content.segment.clone());
            self.files += 1;
            self.bytes += content.size;
            let (files, bytes) = (self.files, self.bytes);
            self.ticker.tick(|| format!("{files} files, {} read", Size(bytes)));
        }
        let written = self
            .listing
            .entry(entry)
            .and_then(|()| sums_line(entry, &mut self.sums));
        written.map_err(BackupError::scratch(self.scratch))
    }

    /// Keeps a file, or that it is another name of one that was kept; its size, or `None` when it is gone.
    fn keep_named(&mut self, path: EntryPath, meta: Meta, body: &dyn Body) -> Result<Option<u64>, BackupError> {
        let first = body.link().and_then(|id| self.links.get(&id));
        if let Some(first) = first.filter(|first| **first != path) {
            let node = Node::Hardlink(first.clone());
            self.add(&Entry::plain(path, meta, node))?;
            return Ok(Some(0));
        }
        let Some(mut traits) = self.traits(&path, body)? else {
            return Ok(None);
        };
        let Some(content) = self.keep(&path, body)? else {
            return Ok(None);
        };
        // Holes are told only of the content that was read between two looks at them.
        if let Some(last) = traits.holes.last().copied() {
            let after = self.traits(&path, body)?;
            if last.end() > content.size || after.is_none_or(|after| after.holes != traits.holes) {
                traits.holes.clear();
            }
        }
        let size = content.size;
        let entry = Entry {
            path,
            meta,
            traits,
            node: Node::File(content),
        };
        if self.add(&entry)?
            && let Some(id) = body.link()
        {
            self.links.insert(id, entry.path);
        }
        Ok(Some(size))
    }

    fn traits(&self, path: &EntryPath, body: &dyn Body) -> Result<Option<Traits>, BackupError> {
        match body.traits() {
            Ok(traits) => Ok(Some(traits)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unreadable(path, body, e)),
        }
    }

    /// Keeps the content of a file; `None` when it is gone.
    pub(super) fn keep(&mut self, path: &EntryPath, body: &dyn Body) -> Result<Option<Content>, BackupError> {
        if let Some(stamp) = body.found()
            && let Some(content) = self.unchanged(body, &stamp)?
        {
            return Ok(Some(content));
        }
        for attempt in 1..=TRIES {
            let mut opened = match body.open() {
                Ok(opened) => opened,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(unreadable(path, body, e)),
            };
            let before = opened.stamp().map_err(|e| unreadable(path, body, e))?;
            if let Some(content) = self.unchanged(body, &before)? {
                return Ok(Some(content));
            }
            let last = attempt == TRIES;
            let read = match before.size <= SHARED_FILE_BYTES {
                true => self.keep_small(path, body, &mut *opened, &before, last)?,
                false => self.keep_large(path, body, &mut *opened, &before)?,
            };
            if let Some(content) = read {
                return Ok(Some(content));
            }
            if self.ticker.stopped() {
                return Err(BackupError::Stopped);
            }
        }
        self.keep_copy(path, body)
    }

    /// What the file held when it was read last, where it has stayed as it was and the store has that.
    fn unchanged(&self, body: &dyn Body, stamp: &Stamp) -> Result<Option<Content>, BackupError> {
        let Some(file) = body.path() else {
            return Ok(None);
        };
        match self.catalogue.seen(file, stamp)? {
            Some(sha256) => self.known(&sha256),
            None => Ok(None),
        }
    }

    /// `None` when the file changed and may be tried again.
    fn keep_small(
        &mut self,
        path: &EntryPath,
        body: &dyn Body,
        opened: &mut dyn Opened,
        before: &Stamp,
        last: bool,
    ) -> Result<Option<Content>, BackupError> {
        let mut bytes = Vec::with_capacity(usize::try_from(before.size).unwrap_or_default() + 1);
        Read::take(&mut *opened, SHARED_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(path, body, e))?;
        let after = opened.stamp().map_err(|e| unreadable(path, body, e))?;
        let steady = after == *before && bytes.len() as u64 == before.size;
        if !steady && (!last || bytes.len() as u64 > SHARED_FILE_BYTES) {
            return Ok(None);
        }
        if !steady {
            self.changed(path);
        }
        let sha256 = Digest::of(&bytes);
        let content = match self.known(&sha256)? {
            Some(content) => content,
            None => {
                let coding = self.probe.coding_for(path, &bytes);
                let content = self.packer.add(sha256, Bytes::from(bytes), coding)?;
                self.note_done()?;
                content
            }
        };
        if steady {
            self.mark_seen(body, before, &sha256)?;
        }
        Ok(Some(content))
    }

    /// Hashes the file, then reads it again into a segment of its own; `None` when it changed in between.
    fn keep_large(
        &mut self,
        path: &EntryPath,
        body: &dyn Body,
        opened: &mut dyn Opened,
        before: &Stamp,
    ) -> Result<Option<Content>, BackupError> {
        let (sha256, size, beginning) = self.hash(opened).map_err(|e| unreadable(path, body, e))?;
        if size != before.size || opened.stamp().map_err(|e| unreadable(path, body, e))? != *before {
            return Ok(None);
        }
        let content = match self.known(&sha256)? {
            Some(content) => Some(content),
            None => {
                let again = match body.open() {
                    Ok(again) => again,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(e) => return Err(unreadable(path, body, e)),
                };
                let mut again = Watched {
                    inner: again,
                    failed: None,
                };
                let coding = self.probe.coding_for(path, &beginning);
                let added = self.packer.add_alone(sha256, size, coding, &mut again)?;
                if let Some(error) = again.failed {
                    return Err(unreadable(path, body, error));
                }
                self.note_done()?;
                added
            }
        };
        if content.is_some() {
            self.mark_seen(body, before, &sha256)?;
        }
        Ok(content)
    }

    /// For a file that does not stand still: what can be read of it now, from a copy that does.
    fn keep_copy(&mut self, path: &EntryPath, body: &dyn Body) -> Result<Option<Content>, BackupError> {
        let mut opened = match body.open() {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(path, body, e)),
        };
        let size = opened.stamp().map_err(|e| unreadable(path, body, e))?.size;
        let scratch = BackupError::scratch(self.scratch);
        let mut copy = tempfile::tempfile_in(self.scratch).map_err(&scratch)?;
        let mut from = Watched {
            inner: Box::new(Read::take(&mut *opened, size)),
            failed: None,
        };
        let copied = io::copy(&mut from, &mut copy);
        if let Some(error) = from.failed {
            return Err(unreadable(path, body, error));
        }
        copied.map_err(&scratch)?;
        self.changed(path);
        self.keep_file(path, &mut copy).map(Some)
    }

    /// A temporary file of ours, from its beginning.
    pub(super) fn keep_file(&mut self, path: &EntryPath, copy: &mut File) -> Result<Content, BackupError> {
        let scratch = BackupError::scratch(self.scratch);
        io::Seek::rewind(copy).map_err(&scratch)?;
        let (sha256, size, beginning) = self.hash(copy).map_err(&scratch)?;
        if let Some(content) = self.known(&sha256)? {
            return Ok(content);
        }
        io::Seek::rewind(copy).map_err(&scratch)?;
        let coding = self.probe.coding_for(path, &beginning);
        let added = if size <= SHARED_FILE_BYTES {
            let mut bytes = Vec::new();
            copy.read_to_end(&mut bytes).map_err(&scratch)?;
            Some(self.packer.add(sha256, Bytes::from(bytes), coding)?)
        } else {
            self.packer.add_alone(sha256, size, coding, copy)?
        };
        self.note_done()?;
        added.ok_or_else(|| scratch(io::Error::other("a temporary copy changed")))
    }

    fn hash(&self, from: &mut (impl Read + ?Sized)) -> io::Result<(Digest, u64, Vec<u8>)> {
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut beginning = Vec::new();
        let mut chunk = vec![0; 256 << 10];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            hash.update(&chunk[..read]);
            if beginning.len() < PROBE_BYTES {
                beginning.extend_from_slice(&chunk[..read.min(PROBE_BYTES)]);
            }
            size += read as u64;
            if self.ticker.stopped() {
                return Err(io::Error::other("the backup was stopped"));
            }
        }
        Ok((Digest::from_bytes(hash.finalize().into()), size, beginning))
    }

    fn changed(&mut self, path: &EntryPath) {
        self.notes.push(format!(
            "{path} changed while it was read; it is kept as it was read last"
        ));
    }

    fn mark_seen(&mut self, body: &dyn Body, stamp: &Stamp, sha256: &Digest) -> Result<(), BackupError> {
        let now = self.now.timestamp_nanos_opt().unwrap_or(i64::MIN);
        let settled = now.saturating_sub(stamp.ctime.max(stamp.mtime)) > UNSETTLED_NANOS;
        if let Some(file) = body.path()
            && settled
        {
            self.seen.push((file.to_path_buf(), *stamp, *sha256));
            if self.seen.len() >= SEEN_AT_ONCE {
                self.remember(Vec::new())?;
            }
        }
        Ok(())
    }

    /// Remembers the segments that have reached the store.
    pub(super) fn note_done(&mut self) -> Result<(), BackupError> {
        match self.packer.take_done() {
            none if none.is_empty() => Ok(()),
            done => self.remember(done),
        }
    }

    /// The segments, and the files that were read.
    pub(super) fn remember(&mut self, done: Vec<(SegmentRecord, Vec<Content>)>) -> Result<(), BackupError> {
        let (catalogue, seen) = (self.catalogue, std::mem::take(&mut self.seen));
        catalogue.write(|| {
            for (segment, contents) in &done {
                catalogue.add_segment(segment, contents)?;
            }
            for (file, stamp, sha256) in &seen {
                catalogue.mark_seen(file, stamp, sha256)?;
            }
            Ok(())
        })?;
        let done = done.into_iter().map(|(segment, _)| (segment.id.clone(), segment));
        self.live.extend(done);
        Ok(())
    }

    /// Ends the listing; the hash and length of the sealed file.
    pub(super) fn close(
        listing: ListingWriter<SealedFile>,
        sources: Vec<SourceRecord>,
        notes: Vec<String>,
    ) -> io::Result<(Closing, Digest, u64)> {
        let (mut sealed, closing) = listing.end(sources, notes)?;
        sealed.flush()?;
        let (out, sha256, bytes) = sealed.finish()?.finish();
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok((closing, sha256, bytes))
    }

    fn took<T>(&mut self, result: Result<T, BackupError>) -> Result<T, Stopped> {
        result.map_err(|error| {
            self.failure = Some(error);
            Stopped
        })
    }
}

fn unreadable(path: &EntryPath, body: &dyn Body, source: io::Error) -> BackupError {
    let path = body.path().unwrap_or(Path::new(path.as_str())).to_path_buf();
    SourceError::Unreadable { path, source }.into()
}

impl Sink for Intake<'_> {
    fn entry(&mut self, entry: Entry) -> Result<(), Stopped> {
        let added = self.add(&entry).map(|_new| ());
        self.took(added)
    }

    fn file(&mut self, path: EntryPath, meta: Meta, body: &dyn Body) -> Result<Option<u64>, Stopped> {
        let kept = self.keep_named(path, meta, body);
        self.took(kept)
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn stopped(&self) -> bool {
        self.ticker.stopped()
    }
}

/// Remembers that reading failed, which whoever copies would take for the end.
struct Watched<'a> {
    inner: Box<dyn Read + 'a>,
    failed: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.failed = Some(io::Error::new(error.kind(), error.to_string()));
                Err(error)
            }
            other => other,
        }
    }
}
