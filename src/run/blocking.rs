//! Between the ports, which are asynchronous, and files, hashes and ciphers, which are not.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::ports::ByteStream;

use super::Progress;

/// What is handed on at once.
pub(super) const CHUNK: usize = 256 << 10;
/// Chunks that may wait between two threads.
pub(super) const QUEUE: usize = 4;

/// How work on a blocking thread is followed and stopped.
pub(super) struct Ticker {
    said: mpsc::UnboundedSender<String>,
    stop: Arc<AtomicBool>,
    last: Cell<Option<Instant>>,
}

impl Ticker {
    /// Whoever asked for the work is gone.
    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn say(&self, text: String) {
        if self.said.send(text).is_err() {
            tracing::trace!("nobody listens any more");
        }
    }

    /// At most twice a second.
    pub(super) fn tick(&self, text: impl FnOnce() -> String) {
        let now = Instant::now();
        if self
            .last
            .get()
            .is_none_or(|last| now - last > Duration::from_millis(500))
        {
            self.last.set(Some(now));
            self.say(text());
        }
    }
}

/// Tells the work to stop when the future that waits for it is dropped.
struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the work on a blocking thread and passes on what it says.
pub(super) async fn blocking<T: Send + 'static>(
    progress: &dyn Progress,
    work: impl FnOnce(&Ticker, &Handle) -> T + Send + 'static,
) -> T {
    let stop = Arc::new(AtomicBool::new(false));
    let guard = Guard(stop.clone());
    let (said, mut heard) = mpsc::unbounded_channel();
    let handle = Handle::current();
    let task = tokio::task::spawn_blocking(move || {
        let ticker = Ticker {
            said,
            stop,
            last: Cell::new(None),
        };
        work(&ticker, &handle)
    });
    while let Some(text) = heard.recv().await {
        progress.say(&text);
    }
    drop(guard);
    match task.await {
        Ok(done) => done,
        Err(gone) => std::panic::resume_unwind(gone.into_panic()),
    }
}

/// A stream as a reader, on a blocking thread. One that failed goes on failing: a decoder in between may have kept the
/// failure to itself, and what is asked next is not to take it for the end.
pub(super) struct StreamReader {
    handle: Handle,
    stream: ByteStream,
    chunk: Bytes,
    failed: Option<io::Error>,
}

fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), crate::model::chain(error)),
    }
}

impl StreamReader {
    pub(super) fn new(handle: &Handle, stream: ByteStream) -> Self {
        StreamReader {
            handle: handle.clone(),
            stream,
            chunk: Bytes::new(),
            failed: None,
        }
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = &self.failed {
            return Err(again(error));
        }
        while self.chunk.is_empty() {
            match self.handle.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => return Err(again(self.failed.insert(error))),
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// A writer whose bytes come out of a channel, in chunks.
pub(super) struct ChannelWriter {
    out: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl ChannelWriter {
    pub(super) fn new(out: mpsc::Sender<io::Result<Bytes>>) -> Self {
        ChannelWriter {
            out,
            buffer: BytesMut::with_capacity(CHUNK),
        }
    }

    fn send(&mut self, chunk: io::Result<Bytes>) -> io::Result<()> {
        self.out
            .blocking_send(chunk)
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    fn pass_on(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK));
        self.send(Ok(chunk.freeze()))
    }

    /// Makes whoever reads the channel fail.
    pub(super) fn spoil(mut self, error: io::Error) {
        if self.send(Err(error)).is_err() {
            tracing::trace!("the reader of a spoilt stream had given up before");
        }
    }

    pub(super) fn sender(&self) -> mpsc::Sender<io::Result<Bytes>> {
        self.out.clone()
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}
