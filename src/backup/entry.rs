use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, SegmentId};

use super::header::plain_hex;
use super::path::{escape, unescape};
use super::traits::{are_holes_of, xattrs_from_text, xattrs_to_text};
use super::{EntryPath, Hole, Traits};

/// One thing in a restored tree: a line of the listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEntry", into = "RawEntry")]
pub struct Entry {
    pub path: EntryPath,
    pub meta: Meta,
    pub traits: Traits,
    pub node: Node,
}

impl Entry {
    /// Without extended attributes and holes.
    pub fn plain(path: EntryPath, meta: Meta, node: Node) -> Self {
        Entry {
            path,
            meta,
            traits: Traits::default(),
            node,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Permission bits, set-id and sticky bits included: at most 0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Nanoseconds since 1970.
    pub mtime: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Dir,
    File(Content),
    /// Where the link points, byte for byte.
    Symlink(Vec<u8>),
    /// Another name of the file at that path, which comes before it in the listing; mode, owner and time are that file's.
    Hardlink(EntryPath),
    Fifo,
    /// By its major and minor number.
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

/// A file's bytes and where they are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    pub size: u64,
    pub sha256: Digest,
    pub segment: SegmentId,
    /// Of the first byte in the segment's plain tar archive.
    pub offset: u64,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("the entry `{path}` contradicts itself: {why}")]
pub struct BadEntry {
    path: EntryPath,
    why: &'static str,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Dir,
    File,
    Symlink,
    Hardlink,
    Fifo,
    #[serde(rename = "blockdev")]
    Block,
    #[serde(rename = "chardev")]
    Char,
}

/// The line as it is written.
#[derive(Clone, Serialize, Deserialize)]
struct RawEntry {
    path: EntryPath,
    r#type: Type,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    segment: Option<SegmentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    holes: Vec<Hole>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Hex(#[serde(with = "plain_hex")] Digest);

impl TryFrom<RawEntry> for Entry {
    type Error = BadEntry;

    fn try_from(raw: RawEntry) -> Result<Self, BadEntry> {
        let bad = |why| BadEntry {
            path: raw.path.clone(),
            why,
        };
        let node = match raw.r#type {
            Type::Dir => Node::Dir,
            Type::File => match (raw.size, &raw.sha256, &raw.segment, raw.offset) {
                (Some(size), Some(Hex(sha256)), Some(segment), Some(offset)) => Node::File(Content {
                    size,
                    sha256: *sha256,
                    segment: segment.clone(),
                    offset,
                }),
                _ => return Err(bad("a file has size, sha256, segment and offset")),
            },
            Type::Symlink => {
                let target = raw.target.as_deref().and_then(unescape);
                match target.filter(|t| !t.is_empty() && t.len() < 4096 && !t.contains(&0)) {
                    Some(target) => Node::Symlink(target),
                    None => return Err(bad("a symlink has a target")),
                }
            }
            Type::Hardlink => match raw.target.as_deref().map(str::parse) {
                Some(Ok(target)) => Node::Hardlink(target),
                _ => return Err(bad("a hard link has the path of its file as target")),
            },
            Type::Fifo => Node::Fifo,
            Type::Block | Type::Char => match raw.device {
                Some([major, minor]) => Node::Device {
                    block: matches!(raw.r#type, Type::Block),
                    major,
                    minor,
                },
                None => return Err(bad("a device has its two numbers")),
            },
        };
        if raw.mode > 0o7777 {
            return Err(bad("its mode is more than permission bits"));
        }
        let size = match &node {
            Node::File(content) => content.size,
            _ => 0,
        };
        if !are_holes_of(&raw.holes, size) {
            return Err(bad("its holes are out of order or beyond its end"));
        }
        let xattrs = xattrs_from_text(&raw.xattrs)
            .ok_or_else(|| bad("one of its extended attributes has no possible name or value"))?;
        Ok(Entry {
            meta: Meta {
                mode: raw.mode,
                uid: raw.uid,
                gid: raw.gid,
                mtime: raw.mtime,
            },
            path: raw.path,
            traits: Traits {
                xattrs,
                holes: raw.holes,
            },
            node,
        })
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        let mut raw = RawEntry {
            path: entry.path,
            r#type: Type::Dir,
            mode: entry.meta.mode,
            uid: entry.meta.uid,
            gid: entry.meta.gid,
            mtime: entry.meta.mtime,
            size: None,
            sha256: None,
            segment: None,
            offset: None,
            target: None,
            device: None,
            xattrs: xattrs_to_text(&entry.traits.xattrs),
            holes: entry.traits.holes,
        };
        match entry.node {
            Node::Dir => {}
            Node::File(content) => {
                raw.r#type = Type::File;
                raw.size = Some(content.size);
                raw.sha256 = Some(Hex(content.sha256));
                raw.segment = Some(content.segment);
                raw.offset = Some(content.offset);
            }
            Node::Symlink(target) => {
                raw.r#type = Type::Symlink;
                raw.target = Some(escape(&target));
            }
            Node::Hardlink(target) => {
                raw.r#type = Type::Hardlink;
                raw.target = Some(target.into());
            }
            Node::Fifo => raw.r#type = Type::Fifo,
            Node::Device { block, major, minor } => {
                raw.r#type = if block { Type::Block } else { Type::Char };
                raw.device = Some([major, minor]);
            }
        }
        raw
    }
}
