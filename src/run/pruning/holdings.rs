use std::collections::{BTreeMap, BTreeSet};

use crate::backup::{Header, Link, ManifestPart, Removed, SegmentName, Snapshot, TrustedKeys, buried, walk};
use crate::model::{Digest, Generation, ProjectName};
use crate::ports::{Store, StoreError};
use crate::run::snapshots;

use super::PruneError;

/// All that a store holds, known to be all: every header checked, every link of the chain there.
pub(super) struct Holdings {
    pub headers: Vec<(Digest, Header)>,
    /// What tombstones list.
    pub buried: BTreeMap<Generation, Removed>,
    pub parts: BTreeMap<Generation, BTreeSet<ManifestPart>>,
    /// Names and sizes below `man/` and `seg/`.
    pub objects: BTreeMap<String, u64>,
}

impl Holdings {
    /// Fails where anything cannot be listed, read or verified, or is missing.
    ///
    /// `head` is the last header this host published: with it a listing that leaves out the newest is noticed, and each
    /// link names the one before.
    pub async fn take(
        store: &dyn Store,
        keys: &TrustedKeys,
        head: Option<Link>,
        project: &ProjectName,
    ) -> Result<Self, PruneError> {
        // Segments first: what is stored after that is in no listing here, and so is never taken for unused.
        let mut objects = list(store, "seg/").await?;
        objects.extend(list(store, "man/").await?);
        let mut parts: BTreeMap<Generation, BTreeSet<ManifestPart>> = BTreeMap::new();
        for name in objects.keys() {
            if let Some((generation, part)) = ManifestPart::parse(name) {
                parts.entry(generation).or_default().insert(part);
            }
        }
        let present = parts.iter().filter(|(_, parts)| parts.contains(&ManifestPart::Header));
        let mut headers = Vec::new();
        for generation in present.map(|(generation, _)| *generation) {
            let checked = snapshots::header(store, keys, generation).await;
            let checked = checked.map_err(PruneError::Header)?;
            if checked.header.project() != project {
                return Err(PruneError::Foreign {
                    store: store.describe(),
                    other: checked.header.project().to_string(),
                });
            }
            headers.push((checked.sha256, checked.header));
        }
        if head.is_none() && !headers.is_empty() {
            return Err(PruneError::Unremembered {
                store: store.describe(),
            });
        }
        if let Some(broken) = walk(&headers, &[], head).into_iter().next() {
            return Err(PruneError::Broken {
                store: store.describe(),
                object: broken.object,
                why: broken.why,
            });
        }
        Ok(Holdings {
            buried: buried(&headers),
            headers,
            parts,
            objects,
        })
    }

    /// Those that no tombstone lists, oldest generation first.
    pub fn snapshots(&self) -> Vec<&Snapshot> {
        let snapshots = self.headers.iter().filter_map(|(_, header)| match header {
            Header::Snapshot(snapshot) => Some(snapshot.as_ref()),
            Header::Tombstone(_) => None,
        });
        snapshots
            .filter(|snapshot| !self.buried.contains_key(&snapshot.generation))
            .collect()
    }

    /// Those of which an object is gone or has another length than was signed.
    pub fn missing(&self) -> BTreeSet<Generation> {
        let lacks = |snapshot: &&&Snapshot| {
            let mut objects = snapshot.objects();
            objects.any(|object| self.objects.get(&object.name) != Some(&object.bytes))
        };
        self.snapshots()
            .iter()
            .filter(lacks)
            .map(|snapshot| snapshot.generation)
            .collect()
    }

    /// The last header there is.
    pub fn newest(&self) -> Option<Link> {
        self.headers.last().map(|(sha256, header)| Link {
            generation: header.generation(),
            sha256: *sha256,
        })
    }

    /// What is there of the manifests that tombstones list, header before signature before listing.
    pub fn leftovers(&self) -> Vec<(String, u64)> {
        let order = [ManifestPart::Header, ManifestPart::Signature, ManifestPart::Listing];
        let names = self
            .buried
            .keys()
            .flat_map(|generation| order.map(|part| part.name(*generation)));
        names
            .filter_map(|name| Some((name.clone(), *self.objects.get(&name)?)))
            .collect()
    }

    /// Segments that no header refers to, and what was left of generations that were reserved and never published.
    ///
    /// A header that a tombstone lists counts for as long as it is there; without any header nothing is known to be unused.
    pub fn unused(&self) -> BTreeMap<String, u64> {
        if self.headers.is_empty() {
            return BTreeMap::new();
        }
        let snapshots = self.headers.iter().filter_map(|(_, header)| match header {
            Header::Snapshot(snapshot) => Some(snapshot),
            Header::Tombstone(_) => None,
        });
        let used: BTreeSet<String> = snapshots
            .flat_map(|snapshot| snapshot.objects().map(|object| object.name).collect::<Vec<_>>())
            .collect();
        let newest = self.newest().map(|link| link.generation);
        let orphan = |name: &str| match ManifestPart::parse(name) {
            Some((generation, _)) => {
                let headless = !self.parts[&generation].contains(&ManifestPart::Header);
                // The newest reservation may still be somebody's; what tombstones list is cleared, not waited for.
                headless && Some(generation) < newest && !self.buried.contains_key(&generation)
            }
            None => name.parse::<SegmentName>().is_ok() && !used.contains(name),
        };
        let unused = self.objects.iter().filter(|(name, _)| orphan(name));
        unused.map(|(name, bytes)| (name.clone(), *bytes)).collect()
    }
}

async fn list(store: &dyn Store, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let objects = store.list(prefix).await?;
    Ok(objects.into_iter().map(|object| (object.name, object.bytes)).collect())
}
