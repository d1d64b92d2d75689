use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::backup::{Coding, Content, Recipients, SEGMENT_BYTES, SUMS, SegmentName, SegmentRecord, SegmentWriter};
use crate::model::{Digest, SegmentId};
use crate::ports::{Entropy, Put, Store};
use crate::run::blocking::{CHUNK, ChannelWriter, QUEUE};

use super::BackupError;

/// Closed segments that may still be on their way.
const UNDER_WAY: usize = 2;

/// Puts contents into segments and the segments into the store; works on a blocking thread.
///
/// Each segment is compressed, encrypted and hashed on a thread of its own, and stored while it grows. A segment that
/// is not closed never comes to exist.
pub(super) struct Packer {
    store: Arc<dyn Store>,
    recipients: Recipients,
    entropy: Arc<dyn Entropy>,
    handle: Handle,
    /// One open segment of each coding.
    open: Vec<Open>,
    closed: VecDeque<Open>,
    placed: HashMap<Digest, Content>,
    done: Vec<(SegmentRecord, Vec<Content>)>,
}

enum Piece {
    Begin(String, u64),
    Content(Bytes),
    Close,
}

type Stored = JoinHandle<Result<(Digest, u64), BackupError>>;

struct Open {
    name: SegmentName,
    pieces: mpsc::Sender<Piece>,
    task: Stored,
    position: u64,
    contents: Vec<Content>,
}

impl Packer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        recipients: Recipients,
        entropy: Arc<dyn Entropy>,
        handle: Handle,
    ) -> Self {
        Packer {
            store,
            recipients,
            entropy,
            handle,
            open: Vec::new(),
            closed: VecDeque::new(),
            placed: HashMap::new(),
            done: Vec::new(),
        }
    }

    /// Where this run has put that content.
    pub(super) fn placed(&self, sha256: &Digest) -> Option<Content> {
        self.placed.get(sha256).cloned()
    }

    /// Segments that have reached the store since this was last asked.
    pub(super) fn take_done(&mut self) -> Vec<(SegmentRecord, Vec<Content>)> {
        std::mem::take(&mut self.done)
    }

    /// A content that is small enough to share a segment.
    pub(super) fn add(&mut self, sha256: Digest, bytes: Bytes, coding: Coding) -> Result<Content, BackupError> {
        let size = bytes.len() as u64;
        let at = self.open.iter().position(|open| open.name.coding == coding);
        let mut open = match at.map(|at| self.open.swap_remove(at)) {
            Some(open) if open.position + SegmentWriter::<io::Sink>::room(size) <= SEGMENT_BYTES => open,
            full => {
                if let Some(full) = full {
                    self.close(full)?;
                }
                self.begin(coding)
            }
        };
        let content = open.content(sha256, size);
        if !open.send(Piece::Begin(sha256.hex(), size)) || !open.send(Piece::Content(bytes)) {
            return Err(self.failure(open));
        }
        open.place(content.clone());
        self.open.push(open);
        self.placed.insert(sha256, content.clone());
        Ok(content)
    }

    /// A content that has a segment of its own; `None`, and nothing kept, when what is read is not what was said.
    pub(super) fn add_alone(
        &mut self,
        sha256: Digest,
        size: u64,
        coding: Coding,
        from: &mut dyn Read,
    ) -> Result<Option<Content>, BackupError> {
        let mut open = self.begin(coding);
        if !open.send(Piece::Begin(sha256.hex(), size)) {
            return Err(self.failure(open));
        }
        let content = open.content(sha256, size);
        if self.copy(&mut open, size, from) != Some(sha256) {
            if open.pieces.is_closed() {
                return Err(self.failure(open));
            }
            // Dropped without being closed: it never comes to exist.
            return Ok(None);
        }
        open.place(content.clone());
        self.close(open)?;
        self.placed.insert(sha256, content.clone());
        Ok(Some(content))
    }

    /// The segment that holds `SHA256SUMS` and nothing else.
    pub(super) fn add_sums(&mut self, size: u64, from: &mut dyn Read) -> Result<SegmentRecord, BackupError> {
        let mut open = self.begin(Coding::Zstd);
        if !open.send(Piece::Begin(SUMS.to_owned(), size)) || self.copy(&mut open, size, from).is_none() {
            return Err(self.failure(open));
        }
        if !open.send(Piece::Close) {
            return Err(self.failure(open));
        }
        let (record, _) = self.wait(open)?;
        Ok(record)
    }

    /// Closes what is open and waits until all of it is in the store.
    pub(super) fn finish(&mut self) -> Result<(), BackupError> {
        while let Some(open) = self.open.pop() {
            self.close(open)?;
        }
        self.settle(0)
    }

    fn begin(&self, coding: Coding) -> Open {
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        let name = SegmentName {
            id: SegmentId::new(chance),
            coding,
        };
        let (pieces, received) = mpsc::channel(QUEUE);
        let task = store_segment(self.store.clone(), name.clone(), self.recipients.clone(), received);
        Open {
            name,
            pieces,
            task: self.handle.spawn(task),
            position: 0,
            contents: Vec::new(),
        }
    }

    /// Exactly `size` bytes and their hash; `None` when the reader has fewer or the segment takes no more.
    fn copy(&self, open: &mut Open, size: u64, from: &mut dyn Read) -> Option<Digest> {
        let mut hash = Sha256::new();
        let mut left = size;
        while left > 0 {
            let mut chunk = vec![0; CHUNK.min(usize::try_from(left).unwrap_or(CHUNK))];
            let read = match from.read(&mut chunk) {
                Ok(read) if read > 0 => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                _ => return None,
            };
            chunk.truncate(read);
            hash.update(&chunk);
            if !open.send(Piece::Content(chunk.into())) {
                return None;
            }
            left -= read as u64;
        }
        Some(Digest::from_bytes(hash.finalize().into()))
    }

    fn close(&mut self, mut open: Open) -> Result<(), BackupError> {
        if !open.send(Piece::Close) {
            return Err(self.failure(open));
        }
        self.closed.push_back(open);
        self.settle(UNDER_WAY)
    }

    fn settle(&mut self, at_most: usize) -> Result<(), BackupError> {
        while self.closed.len() > at_most {
            if let Some(open) = self.closed.pop_front() {
                let done = self.wait(open)?;
                self.done.push(done);
            }
        }
        Ok(())
    }

    fn wait(&self, open: Open) -> Result<(SegmentRecord, Vec<Content>), BackupError> {
        let Open {
            name,
            pieces,
            task,
            contents,
            ..
        } = open;
        drop(pieces);
        let (sha256, bytes) = match self.handle.block_on(task) {
            Ok(stored) => stored?,
            Err(gone) => return Err(BackupError::Seal(io::Error::other(gone))),
        };
        let record = SegmentRecord {
            id: name.id.clone(),
            name,
            sha256,
            bytes,
        };
        Ok((record, contents))
    }

    /// Why a segment took no more.
    fn failure(&self, open: Open) -> BackupError {
        match self.wait(open) {
            Ok(_) => BackupError::Seal(io::ErrorKind::BrokenPipe.into()),
            Err(error) => error,
        }
    }
}

