use std::io::{self, BufReader, Read, Write};

use age::stream::StreamWriter;
use sha2::{Digest as _, Sha256};

use crate::model::Digest;

use super::{Coding, Identities, OpenError, Recipients};

/// tar's unit.
const BLOCK: u64 = 512;
/// The member that lists a snapshot's files for `sha256sum -c`.
pub const SUMS: &str = "SHA256SUMS";

/// Counts and hashes what passes through.
pub struct Tally<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Tally<T> {
    pub fn new(inner: T) -> Self {
        Tally {
            inner,
            hash: Sha256::new(),
            bytes: 0,
        }
    }

    pub fn finish(self) -> (T, Digest, u64) {
        (self.inner, Digest::from_bytes(self.hash.finalize().into()), self.bytes)
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Tally<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Writes what comes compressed and encrypted: a segment's outer layers.
pub struct Sealer<W: Write>(Coder<StreamWriter<Tally<W>>>);

enum Coder<W: Write> {
    Stored(W),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Gzip(flate2::write::GzEncoder<W>),
}

impl<W: Write> Sealer<W> {
    pub fn new(coding: Coding, recipients: &Recipients, out: W) -> io::Result<Self> {
        let sealed = recipients.seal(Tally::new(out))?;
        Ok(Sealer(match coding {
            Coding::Stored => Coder::Stored(sealed),
            Coding::Zstd => Coder::Zstd(zstd::stream::write::Encoder::new(sealed, 3)?),
            Coding::Gzip => Coder::Gzip(flate2::write::GzEncoder::new(sealed, flate2::Compression::new(6))),
        }))
    }

    /// The inner writer, the hash and the length of what it got.
    pub fn finish(self) -> io::Result<(W, Digest, u64)> {
        let sealed = match self.0 {
            Coder::Stored(out) => out,
            Coder::Zstd(coder) => coder.finish()?,
            Coder::Gzip(coder) => coder.finish()?,
        };
        Ok(sealed.finish()?.finish())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Coder::Stored(out) => out.write(bytes),
            Coder::Zstd(out) => out.write(bytes),
            Coder::Gzip(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Coder::Stored(out) => out.flush(),
            Coder::Zstd(out) => out.flush(),
            Coder::Gzip(out) => out.flush(),
        }
    }
}

/// Writes members into a tar archive: a segment's inner layer.
pub struct ArchiveWriter<W: Write> {
    out: W,
    position: u64,
    /// Of the open member.
    left: u64,
}

impl<W: Write> ArchiveWriter<W> {
    pub fn new(out: W) -> Self {
        ArchiveWriter {
            out,
            position: 0,
            left: 0,
        }
    }

    /// Plain bytes so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn out(&self) -> &W {
        &self.out
    }

    /// How many plain bytes a member takes.
    pub fn room(size: u64) -> u64 {
        BLOCK + size.div_ceil(BLOCK) * BLOCK
    }

    /// Begins a member of exactly `size` bytes; where its content begins.
    pub fn begin(&mut self, name: &str, size: u64) -> io::Result<u64> {
        if self.left > 0 {
            return Err(io::Error::other("the member before is not whole"));
        }
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.position += BLOCK;
        self.left = size;
        Ok(self.position)
    }

    /// Content of the open member.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pass(bytes.len() as u64, |out| out.write_all(bytes))
    }

    /// Content of the open member that is handed to the writer in a way of its own.
    pub fn pass(&mut self, bytes: u64, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| io::Error::other("the member is longer than was said"))?;
        write(&mut self.out)?;
        self.position += bytes;
        if self.left == 0 {
            self.pad()?;
        }
        Ok(())
    }

    /// The writer, which has the archive's end.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            return Err(io::Error::other("the last member is not whole"));
        }
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.out)
    }

    fn pad(&mut self) -> io::Result<()> {
        let over = self.position % BLOCK;
        if over > 0 {
            self.out.write_all(&[0; BLOCK as usize][over as usize..])?;
            self.position += BLOCK - over;
        }
        Ok(())
    }
}

