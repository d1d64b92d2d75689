use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::backup::{
    ArchiveWriter, Coding, Content, Recipients, SEGMENT_BYTES, SUMS, Sealer, SegmentName, SegmentRecord,
};
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
    closed: VecDeque<Closed>,
    placed: HashMap<Digest, Content>,
    done: Vec<(SegmentRecord, Vec<Content>)>,
}

enum Piece {
    Plain(Bytes),
    Close,
}

/// Hands a segment's plain bytes to the thread that seals them, what is short gathered first.
struct Hand {
    pieces: mpsc::Sender<Piece>,
    gathered: BytesMut,
}

type Stored = JoinHandle<Result<(Digest, u64), BackupError>>;

struct Open {
    name: SegmentName,
    archive: ArchiveWriter<Hand>,
    task: Stored,
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
            Some(open) if open.archive.position() + ArchiveWriter::<Hand>::room(size) <= SEGMENT_BYTES => open,
            full => {
                if let Some(full) = full {
                    self.close(full)?;
                }
                self.begin(coding)
            }
        };
        let added = open.begin(sha256, size).and_then(|content| {
            open.take(bytes)?;
            Ok(content)
        });
        let Ok(content) = added else {
            return Err(self.failure(open));
        };
        open.contents.push(content.clone());
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
        let Ok(content) = open.begin(sha256, size) else {
            return Err(self.failure(open));
        };
        if self.copy(&mut open, size, from) != Some(sha256) {
            if open.archive.out().pieces.is_closed() {
                return Err(self.failure(open));
            }
            // Dropped without being closed: it never comes to exist.
            return Ok(None);
        }
        open.contents.push(content.clone());
        self.close(open)?;
        self.placed.insert(sha256, content.clone());
        Ok(Some(content))
    }

    /// The segment that holds `SHA256SUMS` and nothing else.
    pub(super) fn add_sums(&mut self, size: u64, from: &mut dyn Read) -> Result<SegmentRecord, BackupError> {
        let mut open = self.begin(Coding::Zstd);
        if open.archive.begin(SUMS, size).is_err() || self.copy(&mut open, size, from).is_none() {
            return Err(self.failure(open));
        }
        let (record, _) = self.wait(open.close())?;
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
            archive: ArchiveWriter::new(Hand {
                pieces,
                gathered: BytesMut::new(),
            }),
            task: self.handle.spawn(task),
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
            open.take(chunk.into()).ok()?;
            left -= read as u64;
        }
        Some(Digest::from_bytes(hash.finalize().into()))
    }

    fn close(&mut self, open: Open) -> Result<(), BackupError> {
        self.closed.push_back(open.close());
        self.settle(UNDER_WAY)
    }

    fn settle(&mut self, at_most: usize) -> Result<(), BackupError> {
        while self.closed.len() > at_most {
            if let Some(closed) = self.closed.pop_front() {
                let done = self.wait(closed)?;
                self.done.push(done);
            }
        }
        Ok(())
    }

    fn wait(&self, closed: Closed) -> Result<(SegmentRecord, Vec<Content>), BackupError> {
        let Closed { name, task, contents } = closed;
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
        match self.wait(open.give_up()) {
            Ok(_) => BackupError::Seal(io::ErrorKind::BrokenPipe.into()),
            Err(error) => error,
        }
    }
}

impl Open {
    fn begin(&mut self, sha256: Digest, size: u64) -> io::Result<Content> {
        Ok(Content {
            size,
            sha256,
            segment: self.name.id.clone(),
            offset: self.archive.begin(&sha256.hex(), size)?,
        })
    }

    /// Content of the open member, in portions that are no burden while they wait.
    fn take(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let portion = bytes.split_to(bytes.len().min(CHUNK));
            self.archive.pass(portion.len() as u64, |hand| hand.pass(portion))?;
        }
        Ok(())
    }

    /// What its thread makes of the end, or of an end that it could not take, is told to whoever waits for it.
    fn close(self) -> Closed {
        let Open {
            name,
            archive,
            task,
            contents,
        } = self;
        if let Err(error) = archive.finish().and_then(Hand::close) {
            tracing::trace!("{name} took no end: {error}");
        }
        Closed { name, task, contents }
    }

    fn give_up(self) -> Closed {
        Closed {
            name: self.name,
            task: self.task,
            contents: self.contents,
        }
    }
}

impl Hand {
    fn send(&mut self, piece: Piece) -> io::Result<()> {
        let sent = self.pieces.blocking_send(piece);
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn pass(&mut self, bytes: Bytes) -> io::Result<()> {
        if bytes.len() < CHUNK / 4 {
            return self.write_all(&bytes);
        }
        self.flush()?;
        self.send(Piece::Plain(bytes))
    }

    fn close(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::Close)
    }
}

impl Write for Hand {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = self.gathered.split().freeze();
        self.send(Piece::Plain(gathered))
    }
}

/// A segment that gets no more; it is on its way or has failed.
struct Closed {
    name: SegmentName,
    task: Stored,
    contents: Vec<Content>,
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
        let mut sealer = Sealer::new(coding, recipients, out)?;
        loop {
            match pieces.blocking_recv() {
                Some(Piece::Plain(bytes)) => sealer.write_all(&bytes)?,
                Some(Piece::Close) => break,
                None => return Err(io::Error::other("the segment was given up")),
            }
        }
        let (mut out, sha256, bytes) = sealer.finish()?;
        out.flush()?;
        Ok((sha256, bytes))
    };
    let sealed = write();
    if let Err(error) = &sealed {
        spoiled.spoil(io::Error::new(error.kind(), error.to_string()));
    }
    sealed
}
