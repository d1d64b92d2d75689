use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use crate::model::{ProjectName, SegmentId, Timestamp};

use super::header::FORMAT;
use super::{Entry, EntryPath, Kinds, Node};

/// A line longer than this was not written by arkwright, its end included.
const LONGEST_LINE: u64 = 1 << 20;
/// Notes of a closing line; what is more is only counted.
const MOST_NOTES: usize = 500;
/// Of one note, in bytes; in JSON each may take six.
const LONGEST_NOTE: usize = 300;

/// The first line of a listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Always [`FORMAT`].
    pub listing: u32,
    pub project: ProjectName,
    pub set: String,
    pub taken: Timestamp,
}

/// The last line: what was read, so that a shorter listing cannot pass for a whole one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Closing {
    pub entries: u64,
    pub files: u64,
    pub bytes: u64,
    pub sources: Vec<SourceRecord>,
    /// What a person should know: files that changed or vanished while they were read, kinds of files left out.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The kind of a source that was read as a SQLite database.
pub const SQLITE: &str = "sqlite";
/// What SQLite keeps beside a database, by what is added to its name.
pub const SQLITE_SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];

/// One source as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// `path` or `sqlite`; later kinds are read as what they say.
    pub kind: String,
    pub path: EntryPath,
    pub files: u64,
    pub bytes: u64,
    /// The time of the newest datum, by the source's `newest` query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// Rows of every table.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: Closing,
}

#[derive(Debug, thiserror::Error)]
pub enum BadListing {
    #[error("it could not be read to its end")]
    Read(#[source] io::Error),
    #[error("line {0} is too long")]
    Long(u64),
    #[error("line {line} does not say what a listing says")]
    Content {
        line: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("it is of format {0}, and this arkwright reads format {FORMAT}; upgrade")]
    Newer(u32),
    #[error("line {line}: {why}")]
    Order { line: u64, why: &'static str },
    #[error("`{0}` is in it twice, or is below something that is not a folder")]
    Tree(EntryPath),
    #[error("`{0}` is a hard link to something that is no file listed before it")]
    Hardlink(EntryPath),
    #[error("it refers to segment {0}, which the header does not name")]
    Stray(SegmentId),
}

/// Writes a listing line by line.
pub struct ListingWriter<W: Write> {
    out: W,
    closing: Closing,
}

impl<W: Write> ListingWriter<W> {
    pub fn begin(mut out: W, opening: &Opening) -> io::Result<Self> {
        line(&mut out, opening)?;
        Ok(ListingWriter {
            out,
            closing: Closing::default(),
        })
    }

    pub fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.closing.entries += 1;
        if let Node::File(content) = &entry.node {
            self.closing.files += 1;
            self.closing.bytes += content.size;
        }
        line(&mut self.out, entry)
    }

    pub fn end(mut self, sources: Vec<SourceRecord>, notes: Vec<String>) -> io::Result<(W, Closing)> {
        self.closing.sources = sources;
        self.closing.notes = held(notes);
        let end = End {
            end: self.closing.clone(),
        };
        line(&mut self.out, &end)?;
        Ok((self.out, self.closing))
    }
}

/// An error rather than a line that no reader takes.
fn line<W: Write>(out: &mut W, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    if text.len() as u64 > LONGEST_LINE {
        return Err(io::Error::other(format!(
            "a line of the listing would be longer than {LONGEST_LINE} bytes"
        )));
    }
    out.write_all(&text)
}

/// Few and short enough for one line.
fn held(mut notes: Vec<String>) -> Vec<String> {
    let more = notes.len().saturating_sub(MOST_NOTES);
    notes.truncate(MOST_NOTES);
    for note in &mut notes {
        if note.len() > LONGEST_NOTE {
            note.truncate(note.floor_char_boundary(LONGEST_NOTE));
            note.push('…');
        }
    }
    if more > 0 {
        notes.push(format!("{more} more notes were left out"));
    }
    notes
}

/// A whole listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    pub opening: Opening,
    pub entries: Vec<Entry>,
    pub closing: Closing,
}

