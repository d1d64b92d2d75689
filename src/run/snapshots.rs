//! Reading a store: which snapshots there are, and their headers and listings, never trusted before they are checked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

use futures_util::StreamExt;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::backup::{
    BadHeader, BadListing, BadSignature, Header, Identities, ImageRecord, LARGEST_HEADER, Link, Listing,
    MANIFEST_NAMESPACE, ManifestPart, Object, OpenError, Snapshot, Tally, Totals, TrustedKeys, buried,
};
use crate::model::{Digest, Generation, ProjectName, Timestamp};
use crate::ports::{ByteStream, Store, StoreError};

use super::blocking::{StreamReader, blocking};
use super::{Line, Progress};

/// What a store is held against; it comes from outside the store.
#[derive(Clone, Debug)]
pub struct Trust {
    pub keys: TrustedKeys,
    /// The last header this host published there, where it remembers one.
    pub newest: Option<Link>,
}

/// Which snapshot is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// The newest of a set.
    Latest {
        set: String,
    },
    Generation(Generation),
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{store} has no snapshot of the set `{set}`")]
    NoneOfSet { store: String, set: String },
    #[error("{store} has no snapshot {generation}; `arkwright backup list` shows what there is")]
    NoSuch { store: String, generation: u64 },
    #[error("{object} is damaged: {why}")]
    Damaged { object: String, why: String },
    #[error("{object} cannot be opened with the identities given; name another with --identity")]
    Sealed { object: String },
}

impl SnapshotError {
    pub(super) fn damaged(object: impl Into<String>, why: impl std::error::Error) -> Self {
        SnapshotError::Damaged {
            object: object.into(),
            why: crate::model::chain(&why),
        }
    }

    /// The objects it is about.
    pub fn objects(&self) -> Vec<String> {
        match self {
            SnapshotError::Damaged { object, .. } | SnapshotError::Sealed { object } => vec![object.clone()],
            SnapshotError::Store(StoreError::NotFound { name, .. }) => vec![name.clone()],
            _ => Vec::new(),
        }
    }
}

/// A header that was checked, and the hash of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub sha256: Digest,
    pub header: Header,
}

/// A line of `backup list`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SnapshotSummary {
    pub generation: Generation,
    /// Why the rest is missing, where it is.
    pub damaged: Option<String>,
    /// `snapshot`, `tombstone`, `removed` where a tombstone lists what a prune that was interrupted left, or `unknown`.
    pub kind: &'static str,
    pub project: Option<ProjectName>,
    pub set: Option<String>,
    pub taken: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub totals: Option<Totals>,
    pub segments: u64,
    pub images: Vec<ImageRecord>,
}

