use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::backup::{EntryPath, Meta};
use crate::ports::{ByteStream, SourceError, Stopped};
use crate::source::file::Copy;

use super::Inside;
use super::place::Place;
use super::spool::{Held, StreamRead};

/// A file up to this size is held in memory, a larger one goes through the scratch folder.
const HELD: u64 = 1 << 20;
/// An archive ends with two blocks of zeros.
const BLOCK: u64 = 512;

/// What keeps an archive from being read to its end.
pub(super) enum Trouble {
    /// It may go better the next time.
    Torn(String),
    Final(SourceError),
}

fn torn(error: io::Error) -> Trouble {
    Trouble::Torn(crate::model::chain(&error))
}

fn stopped(stopped: Stopped) -> Trouble {
    Trouble::Final(stopped.into())
}

impl Inside<'_> {
    /// Hands on a folder of files that do not change, as the engine archives it, below `place`; the size of each file by its
    /// name. Docker puts the folder's own name before every other, Podman not always; the folder itself comes first in any
    /// case. Whether all is there has to be asked elsewhere: engines leave out what they stumble over.
    pub(super) fn unpack(
        &mut self,
        stream: ByteStream,
        folder: &str,
        place: &Place,
    ) -> Result<BTreeMap<Vec<u8>, u64>, Trouble> {
        let mut files = BTreeMap::new();
        let mut counted = Counted {
            inner: StreamRead::new(&self.handle, stream),
            bytes: 0,
        };
        let own_name = folder.rsplit('/').next().unwrap_or_default().as_bytes();
        let mut prefix: Option<Vec<u8>> = None;
        let mut end = 0;
        let mut archive = tar::Archive::new(&mut counted);
        for member in archive.entries().map_err(torn)? {
            if self.sink.stopped() {
                return Err(Trouble::Final(SourceError::Stopped));
            }
            let mut member = member.map_err(torn)?;
            let size = member.size();
            end = member.raw_file_position() + size.div_ceil(BLOCK) * BLOCK;
            let name = plain(&member.path_bytes());
            let prefix = prefix.get_or_insert_with(|| name.clone());
            let odd = |what: &[u8]| Trouble::Torn(format!("its archive has {} in it", crate::backup::escape(what)));
            if !prefix.is_empty() && prefix != own_name {
                return Err(odd(prefix));
            }
            let Some(name) = below(&name, prefix) else {
                return Err(odd(&name));
            };
            let entry = match name.is_empty() {
                true => place.path.clone(),
                false => place.below(&name).map_err(Trouble::Final)?,
            };
            let meta = meta_of(member.header()).map_err(torn)?;
            match member.header().entry_type() {
                tar::EntryType::Directory => self.sink.dir(entry, meta).map_err(stopped)?,
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = self.member(entry, meta, size, &mut member)?;
                    files.insert(name, size);
                }
                _ => return Err(odd(&name)),
            }
        }
        io::copy(&mut counted, &mut io::sink()).map_err(torn)?;
        match counted.bytes < end + 2 * BLOCK {
            true => Err(Trouble::Torn("the engine ended its archive in the middle".into())),
            false => Ok(files),
        }
    }

    fn member(&mut self, entry: EntryPath, meta: Meta, size: u64, from: &mut impl Read) -> Result<u64, Trouble> {
        let whole = |read: u64| match read == size {
            true => Ok(()),
            false => Err(Trouble::Torn(format!("{entry} ended after {read} of {size} bytes"))),
        };
        let kept = if size <= HELD {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).map_err(torn)?;
            whole(bytes.len() as u64)?;
            self.sink.file(entry, meta, &Held(bytes))
        } else {
            let scratch = |error| Trouble::Final(self.scratch(error));
            let mut copy = tempfile::NamedTempFile::new_in(self.reading.scratch).map_err(scratch)?;
            let mut chunk = vec![0; 256 << 10];
            let mut read = 0;
            loop {
                let more = from.read(&mut chunk).map_err(torn)?;
                if more == 0 {
                    break;
                }
                if self.sink.stopped() {
                    return Err(Trouble::Final(SourceError::Stopped));
                }
                copy.write_all(&chunk[..more]).map_err(scratch)?;
                read += more as u64;
            }
            whole(read)?;
            let body = Copy {
                path: copy.path().to_path_buf(),
                original: None,
            };
            self.sink.file(entry, meta, &body)
        };
        kept.map(Option::unwrap_or_default).map_err(stopped)
    }
}

/// Without `./`, `/` and a slash at the end.
fn plain(name: &[u8]) -> Vec<u8> {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./").or_else(|| name.strip_prefix(b"/")) {
        name = rest;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    if name == b"." { Vec::new() } else { name.to_vec() }
}

/// What is left of a name below the folder's own.
fn below(name: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
    let rest = name.strip_prefix(prefix)?;
    match (prefix.is_empty(), rest) {
        (true, _) | (_, []) => Some(rest.to_vec()),
        (false, rest) => rest.strip_prefix(b"/").map(<[u8]>::to_vec),
    }
}

fn meta_of(header: &tar::Header) -> io::Result<Meta> {
    let number = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner beyond 32 bits"));
    Ok(Meta {
        mode: header.mode()? & 0o7777,
        uid: number(header.uid()?)?,
        gid: number(header.gid()?)?,
        mtime: i64::try_from(header.mtime()?)
            .unwrap_or_default()
            .saturating_mul(1_000_000_000),
    })
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_engines_put_before_them() {
        for (name, expected) in [
            ("./", ""),
            (".", ""),
            ("/", ""),
            ("./a/b/", "a/b"),
            ("/a", "a"),
            ("a", "a"),
        ] {
            assert_eq!(plain(name.as_bytes()), expected.as_bytes(), "{name}");
        }
        // What leaves the folder stays visible, and is refused where it gets its path.
        assert_eq!(plain(b"./../a"), b"../a");
    }

    #[test]
    fn the_folders_own_name_is_taken_away_whole() {
        assert_eq!(below(b"volume", b"volume").as_deref(), Some(&b""[..]));
        assert_eq!(below(b"volume/a", b"volume").as_deref(), Some(&b"a"[..]));
        assert_eq!(below(b"volume/a", b"").as_deref(), Some(&b"volume/a"[..]));
        assert_eq!(below(b"volumes/a", b"volume"), None);
        assert_eq!(below(b"a", b"volume"), None);
    }
}
