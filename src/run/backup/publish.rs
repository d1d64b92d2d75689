use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tokio_util::io::ReaderStream;

use crate::backup::{
    BackupSubject, Header, Link, MANIFEST_NAMESPACE, ManifestPart, Object, Signer, Snapshot, TrustedKeys,
};
use crate::model::{Digest, Generation, Timestamp};
use crate::ports::{ByteStream, Put, Store, StoreError};
use crate::run::snapshots::{self, Checked};

use super::BackupError;
use super::read::{Draft, Staging};

/// Somebody else taking generation after generation is not something to wait out.
const TRIES: u32 = 20;

pub(super) struct Publish<'a> {
    pub subject: &'a BackupSubject,
    pub store: &'a Arc<dyn Store>,
    pub signer: &'a Signer,
    pub keys: &'a TrustedKeys,
    /// The last header this host published there.
    pub head: Option<Link>,
    pub finished: Timestamp,
}

impl Publish<'_> {
    /// Reserves a generation by its listing, then puts signature and header; the header makes the snapshot exist.
    ///
    /// Done again after a crash it finds what it left: a listing with our own hash is our own reservation.
    pub(super) async fn run(&self, staging: &Staging) -> Result<Link, BackupError> {
        let draft = staging.read()?;
        self.segments_are_there(&draft).await?;
        let generation = self.reserve(&draft, &staging.listing()).await?;
        if let Some(done) = self.published(generation, &draft).await? {
            return Ok(done);
        }
        let previous = self.previous(generation).await?;
        self.protect(&draft, generation).await?;
        let header = Header::Snapshot(Box::new(Snapshot {
            project: self.subject.project.clone(),
            set: self.subject.set.clone(),
            generation,
            taken: draft.taken,
            finished: self.finished,
            previous,
            tool: format!("arkwright {}", env!("CARGO_PKG_VERSION")),
            listing: Object {
                name: ManifestPart::Listing.name(generation),
                sha256: draft.listing_sha256,
                bytes: draft.listing_bytes,
            },
            segments: draft.segments,
            sums: draft.sums,
            images: draft.images,
            totals: draft.totals,
            signer: self.signer.fingerprint(),
        }));
        let bytes = header.encode().map_err(|source| BackupError::Draft {
            path: staging.folder().to_path_buf(),
            source,
        })?;
        let signature = self
            .signer
            .sign(MANIFEST_NAMESPACE, &bytes)
            .map_err(BackupError::Signing)?;
        let sha256 = Digest::of(&bytes);
        // A signature that an interrupted try left is replaced: it fits no header.
        let name = ManifestPart::Signature.name(generation);
        self.store
            .put(&name, once(signature.into_bytes()), Put::Replace)
            .await?;
        let name = ManifestPart::Header.name(generation);
        self.store.put(&name, once(bytes), Put::Create).await?;
        Ok(Link { generation, sha256 })
    }

    /// Whatever the snapshot refers to lasts as long as its header, segments of earlier snapshots included.
    async fn protect(&self, draft: &Draft, generation: Generation) -> Result<(), BackupError> {
        let segments = draft.segments.iter().chain([&draft.sums]);
        let mut names: Vec<String> = segments.map(|segment| segment.name.to_string()).collect();
        names.push(ManifestPart::Listing.name(generation));
        Ok(self.store.protect(&names).await?)
    }

    async fn segments_are_there(&self, draft: &Draft) -> Result<(), BackupError> {
        let listed: BTreeMap<String, u64> = list(self.store.as_ref(), "seg/").await?;
        for segment in draft.segments.iter().chain([&draft.sums]) {
            let name = segment.name.to_string();
            if listed.get(&name) != Some(&segment.bytes) {
                return Err(BackupError::Vanished {
                    store: self.store.describe(),
                    object: name,
                });
            }
        }
        Ok(())
    }

    /// The generation whose listing is ours.
    async fn reserve(&self, draft: &Draft, listing: &Path) -> Result<Generation, BackupError> {
        let found = snapshots::generations(self.store.as_ref()).await?;
        let newest = found.last_key_value().map(|(generation, _)| *generation);
        if let Some(newest) = newest
            && self.is_ours(newest, draft).await?
        {
            return Ok(newest);
        }
        let after = |taken: Generation| {
            taken.next().ok_or_else(|| BackupError::Exhausted {
                store: self.store.describe(),
                object: ManifestPart::Header.name(taken),
            })
        };
        let mut generation = newest.map_or(Ok(Generation(1)), after)?;
        for _ in 0..TRIES {
            let file = tokio::fs::File::open(listing)
                .await
                .map_err(BackupError::scratch(listing))?;
            let body: ByteStream = Box::pin(ReaderStream::with_capacity(file, 256 << 10));
            let name = ManifestPart::Listing.name(generation);
            match self.store.put(&name, body, Put::Create).await {
                Ok(_) => return Ok(generation),
                Err(StoreError::Exists { .. }) if self.is_ours(generation, draft).await? => return Ok(generation),
                Err(StoreError::Exists { .. }) => generation = after(generation)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(BackupError::Overtaken(generation.0))
    }

    async fn is_ours(&self, generation: Generation, draft: &Draft) -> Result<bool, BackupError> {
        let name = ManifestPart::Listing.name(generation);
        let objects = self.store.list(&name).await?;
        if !objects.iter().any(|o| o.name == name && o.bytes == draft.listing_bytes) {
            return Ok(false);
        }
        let bytes = snapshots::fetch(self.store.as_ref(), &name, draft.listing_bytes)
            .await
            .map_err(BackupError::Newest)?;
        Ok(Digest::of(&bytes) == draft.listing_sha256)
    }

    /// Whether an earlier try got as far as the header.
    async fn published(&self, generation: Generation, draft: &Draft) -> Result<Option<Link>, BackupError> {
        let name = ManifestPart::Header.name(generation);
        if !self.store.list(&name).await?.iter().any(|object| object.name == name) {
            return Ok(None);
        }
        let checked = self.header(generation).await?;
        match &checked.header {
            Header::Snapshot(snapshot) if snapshot.listing.sha256 == draft.listing_sha256 => Ok(Some(Link {
                generation,
                sha256: checked.sha256,
            })),
            _ => Err(BackupError::Overtaken(generation.0)),
        }
    }

    /// The header to build upon: what this host published last, or what another did after that.
    async fn previous(&self, ours: Generation) -> Result<Option<Link>, BackupError> {
        let found = snapshots::generations(self.store.as_ref()).await?;
        let headers: Vec<Generation> = found
            .iter()
            .filter(|(_, parts)| parts.contains(&ManifestPart::Header))
            .map(|(generation, _)| *generation)
            .collect();
        let newest = headers.last().copied();
        if newest.is_some_and(|newest| newest > ours) {
            return Err(BackupError::Overtaken(ours.0));
        }
        match (self.head, newest) {
            (Some(head), _) if !headers.contains(&head.generation) => Err(BackupError::Lost {
                store: self.store.describe(),
                object: ManifestPart::Header.name(head.generation),
            }),
            // What this host remembers holds even when the header in the store was changed since: `verify` says so.
            (Some(head), Some(newest)) if head.generation == newest => Ok(Some(head)),
            (_, Some(newest)) => {
                let checked = self.header(newest).await?;
                if *checked.header.project() != self.subject.project {
                    return Err(BackupError::Foreign {
                        store: self.store.describe(),
                        other: checked.header.project().to_string(),
                    });
                }
                Ok(Some(Link {
                    generation: newest,
                    sha256: checked.sha256,
                }))
            }
            (_, None) => Ok(None),
        }
    }

    async fn header(&self, generation: Generation) -> Result<Checked, BackupError> {
        snapshots::header(self.store.as_ref(), self.keys, generation)
            .await
            .map_err(BackupError::Newest)
    }
}

/// Names and sizes of what is stored under a prefix.
pub(super) async fn list(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let objects = store.list(prefix).await?;
    Ok(objects.into_iter().map(|object| (object.name, object.bytes)).collect())
}

fn once(bytes: Vec<u8>) -> ByteStream {
    Box::pin(stream::iter([Ok(Bytes::from(bytes))]))
}
