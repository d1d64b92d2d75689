use crate::model::Digest;

use super::{Record, Step};

/// The version line every journal begins with; an older binary refuses what a newer one wrote.
const HEAD: &str = "arkwright-journal 1";

#[derive(Debug, thiserror::Error)]
pub enum Corrupt {
    #[error("the journal begins with `{0}`, not `{HEAD}`: it was written by a newer arkwright, or is not a journal")]
    Version(String),
    #[error("line {line} of the journal is damaged: {why}; keep the file, and restore it or move it aside")]
    Line { line: usize, why: &'static str },
    #[error("line {line} of the journal does not say what a journal says")]
    Content {
        line: usize,
        #[source]
        source: serde_json::Error,
    },
}

/// The bytes to append for a record: a check sum, the record as JSON, a line end. The first record brings the head line.
pub fn encode<S: Step>(record: &Record<S>) -> Result<Vec<u8>, serde_json::Error> {
    let json = serde_json::to_string(record)?;
    let head = if record.seq == 0 {
        format!("{HEAD}\n")
    } else {
        String::new()
    };
    Ok(format!("{head}{} {json}\n", check(json.as_bytes())).into_bytes())
}

/// Reads a journal back: the records, and how many bytes of the file they cover.
///
/// A last line without its line end is a write that a crash cut short: it is left out, and the caller truncates to the
/// length returned. Anything else that does not fit is damage.
pub fn parse<S: Step>(bytes: &[u8]) -> Result<(Vec<Record<S>>, usize), Corrupt> {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut records: Vec<Record<S>> = Vec::new();
    let mut covered = 0;
    for (at, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
        let damaged = |why| Corrupt::Line { line: at + 1, why };
        let text = std::str::from_utf8(&line[..line.len() - 1]).map_err(|_| damaged("not UTF-8"))?;
        if at == 0 {
            if text != HEAD {
                return Err(Corrupt::Version(text.chars().take(40).collect()));
            }
            continue;
        }
        let (sum, json) = text.split_once(' ').ok_or_else(|| damaged("no check sum"))?;
        if sum != check(json.as_bytes()) {
            return Err(damaged("its check sum does not match"));
        }
        let record: Record<S> =
            serde_json::from_str(json).map_err(|source| Corrupt::Content { line: at + 1, source })?;
        if record.seq != records.len() as u64 {
            return Err(damaged("a record is missing before it"));
        }
        records.push(record);
        covered = line.as_ptr() as usize - bytes.as_ptr() as usize + line.len();
    }
    Ok((records, covered))
}

/// The first eight hex digits of the SHA-256: against rot and torn writes, not against an attacker.
fn check(json: &[u8]) -> String {
    Digest::of(json).hex()[..8].to_owned()
}