impl Listing {
    /// Reads a decrypted listing to its end.
    ///
    /// A listing that contradicts itself is refused whole: two entries at one path, an entry below a file or a link,
    /// a hard link to anything but a file before it, counts that do not agree.
    pub fn read(from: impl BufRead) -> Result<Self, BadListing> {
        let mut from = from;
        let mut opening = None;
        let mut entries: Vec<Entry> = Vec::new();
        let mut closing: Option<Closing> = None;
        for number in 1.. {
            let mut text = Vec::new();
            let read = Read::by_ref(&mut from)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut text)
                .map_err(BadListing::Read)?;
            if read == 0 {
                break;
            }
            if text.last() != Some(&b'\n') {
                return Err(match read as u64 {
                    LONGEST_LINE => BadListing::Long(number),
                    _ => order(number, "it is cut short"),
                });
            }
            if closing.is_some() {
                return Err(order(number, "there is more after the end"));
            }
            if number == 1 {
                opening = Some(first(&text)?);
                continue;
            }
            let content = |source| BadListing::Content { line: number, source };
            if text.starts_with(b"{\"end\"") {
                closing = Some(serde_json::from_slice::<End>(&text).map_err(content)?.end);
            } else {
                entries.push(serde_json::from_slice(&text).map_err(content)?);
            }
        }
        let (Some(opening), Some(closing)) = (opening, closing) else {
            return Err(order(entries.len() as u64 + 2, "the end is missing"));
        };
        let listing = Listing {
            opening,
            entries,
            closing,
        };
        listing.check()?;
        Ok(listing)
    }

    fn check(&self) -> Result<(), BadListing> {
        let contents = self.entries.iter().filter_map(|entry| match &entry.node {
            Node::File(content) => Some(content.size),
            _ => None,
        });
        let bytes = contents
            .clone()
            .try_fold(0u64, u64::checked_add)
            .ok_or_else(|| order(1, "its sizes overflow"))?;
        let counted = (self.entries.len() as u64, contents.count() as u64, bytes);
        if counted != (self.closing.entries, self.closing.files, self.closing.bytes) {
            return Err(order(
                self.entries.len() as u64 + 2,
                "the counts do not agree with the entries",
            ));
        }
        let mut paths = BTreeSet::new();
        let mut leaves = BTreeMap::new();
        for entry in &self.entries {
            if !paths.insert(entry.path.as_str()) {
                return Err(BadListing::Tree(entry.path.clone()));
            }
            if let Node::Hardlink(target) = &entry.node
                && leaves.get(target.as_str()) != Some(&true)
            {
                return Err(BadListing::Hardlink(entry.path.clone()));
            }
            if entry.node != Node::Dir {
                leaves.insert(entry.path.as_str(), matches!(entry.node, Node::File(_)));
            }
        }
        for entry in &self.entries {
            let path = entry.path.as_str();
            if path.match_indices('/').any(|(at, _)| leaves.contains_key(&path[..at])) {
                return Err(BadListing::Tree(entry.path.clone()));
            }
        }
        Ok(())
    }

    pub fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        self.entries.iter().for_each(|entry| kinds.count(entry));
        kinds
    }

    /// The segments its files lie in.
    pub fn segments(&self) -> BTreeSet<&SegmentId> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.node {
                Node::File(content) => Some(&content.segment),
                _ => None,
            })
            .collect()
    }

    /// Whether every file lies in one of these.
    pub fn lies_in(&self, named: &BTreeSet<&SegmentId>) -> Result<(), BadListing> {
        match self.segments().into_iter().find(|id| !named.contains(id)) {
            Some(stray) => Err(BadListing::Stray(stray.clone())),
            None => Ok(()),
        }
    }
}

fn order(line: u64, why: &'static str) -> BadListing {
    BadListing::Order { line, why }
}

fn first(text: &[u8]) -> Result<Opening, BadListing> {
    #[derive(Deserialize)]
    struct Version {
        listing: u32,
    }
    let content = |source| BadListing::Content { line: 1, source };
    let version: Version = serde_json::from_slice(text).map_err(content)?;
    if version.listing != FORMAT {
        return Err(BadListing::Newer(version.listing));
    }
    serde_json::from_slice(text).map_err(content)
}