/// A whole object of at most `most` bytes.
pub(super) async fn fetch(store: &dyn Store, name: &str, most: u64) -> Result<Vec<u8>, SnapshotError> {
    let mut stream = store.get(name).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|e| Unsigned::unread(e).of_store(&store.describe(), name))?;
        if bytes.len() as u64 + chunk.len() as u64 > most {
            return Err(SnapshotError::Damaged {
                object: name.to_owned(),
                why: format!("it is larger than {most} bytes"),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Every generation and the parts of it that are there.
pub(super) async fn generations(store: &dyn Store) -> Result<BTreeMap<Generation, BTreeSet<ManifestPart>>, StoreError> {
    let mut found: BTreeMap<Generation, BTreeSet<ManifestPart>> = BTreeMap::new();
    for object in store.list("man/").await? {
        if let Some((generation, part)) = ManifestPart::parse(&object.name) {
            found.entry(generation).or_default().insert(part);
        }
    }
    Ok(found)
}

/// A header whose signature is by one of the trusted keys.
pub(super) async fn header(
    store: &dyn Store,
    keys: &TrustedKeys,
    generation: Generation,
) -> Result<Checked, SnapshotError> {
    let name = ManifestPart::Header.name(generation);
    let signature = ManifestPart::Signature.name(generation);
    let bytes = match fetch(store, &name, LARGEST_HEADER).await {
        Err(SnapshotError::Store(StoreError::NotFound { .. })) => {
            return Err(SnapshotError::NoSuch {
                store: store.describe(),
                generation: generation.0,
            });
        }
        other => other?,
    };
    let armour = match fetch(store, &signature, 64 << 10).await {
        Err(SnapshotError::Store(StoreError::NotFound { .. })) => {
            return Err(SnapshotError::Damaged {
                object: signature,
                why: "it is missing".into(),
            });
        }
        other => other?,
    };
    match keys.verify(MANIFEST_NAMESPACE, &bytes, &armour) {
        Ok(()) => {}
        Err(BadSignature::Format) => return Err(SnapshotError::damaged(signature, BadSignature::Format)),
        Err(BadSignature::Stranger(key)) => {
            return Err(SnapshotError::Damaged {
                object: signature,
                why: format!("it is by the key {key}, which is not trusted here"),
            });
        }
        Err(BadSignature::Mismatch) => {
            return Err(SnapshotError::Damaged {
                object: name,
                why: format!("it and its signature {signature} do not fit: one of the two was changed"),
            });
        }
    }
    let header = Header::parse(&bytes, generation).map_err(|e: BadHeader| SnapshotError::damaged(name, e))?;
    Ok(Checked {
        sha256: Digest::of(&bytes),
        header,
    })
}

/// The snapshots of a store, oldest first; a damaged header is a line that says so.
pub async fn list(store: &dyn Store, keys: &TrustedKeys) -> Result<Vec<SnapshotSummary>, SnapshotError> {
    let mut lines = Vec::new();
    let mut headers = Vec::new();
    for (generation, parts) in generations(store).await? {
        if !parts.contains(&ManifestPart::Header) {
            continue;
        }
        lines.push(match header(store, keys, generation).await {
            Ok(checked) => {
                let line = summary(generation, &checked.header);
                headers.push((checked.sha256, checked.header));
                line
            }
            Err(SnapshotError::Store(error)) => return Err(error.into()),
            Err(error) => SnapshotSummary {
                generation,
                damaged: Some(error.to_string()),
                kind: "unknown",
                project: None,
                set: None,
                taken: None,
                finished: None,
                totals: None,
                segments: 0,
                images: Vec::new(),
            },
        });
    }
    let buried = buried(&headers);
    for line in lines.iter_mut().filter(|line| buried.contains_key(&line.generation)) {
        line.kind = "removed";
    }
    Ok(lines)
}

fn summary(generation: Generation, header: &Header) -> SnapshotSummary {
    match header {
        Header::Snapshot(snapshot) => SnapshotSummary {
            generation,
            damaged: None,
            kind: "snapshot",
            project: Some(snapshot.project.clone()),
            set: Some(snapshot.set.clone()),
            taken: Some(snapshot.taken),
            finished: Some(snapshot.finished),
            totals: Some(snapshot.totals),
            segments: snapshot.segments.len() as u64 + 1,
            images: snapshot.images.clone(),
        },
        Header::Tombstone(tombstone) => SnapshotSummary {
            generation,
            damaged: None,
            kind: "tombstone",
            project: Some(tombstone.project.clone()),
            set: None,
            taken: None,
            finished: Some(tombstone.written),
            totals: None,
            segments: 0,
            images: Vec::new(),
        },
    }
}

/// The snapshot that is meant, its header checked.
///
/// For the latest of a set every newer header has to be readable, and the one this host remembers has to be there: an
/// older snapshot never passes for the newest.
pub async fn find(store: &dyn Store, trust: &Trust, which: &Which) -> Result<Snapshot, SnapshotError> {
    match which {
        Which::Generation(generation) => match header(store, &trust.keys, *generation).await?.header {
            Header::Snapshot(snapshot) => Ok(*snapshot),
            Header::Tombstone(_) => Err(SnapshotError::NoSuch {
                store: store.describe(),
                generation: generation.0,
            }),
        },
        Which::Latest { set } => {
            let found = generations(store).await?;
            let present: Vec<Generation> = found
                .iter()
                .filter(|(_, parts)| parts.contains(&ManifestPart::Header))
                .map(|(generation, _)| *generation)
                .collect();
            if let Some(newest) = trust.newest
                && !present.iter().any(|generation| *generation >= newest.generation)
            {
                return Err(SnapshotError::Damaged {
                    object: ManifestPart::Header.name(newest.generation),
                    why: "it is missing, and this host published it; name an older snapshot to use that".into(),
                });
            }
            // A tombstone comes after what it lists.
            let mut buried = BTreeSet::new();
            for generation in present.into_iter().rev() {
                match header(store, &trust.keys, generation).await?.header {
                    Header::Snapshot(snapshot) if snapshot.set == *set && !buried.contains(&generation) => {
                        return Ok(*snapshot);
                    }
                    Header::Snapshot(_) => {}
                    Header::Tombstone(tombstone) => {
                        buried.extend(tombstone.removed.into_iter().map(|removed| removed.generation));
                    }
                }
            }
            Err(SnapshotError::NoneOfSet {
                store: store.describe(),
                set: set.clone(),
            })
        }
    }
}

/// Opens a snapshot's listing; its bytes have to be the ones the header signed before any of them is parsed.
pub async fn listing(
    store: &dyn Store,
    snapshot: &Snapshot,
    identities: &Identities,
) -> Result<Listing, SnapshotError> {
    let object = snapshot.listing.clone();
    let name = object.name.clone();
    let found = store.list(&name).await?;
    let damaged = |why| SnapshotError::Damaged {
        object: object.name.clone(),
        why,
    };
    let found = found.iter().find(|found| found.name == name);
    has_length(found.map(|found| found.bytes), &object).map_err(damaged)?;
    let stream = store.get(&name).await?;
    let signed = object.clone();
    let whole = blocking(&Silent, move |_, handle| {
        as_signed(&signed, Tally::new(signed_reader(handle, stream, &signed)))
    });
    whole.await.map_err(|why| why.of_store(&store.describe(), &name))?;
    let stream = store.get(&name).await?;
    let identities = identities.clone();
    let named: BTreeSet<_> = snapshot.segments.iter().map(|segment| segment.id.clone()).collect();
    let described = store.describe();
    blocking(&Silent, move |_, handle| {
        let mut from = Tally::new(signed_reader(handle, stream, &object));
        let read = read_listing(&mut from, &identities);
        // It was whole a moment ago; what was parsed has to be the same.
        as_signed(&object, from).map_err(|why| why.of_store(&described, &name))?;
        let listing = match read {
            Err(Unreadable::Sealed) => return Err(SnapshotError::Sealed { object: name }),
            Err(Unreadable::Open(error)) => return Err(SnapshotError::damaged(name, error)),
            Err(Unreadable::Content(error)) => return Err(SnapshotError::damaged(name, error)),
            Ok(listing) => listing,
        };
        listing
            .lies_in(&named.iter().collect())
            .map_err(|e| SnapshotError::damaged(name, e))?;
        Ok(listing)
    })
    .await
}

/// As much of a stored object as tells whether it is as long as what was signed.
pub(super) fn signed_reader(handle: &Handle, stream: ByteStream, object: &Object) -> impl Read + use<> {
    StreamReader::new(handle, stream).take(object.bytes.saturating_add(1))
}

/// Whether what the store lists is as long as what was signed; an error says what is wrong.
pub(super) fn has_length(found: Option<u64>, object: &Object) -> Result<(), String> {
    match found {
        None => Err("it is missing".into()),
        Some(bytes) if bytes != object.bytes => Err(format!("it has {bytes} bytes and should have {}", object.bytes)),
        Some(_) => Ok(()),
    }
}

/// Why what was read is not known to be what was signed.
pub(super) enum Unsigned {
    /// Nothing is known of the object: the store stopped answering, for instance.
    Unread(io::Error),
    Damaged(String),
}

impl Unsigned {
    /// A disk that cannot give its bytes back has lost them; whoever else fails may have them still.
    pub(super) fn unread(error: io::Error) -> Self {
        use rustix::io::Errno;
        let of_a_disk = [Errno::IO, Errno::UCLEAN].map(|errno| Some(errno.raw_os_error()));
        match of_a_disk.contains(&error.raw_os_error()) {
            true => Unsigned::Damaged(crate::model::chain(&error)),
            false => Unsigned::Unread(error),
        }
    }

    pub(super) fn of_store(self, store: &str, name: &str) -> SnapshotError {
        match self {
            Unsigned::Unread(source) => SnapshotError::Store(unread(store, name, source)),
            Unsigned::Damaged(why) => SnapshotError::Damaged {
                object: name.to_owned(),
                why,
            },
        }
    }
}

/// An object that could not be read to its end.
pub(super) fn unread(store: &str, name: &str, source: io::Error) -> StoreError {
    StoreError::Failed {
        store: store.to_owned(),
        what: "read",
        name: name.to_owned(),
        source: source.into(),
    }
}

/// Reads what is left; an error says why these are not known to be the signed bytes.
pub(super) fn as_signed(object: &Object, mut from: Tally<impl Read>) -> Result<(), Unsigned> {
    let drained = io::copy(&mut from, &mut io::sink());
    let (_, sha256, bytes) = from.finish();
    drained.map_err(Unsigned::unread)?;
    match (sha256, bytes) == (object.sha256, object.bytes) {
        true => Ok(()),
        false => Err(Unsigned::Damaged(
            "its bytes are not the ones that were signed for".into(),
        )),
    }
}

enum Unreadable {
    Sealed,
    Open(OpenError),
    Content(BadListing),
}

fn read_listing(from: impl std::io::Read, identities: &Identities) -> Result<Listing, Unreadable> {
    let plain = identities.open(from).map_err(|error| match error {
        OpenError::NoIdentity => Unreadable::Sealed,
        other => Unreadable::Open(other),
    })?;
    Listing::read(BufReader::with_capacity(64 << 10, plain)).map_err(Unreadable::Content)
}

/// For work that has nothing to say.
pub(super) struct Silent;

impl Progress for Silent {
    fn say(&self, _text: &str) {}
}

/// A snapshot's figures for a person.
pub fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let size = |bytes| crate::model::Size(bytes).to_string();
    vec![
        Line::new("set", &snapshot.set),
        Line::new("taken", snapshot.taken.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
        Line::new("files", snapshot.totals.files.to_string()),
        Line::new("size", size(snapshot.totals.bytes)),
        Line::new("new in the store", size(snapshot.totals.added)),
        Line::new("segments", (snapshot.segments.len() + 1).to_string()),
    ]
}
