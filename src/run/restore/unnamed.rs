use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::vec::IntoIter;

use rustix::fs::AtFlags;

use crate::backup::Hole;
use crate::run::blocking::CHUNK;

use super::RestoreError;
use super::target::failed;

/// A file that is being written and has no name of its own yet; removed when dropped.
pub(super) struct Unnamed {
    pub(super) file: File,
    pub(super) folder: OwnedFd,
    pub(super) temporary: String,
    pub(super) path: PathBuf,
    pub(super) named: bool,
    at: u64,
    /// Those that begin where the file has not been written yet, or that it is in.
    holes: IntoIter<Hole>,
    hole: Option<Hole>,
    length: u64,
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = rustix::fs::unlinkat(&self.folder, &self.temporary, AtFlags::empty())
        {
            tracing::warn!(
                "the unfinished file {} of {} stays: {error}",
                self.temporary,
                self.path.display()
            );
        }
    }
}

impl Unnamed {
    pub(super) fn new(file: File, folder: OwnedFd, temporary: String, path: PathBuf, holes: &[Hole]) -> Self {
        let mut holes = holes.to_vec().into_iter();
        Unnamed {
            file,
            folder,
            temporary,
            path,
            named: false,
            at: 0,
            hole: holes.next(),
            holes,
            length: 0,
        }
    }

    /// The next bytes. Zeros in a hole take no room; anything else there is written, whatever the listing says.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), RestoreError> {
        while !bytes.is_empty() {
            while self.hole.is_some_and(|hole| hole.end() <= self.at) {
                self.hole = self.holes.next();
            }
            let (run, is_hole) = match self.hole {
                Some(hole) if hole.offset <= self.at => (hole.end() - self.at, true),
                Some(hole) => (hole.offset - self.at, false),
                None => (u64::MAX, false),
            };
            let (now, later) = bytes.split_at(bytes.len().min(usize::try_from(run).unwrap_or(usize::MAX)));
            if !is_hole || now.iter().any(|byte| *byte != 0) {
                let written = self.file.write_all_at(now, self.at);
                written.map_err(|e| failed(&self.path, e))?;
                self.length = self.at + now.len() as u64;
            }
            self.at += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// A hole at the end counts too.
    pub(super) fn end(&mut self) -> Result<(), RestoreError> {
        match self.length < self.at {
            true => self.file.set_len(self.at).map_err(|e| failed(&self.path, e)),
            false => Ok(()),
        }
    }

    /// All that was written so far, ended.
    pub(super) fn copy_to(&mut self, other: &mut Unnamed) -> Result<(), RestoreError> {
        let unread = |e| failed(&self.path, e);
        if other.hole.is_none() {
            self.file.rewind().map_err(unread)?;
            let copied = io::copy(&mut self.file, &mut other.file);
            return copied.map(|_bytes| ()).map_err(|e| failed(&other.path, e));
        }
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        loop {
            let read = self.file.read_at(&mut chunk, at).map_err(unread)?;
            if read == 0 {
                return other.end();
            }
            other.write(&chunk[..read])?;
            at += read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn unnamed(folder: &std::path::Path, name: &str, holes: &[Hole]) -> Unnamed {
        let path = folder.join(name);
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        let opened = rustix::fs::open(folder, flags, rustix::fs::Mode::empty()).expect("a folder");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a file");
        Unnamed::new(file, opened, name.into(), path, holes)
    }

    fn hole(offset: u64, length: u64) -> Hole {
        Hole { offset, length }
    }

    #[test]
    fn a_hole_takes_no_room_and_a_false_one_no_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut content = vec![0; 1 << 20];
        content[..4096].fill(1);
        let holes = [hole(4096, (1 << 20) - 4096)];
        let mut sparse = unnamed(folder.path(), "sparse", &holes);
        content
            .chunks(1000)
            .for_each(|chunk| sparse.write(chunk).expect("written"));
        sparse.end().expect("ended");
        let found = fs::metadata(&sparse.path).expect("there");
        assert_eq!((found.len(), found.blocks()), (1 << 20, 8));
        let mut copy = unnamed(folder.path(), "copy", &holes);
        sparse.copy_to(&mut copy).expect("copied");
        let found = fs::metadata(&copy.path).expect("there");
        assert_eq!((found.len(), found.blocks()), (1 << 20, 8));
        assert!(fs::read(&copy.path).expect("read") == content);
        // A listing that lies.
        content[500_000] = 7;
        let mut lied = unnamed(folder.path(), "lied", &holes);
        content
            .chunks(1000)
            .for_each(|chunk| lied.write(chunk).expect("written"));
        lied.end().expect("ended");
        assert!(fs::read(&lied.path).expect("read") == content);
    }

    proptest! {
        #[test]
        fn whatever_the_holes_the_bytes_are_the_same(
            content in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..], 0..400),
            lengths in proptest::collection::vec((0u64..60, 1u64..60), 0..6),
            chunk in 1usize..90,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut at = 0;
            let mut holes = Vec::new();
            for (apart, length) in lengths {
                holes.push(hole(at + apart, length));
                at += apart + length;
            }
            let mut file = unnamed(folder.path(), "file", &holes);
            content.chunks(chunk).for_each(|chunk| file.write(chunk).expect("written"));
            file.end().expect("ended");
            prop_assert_eq!(fs::read(&file.path).expect("read"), content.clone());
            let mut copy = unnamed(folder.path(), "copy", &holes);
            file.copy_to(&mut copy).expect("copied");
            prop_assert_eq!(fs::read(&copy.path).expect("read"), content);
        }
    }
}
