use std::io::{self, Write};

use sha2::{Digest as _, Sha256};

use super::{Entry, Node};
use crate::model::Digest;

/// Writes an entry's line of `SHA256SUMS`, as `sha256sum` writes it; nothing for what is not a file.
///
/// The name is the bytes on disk: a name with a line end or a backslash is escaped as `sha256sum` escapes it.
pub fn sums_line(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let Node::File(content) = &entry.node else {
        return Ok(());
    };
    let name = entry.path.to_bytes();
    let odd = |b: &u8| matches!(b, b'\n' | b'\r' | b'\\');
    if name.iter().any(odd) {
        out.write_all(b"\\")?;
    }
    out.write_all(content.sha256.hex().as_bytes())?;
    out.write_all(b"  ")?;
    for byte in name {
        match byte {
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            b'\\' => out.write_all(b"\\\\")?,
            other => out.write_all(&[other])?,
        }
    }
    out.write_all(b"\n")
}

/// The lines of a `SHA256SUMS`, which no format puts in an order; kept as their hashes.
#[derive(Default)]
pub struct SumsLines {
    whole: Vec<Digest>,
    begun: Sha256,
    cut: bool,
}

impl SumsLines {
    /// The line of an entry.
    pub fn add(&mut self, entry: &Entry) {
        let mut line = Vec::new();
        // A vector takes whatever is written.
        if sums_line(entry, &mut line).is_ok() {
            self.read(&line);
        }
    }

    /// The next bytes, wherever they end.
    pub fn read(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.update(piece);
            self.cut = piece.last() != Some(&b'\n');
            if !self.cut {
                self.whole.push(Digest::from_bytes(self.begun.finalize_reset().into()));
            }
        }
    }

    /// To compare by; the second part is whether the last line has its end.
    pub fn sorted(mut self) -> (Vec<Digest>, bool) {
        self.whole.sort();
        (self.whole, !self.cut)
    }
}