/// What a member of a segment is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// A file's content.
    Content(Digest),
    Sums,
}

#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("its ciphertext, its compression or its end is damaged")]
    Read(#[source] io::Error),
    #[error("its archive is damaged at byte {at}: {why}")]
    Archive { at: u64, why: &'static str },
    #[error("what was read from it could not be used")]
    Sink(#[source] io::Error),
}

/// Receives the members of a segment in the order they lie in.
pub trait MemberSink {
    fn begin(&mut self, member: Member, offset: u64, size: u64) -> io::Result<()>;
    fn content(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The hash of the content that came.
    fn end(&mut self, sha256: Digest) -> io::Result<()>;
}

/// Opens a segment and reads it to its last byte, so that a segment cut short or drawn out is noticed.
pub fn read_segment(
    coding: Coding,
    identities: &Identities,
    from: impl Read,
    sink: &mut dyn MemberSink,
) -> Result<(), SegmentError> {
    read_members(coding, identities.open(from)?, sink)
}

/// Reads what a segment holds, decrypted, to its last byte.
pub fn read_members(coding: Coding, sealed: impl Read, sink: &mut dyn MemberSink) -> Result<(), SegmentError> {
    let sealed = BufReader::with_capacity(64 << 10, sealed);
    let mut plain: Box<dyn Read + '_> = match coding {
        Coding::Stored => Box::new(sealed),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(sealed).map_err(SegmentError::Read)?),
        Coding::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(sealed)),
    };
    read_archive(&mut *plain, sink)
}

fn read_archive(plain: &mut dyn Read, sink: &mut dyn MemberSink) -> Result<(), SegmentError> {
    let mut at = 0;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let mut block = [0; BLOCK as usize];
        plain.read_exact(&mut block).map_err(SegmentError::Read)?;
        let damaged = |why| SegmentError::Archive { at, why };
        if block == [0; BLOCK as usize] {
            break;
        }
        let (member, size) = member(&block).map_err(damaged)?;
        at += BLOCK;
        sink.begin(member, at, size).map_err(SegmentError::Sink)?;
        let mut hash = Sha256::new();
        let mut left = size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = plain.read(&mut buffer[..want]).map_err(SegmentError::Read)?;
            if read == 0 {
                return Err(SegmentError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            hash.update(&buffer[..read]);
            sink.content(&buffer[..read]).map_err(SegmentError::Sink)?;
            left -= read as u64;
        }
        sink.end(Digest::from_bytes(hash.finalize().into()))
            .map_err(SegmentError::Sink)?;
        at = at.saturating_add(size);
        let padding = (BLOCK - size % BLOCK) % BLOCK;
        let pad = &mut block[..padding as usize];
        plain.read_exact(pad).map_err(SegmentError::Read)?;
        at = at.saturating_add(padding);
    }
    // The second block of zeros, and then the end of everything.
    let mut rest = Vec::new();
    plain
        .take(BLOCK + 1)
        .read_to_end(&mut rest)
        .map_err(SegmentError::Read)?;
    if rest != [0; BLOCK as usize] {
        return Err(SegmentError::Archive {
            at,
            why: "it does not end where it should",
        });
    }
    Ok(())
}

