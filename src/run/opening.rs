use std::io::{self, Read};
use std::sync::mpsc;
use std::thread;

use bytes::{Buf, Bytes};
use tokio::runtime::Handle;

use crate::backup::{Identities, MemberSink, Object, OpenError, SegmentError, SegmentName, Tally, read_members};
use crate::ports::ByteStream;

use super::blocking::{CHUNK, QUEUE};
use super::snapshots::{Unsigned, as_signed, signed_reader};

/// What came of reading a segment.
pub(super) struct Opening {
    /// Whether its bytes are known to be the ones that were signed for; an error says why not.
    pub signed: Result<(), Unsigned>,
    pub members: Result<(), SegmentError>,
}

/// Reads a segment to its last byte. One thread fetches, hashes and decrypts ahead; the calling one decompresses, hashes
/// the members and hands them to the sink. Where the sink fails the rest is not read, and `signed` says nothing.
pub(super) fn read_signed(
    handle: &Handle,
    stream: ByteStream,
    object: &Object,
    name: &SegmentName,
    identities: &Identities,
    sink: &mut dyn MemberSink,
) -> Opening {
    let (ahead, plain) = mpsc::sync_channel(QUEUE);
    thread::scope(|scope| {
        let decrypting = scope.spawn(move || {
            let mut from = Tally::new(signed_reader(handle, stream, object));
            let opened = decrypt(identities, &mut from, ahead);
            match opened {
                Ok(Wanted::No) => (Ok(()), Ok(())),
                opened => (as_signed(object, from), opened.map(|_| ())),
            }
        });
        let mut plain = Plain {
            chunks: plain,
            chunk: Bytes::new(),
        };
        let members = read_members(name.coding, &mut plain, sink);
        match members {
            Err(SegmentError::Sink(_)) => drop(plain),
            _ => for _rest in plain.chunks {},
        }
        match decrypting.join() {
            Ok((signed, Err(unopened))) => Opening {
                signed,
                members: Err(unopened.into()),
            },
            Ok((signed, Ok(()))) => Opening { signed, members },
            Err(gone) => std::panic::resume_unwind(gone),
        }
    })
}

enum Wanted {
    Yes,
    /// Whoever reads wants no more.
    No,
}

fn decrypt(
    identities: &Identities,
    from: impl Read,
    ahead: mpsc::SyncSender<io::Result<Bytes>>,
) -> Result<Wanted, OpenError> {
    let mut opened = identities.open(from)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = opened.by_ref().take(CHUNK as u64).read_to_end(&mut chunk);
        let last = read.as_ref().map_or(true, |read| *read < CHUNK);
        if !chunk.is_empty() && ahead.send(Ok(chunk.into())).is_err() {
            return Ok(Wanted::No);
        }
        if let Err(error) = read
            && ahead.send(Err(error)).is_err()
        {
            return Ok(Wanted::No);
        }
        if last {
            return Ok(Wanted::Yes);
        }
    }
}

/// What was decrypted ahead.
struct Plain {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = chunk?,
                Err(_ended) => return Ok(0),
            }
        }
        let read = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
