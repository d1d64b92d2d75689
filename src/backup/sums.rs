use std::io::{self, Write};

use super::{Entry, Node};

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
