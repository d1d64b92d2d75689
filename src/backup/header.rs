use serde::{Deserialize, Serialize};

use crate::model::{Digest, Generation, ProjectName, SegmentId, ServiceName, Timestamp};

use super::{ManifestPart, SegmentName};

/// The version of everything in a store; see docs/format.md.
pub const FORMAT: u32 = 1;
/// A header larger than this was not written by arkwright.
pub const LARGEST_HEADER: u64 = 64 << 20;

/// What a signed `man/<generation>.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Header {
    Snapshot(Box<Snapshot>),
    /// Says that older snapshots were removed on purpose.
    Tombstone(Tombstone),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub project: ProjectName,
    pub set: String,
    pub generation: Generation,
    /// When reading the sources began: everything older is in it.
    pub taken: Timestamp,
    pub finished: Timestamp,
    /// The header before it in this store.
    pub previous: Option<Link>,
    /// `arkwright 0.1.0`
    pub tool: String,
    pub listing: Object,
    /// Every segment the listing refers to, those of earlier snapshots included.
    pub segments: Vec<SegmentRecord>,
    /// The segment that holds `SHA256SUMS` and nothing else.
    pub sums: SegmentRecord,
    #[serde(default)]
    pub images: Vec<ImageRecord>,
    pub totals: Totals,
    /// Fingerprint of the signing key, `SHA256:…`: a hint for a person, never what trust rests on.
    pub signer: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tombstone {
    pub project: ProjectName,
    pub generation: Generation,
    pub written: Timestamp,
    pub previous: Option<Link>,
    pub tool: String,
    /// In order of generation.
    pub removed: Vec<Removed>,
    pub signer: String,
}

/// A removed header, with what the chain needs of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Removed {
    pub generation: Generation,
    #[serde(with = "plain_hex")]
    pub sha256: Digest,
    pub previous: Option<Link>,
}

/// A header by its place and the hash of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub generation: Generation,
    #[serde(with = "plain_hex")]
    pub sha256: Digest,
}

/// A stored object and the hash of its bytes as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    pub name: String,
    #[serde(with = "plain_hex")]
    pub sha256: Digest,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRecord {
    pub id: SegmentId,
    pub name: SegmentName,
    /// Of the ciphertext.
    #[serde(with = "plain_hex")]
    pub sha256: Digest,
    pub bytes: u64,
}

/// The image a service ran when the snapshot was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    pub service: ServiceName,
    pub reference: String,
    /// `sha256:…`, the configuration's digest; `None` where no engine could tell.
    pub id: Option<String>,
    /// As a registry knows it; without one the image itself is in the snapshot, below `@images/`.
    pub digest: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub entries: u64,
    pub files: u64,
    /// Of the files, as restored.
    pub bytes: u64,
    /// Ciphertext that this snapshot added to the store.
    pub added: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum BadHeader {
    #[error("it is larger than {LARGEST_HEADER} bytes")]
    Large,
    #[error("it is of format {0}, and this arkwright reads format {FORMAT}; upgrade")]
    Newer(u32),
    #[error("it needs `{0}`, which this arkwright does not know; upgrade")]
    Needs(String),
    #[error("it does not say what a header says")]
    Content(#[source] serde_json::Error),
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
}

/// What is read before anything else.
#[derive(Deserialize)]
struct Envelope {
    format: u32,
    /// Abilities without which the rest would be misread.
    #[serde(default)]
    needs: Vec<String>,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    #[serde(flatten)]
    header: &'a Header,
}

impl Header {
    /// Reads the header of `generation`. The signature has to be checked on the same bytes first.
    pub fn parse(bytes: &[u8], generation: Generation) -> Result<Self, BadHeader> {
        if bytes.len() as u64 > LARGEST_HEADER {
            return Err(BadHeader::Large);
        }
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(BadHeader::Content)?;
        if envelope.format != FORMAT {
            return Err(BadHeader::Newer(envelope.format));
        }
        if let Some(need) = envelope.needs.into_iter().next() {
            return Err(BadHeader::Needs(super::escape(need.as_bytes())));
        }
        let header: Header = serde_json::from_slice(bytes).map_err(BadHeader::Content)?;
        if header.generation() != generation {
            return Err(BadHeader::Contradiction("its generation is not that of its name"));
        }
        if header.previous().is_some_and(|link| link.generation >= generation) {
            return Err(BadHeader::Contradiction("the header before it is not before it"));
        }
        if let Header::Tombstone(tombstone) = &header {
            let mut before = Generation(0);
            for removed in &tombstone.removed {
                if removed.generation <= before || removed.generation >= generation {
                    let why = "what it says was removed is not before it, each once and in order";
                    return Err(BadHeader::Contradiction(why));
                }
                if removed
                    .previous
                    .is_some_and(|link| link.generation >= removed.generation)
                {
                    return Err(BadHeader::Contradiction(
                        "what it says was removed followed something later",
                    ));
                }
                before = removed.generation;
            }
        }
        if let Header::Snapshot(snapshot) = &header {
            if snapshot.listing.name != ManifestPart::Listing.name(generation) {
                return Err(BadHeader::Contradiction("its listing is not its own"));
            }
            let mut named = snapshot.segments.iter().chain([&snapshot.sums]);
            if named.any(|segment| segment.name.id != segment.id) {
                return Err(BadHeader::Contradiction("a segment's name is not that of its id"));
            }
        }
        Ok(header)
    }

    /// The bytes that are signed and stored; an error where no reader would take them.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(&Written {
            format: FORMAT,
            header: self,
        })?;
        bytes.push(b'\n');
        if bytes.len() as u64 > LARGEST_HEADER {
            let long = format!("the header would be larger than {LARGEST_HEADER} bytes");
            return Err(serde::ser::Error::custom(long));
        }
        Ok(bytes)
    }

    pub fn generation(&self) -> Generation {
        match self {
            Header::Snapshot(snapshot) => snapshot.generation,
            Header::Tombstone(tombstone) => tombstone.generation,
        }
    }

    pub fn previous(&self) -> Option<Link> {
        match self {
            Header::Snapshot(snapshot) => snapshot.previous,
            Header::Tombstone(tombstone) => tombstone.previous,
        }
    }

    pub fn project(&self) -> &ProjectName {
        match self {
            Header::Snapshot(snapshot) => &snapshot.project,
            Header::Tombstone(tombstone) => &tombstone.project,
        }
    }
}

impl Snapshot {
    /// Every object of it but the header and its signature.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        let segments = self.segments.iter().chain([&self.sums]).map(SegmentRecord::object);
        std::iter::once(self.listing.clone()).chain(segments)
    }
}

impl SegmentRecord {
    pub fn object(&self) -> Object {
        Object {
            name: self.name.to_string(),
            sha256: self.sha256,
            bytes: self.bytes,
        }
    }
}

/// A digest as the 64 digits alone, as `sha256sum` prints it.
pub(super) mod plain_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::model::Digest;

    pub fn serialize<S: Serializer>(digest: &Digest, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&digest.hex())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(from)?;
        if text.contains(':') {
            return Err(D::Error::custom("a SHA-256 is 64 hex digits"));
        }
        text.parse().map_err(D::Error::custom)
    }
}
