use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use rustix::process::{getegid, geteuid};
use tokio::runtime::Handle;

use crate::backup::{EntryPath, Meta};
use crate::ports::{Body, ByteStream, Container, InnerProgram, Opened, ProgramFailed, SourceError, Stamp};
use crate::source::file::{Copy, meta_of};

use super::{Inside, SILENCE};

/// How often it is looked whether anybody waits still.
const LOOK: Duration = Duration::from_millis(500);

/// A program's whole output in the scratch folder; gone when dropped.
pub(super) struct Spool {
    path: PathBuf,
    pub(super) bytes: u64,
    _folder: tempfile::TempDir,
}

impl Spool {
    /// At most so many of its first bytes.
    pub(super) fn beginning(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// At most so many of its last bytes.
    pub(super) fn end(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.bytes.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Inside<'_> {
    /// Runs a program and keeps what it writes; it counts once the program has exited with 0 and written something.
    pub(super) fn capture(
        &mut self,
        container: &Container,
        words: Vec<String>,
        remedy: &str,
    ) -> Result<Spool, SourceError> {
        let name = words.first().cloned().unwrap_or_default();
        let program = InnerProgram {
            words,
            input: None,
            silence: SILENCE,
        };
        let started = self.handle.block_on(self.engine.stream_exec(&container.id, program));
        let output = started.map_err(|error| self.failed(crate::model::chain(&error), remedy))?;
        let spool = self.spool(output, remedy)?;
        match spool.bytes {
            0 => Err(self.failed(format!("`{name}` exited with 0 and wrote nothing"), remedy)),
            _ => Ok(spool),
        }
    }

    fn spool(&mut self, mut output: ByteStream, remedy: &str) -> Result<Spool, SourceError> {
        let folder = tempfile::Builder::new()
            .prefix("inside-")
            .tempdir_in(self.reading.scratch);
        let folder = folder.map_err(|error| self.scratch(error))?;
        let path = folder.path().join("output");
        let mut file = File::create(&path).map_err(|error| self.scratch(error))?;
        let mut bytes = 0;
        loop {
            if self.sink.stopped() {
                return Err(SourceError::Stopped);
            }
            let next = output.next();
            match self.handle.block_on(async { tokio::time::timeout(LOOK, next).await }) {
                Err(_) => {}
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let chunk = chunk.map_err(|error| self.broken(&error, remedy))?;
                    file.write_all(&chunk).map_err(|error| self.scratch(error))?;
                    bytes += chunk.len() as u64;
                }
            }
        }
        Ok(Spool {
            path,
            bytes,
            _folder: folder,
        })
    }

    /// Hands on what was captured, under a name below `@services`; the number of its bytes.
    pub(super) fn keep(&mut self, entry: EntryPath, spool: &Spool) -> Result<u64, SourceError> {
        let found = fs::metadata(&spool.path).map_err(|error| self.scratch(error))?;
        let meta = Meta {
            mode: 0o600,
            ..meta_of(&found)
        };
        let body = Copy {
            path: spool.path.clone(),
            original: None,
        };
        let kept = self.sink.file(entry, meta, &body)?;
        Ok(kept.unwrap_or_default())
    }

    /// The same for what is small and known.
    pub(super) fn keep_text(&mut self, entry: EntryPath, text: String) -> Result<u64, SourceError> {
        let meta = Meta {
            mode: 0o600,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            mtime: 0,
        };
        let kept = self.sink.file(entry, meta, &Held(text.into_bytes()))?;
        Ok(kept.unwrap_or_default())
    }

    pub(super) fn broken(&self, error: &io::Error, remedy: &str) -> SourceError {
        let own = error.get_ref().and_then(|inner| inner.downcast_ref::<ProgramFailed>());
        match own {
            Some(failed) => self.failed(failed.to_string(), remedy),
            None => self.failed(
                crate::model::chain(error),
                "see that the engine and the container run, then run the backup again",
            ),
        }
    }

    pub(super) fn scratch(&self, error: io::Error) -> SourceError {
        let folder = self.reading.scratch.display();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.failed(
                format!("the disk of the scratch folder {folder} is full"),
                "free space there and run the backup again",
            ),
            _ => self.failed(
                format!("the scratch folder {folder} could not be used: {error}"),
                "see that this user may write there",
            ),
        }
    }
}

/// An engine's answer as a reader, on a blocking thread; silence ends it by the engine's own limit.
pub(super) struct StreamRead {
    handle: Handle,
    stream: ByteStream,
    chunk: Bytes,
}

impl StreamRead {
    pub(super) fn new(handle: &Handle, stream: ByteStream) -> Self {
        StreamRead {
            handle: handle.clone(),
            stream,
            chunk: Bytes::new(),
        }
    }
}

impl Read for StreamRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// A file's bytes in memory.
pub(super) struct Held(pub(super) Vec<u8>);

impl Body for Held {
    fn open(&self) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(OpenHeld(Cursor::new(self.0.clone()))))
    }

    fn path(&self) -> Option<&Path> {
        None
    }
}

struct OpenHeld(Cursor<Vec<u8>>);

impl Read for OpenHeld {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Opened for OpenHeld {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(Stamp {
            size: self.0.get_ref().len() as u64,
            mtime: 0,
            ctime: 0,
            inode: 0,
        })
    }
}