fn member(block: &[u8; BLOCK as usize]) -> Result<(Member, u64), &'static str> {
    let header = tar::Header::from_byte_slice(block);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    if header.cksum().ok() != Some(sum) {
        return Err("a member's check sum does not fit");
    }
    if header.entry_type() != tar::EntryType::Regular {
        return Err("a member is not a plain file");
    }
    let size = header.entry_size().map_err(|_| "a member's size cannot be read")?;
    let name = header.path_bytes();
    let name = std::str::from_utf8(&name).map_err(|_| "a member's name cannot be read")?;
    if name == SUMS {
        return Ok((Member::Sums, size));
    }
    match name.parse::<Digest>() {
        Ok(digest) if name.len() == 64 => Ok((Member::Content(digest), size)),
        _ => Err("a member's name is not a SHA-256"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<(Member, u64, Vec<u8>)>);

    impl MemberSink for Seen {
        fn begin(&mut self, member: Member, offset: u64, size: u64) -> io::Result<()> {
            self.0
                .push((member, offset, Vec::with_capacity(size.min(1 << 20) as usize)));
            Ok(())
        }

        fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.last_mut().expect("begun").2.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self, sha256: Digest) -> io::Result<()> {
            assert_eq!(Digest::of(&self.0.last().expect("begun").2), sha256);
            Ok(())
        }
    }

    fn written(coding: Coding, keys: &Identities, contents: &[&[u8]]) -> (Vec<u8>, Vec<u64>) {
        let recipients = Recipients::parse(&keys.recipients()).expect("recipients");
        let mut writer = ArchiveWriter::new(Sealer::new(coding, &recipients, Vec::new()).expect("begun"));
        let offsets = contents.iter().map(|content| {
            let offset = writer
                .begin(&Digest::of(content).hex(), content.len() as u64)
                .expect("a member");
            writer.content(content).expect("content");
            offset
        });
        let offsets = offsets.collect();
        let (bytes, sha256, length) = writer.finish().and_then(Sealer::finish).expect("finished");
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (sha256, length));
        (bytes, offsets)
    }

    #[test]
    fn members_come_back_where_they_were_put_in_every_coding() {
        let keys = Identities::generate();
        let long = vec![7; 100_000];
        let contents: [&[u8]; 4] = [b"", b"one", &long, &[0; 512]];
        for coding in [Coding::Stored, Coding::Zstd, Coding::Gzip] {
            let (bytes, offsets) = written(coding, &keys, &contents);
            let mut seen = Seen::default();
            read_segment(coding, &keys, &bytes[..], &mut seen).expect("read");
            let expected: Vec<_> = contents
                .iter()
                .zip(&offsets)
                .map(|(content, offset)| (Member::Content(Digest::of(content)), *offset, content.to_vec()))
                .collect();
            assert_eq!(seen.0, expected);
        }
    }

    #[test]
    fn a_cut_or_lengthened_segment_is_an_error_and_never_a_panic() {
        let keys = Identities::generate();
        for coding in [Coding::Stored, Coding::Zstd, Coding::Gzip] {
            let (bytes, _) = written(coding, &keys, &[b"some content", &[1; 3000]]);
            for cut in (0..bytes.len()).step_by(61) {
                assert!(
                    read_segment(coding, &keys, &bytes[..cut], &mut Seen::default()).is_err(),
                    "{coding:?} {cut}"
                );
            }
            let longer = [&bytes[..], b"x"].concat();
            assert!(read_segment(coding, &keys, &longer[..], &mut Seen::default()).is_err());
        }
        let (bytes, _) = written(Coding::Zstd, &keys, &[b"x"]);
        let opened = read_segment(Coding::Zstd, &Identities::generate(), &bytes[..], &mut Seen::default());
        assert!(matches!(opened, Err(SegmentError::Open(OpenError::NoIdentity))));
    }

    proptest::proptest! {
        #[test]
        fn any_archive_is_read_or_refused(bytes in proptest::collection::vec(0u8.., 0..3000), name in "[0-9a-f]{64}") {
            let mut header = tar::Header::new_ustar();
            header.set_path(&name).expect("fits");
            header.set_size(bytes.len() as u64 * 3);
            header.set_cksum();
            let archive = [header.as_bytes().as_slice(), &bytes].concat();
            proptest::prop_assert!(read_archive(&mut &archive[..], &mut Seen::default()).is_err());
            proptest::prop_assert!(read_archive(&mut &bytes[..], &mut Seen::default()).is_err());
        }
    }
}