impl Open {
    fn content(&self, sha256: Digest, size: u64) -> Content {
        Content {
            size,
            sha256,
            segment: self.name.id.clone(),
            offset: self.position + SegmentWriter::<io::Sink>::room(0),
        }
    }

    fn place(&mut self, content: Content) {
        self.position += SegmentWriter::<io::Sink>::room(content.size);
        self.contents.push(content);
    }

    /// Whether it was taken.
    fn send(&mut self, piece: Piece) -> bool {
        self.pieces.blocking_send(piece).is_ok()
    }
}

async fn store_segment(
    store: Arc<dyn Store>,
    name: SegmentName,
    recipients: Recipients,
    pieces: mpsc::Receiver<Piece>,
) -> Result<(Digest, u64), BackupError> {
    let (out, sealed) = mpsc::channel(QUEUE);
    let coding = name.coding;
    let seal = tokio::task::spawn_blocking(move || seal(coding, &recipients, pieces, ChannelWriter::new(out)));
    let name = name.to_string();
    let put = store.put(&name, Box::pin(ReceiverStream::new(sealed)), Put::Create);
    let (sealed, stored) = tokio::join!(seal, put);
    let sealed = sealed.map_err(|gone| BackupError::Seal(io::Error::other(gone)))?;
    let (sha256, bytes) = match (sealed, stored) {
        (Ok(sealed), Ok(_)) => sealed,
        (Err(error), Ok(_)) => return Err(BackupError::Seal(error)),
        (Err(error), Err(_)) if error.kind() != io::ErrorKind::BrokenPipe => return Err(BackupError::Seal(error)),
        (_, Err(error)) => return Err(error.into()),
    };
    Ok((sha256, bytes))
}

fn seal(
    coding: Coding,
    recipients: &Recipients,
    mut pieces: mpsc::Receiver<Piece>,
    out: ChannelWriter,
) -> io::Result<(Digest, u64)> {
    let spoiled = ChannelWriter::new(out.sender());
    let write = || {
        let mut writer = SegmentWriter::new(coding, recipients, out)?;
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Begin(name, size)) => {
                    writer.begin(&name, size)?;
                }
                Some(Piece::Content(bytes)) => writer.content(&bytes)?,
                Some(Piece::Close) => break,
                None => return Err(io::Error::other("the segment was given up")),
            }
        }
        let (mut out, sha256, bytes) = writer.finish()?;
        io::Write::flush(&mut out)?;
        Ok((sha256, bytes))
    };
    let sealed = write();
    if let Err(error) = &sealed {
        spoiled.spoil(io::Error::new(error.kind(), error.to_string()));
    }
    sealed
}
