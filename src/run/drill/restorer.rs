use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::backup::{EntryPath, Header, IMAGES, Identities, Link, Node};
use crate::drill::{Chosen, Restored};
use crate::ports::Store;
use crate::run::restore::{RestoreOptions, Selection, restore};
use crate::run::snapshots::{self, SnapshotError, Trust, Which};
use crate::run::{Progress, StepFailed};

use super::Restorer;

/// Restores out of a store with this host's drill key.
pub struct StoreRestorer {
    pub store: Arc<dyn Store>,
    pub trust: Trust,
    pub identities: Identities,
}

#[async_trait]
impl Restorer for StoreRestorer {
    async fn latest(&self, set: &str) -> Result<Chosen, StepFailed> {
        let which = Which::Latest { set: set.to_owned() };
        let snapshot = snapshots::find(self.store.as_ref(), &self.trust, &which).await?;
        let header = snapshots::header(self.store.as_ref(), &self.trust.keys, snapshot.generation).await?;
        let link = Link {
            generation: snapshot.generation,
            sha256: header.sha256,
        };
        let mut chosen = Chosen::of(self.store.describe(), link, &snapshot);
        if snapshot.images.iter().any(|image| image.digest.is_none()) {
            let listing = snapshots::listing(self.store.as_ref(), &snapshot, &self.identities).await;
            // What is wrong with one that cannot be read, restoring says.
            for entry in listing.iter().flat_map(|listing| &listing.entries) {
                if let (Some(id), Node::File(content)) = (image_of(&entry.path), &entry.node) {
                    *chosen.kept_images.entry(id).or_default() += content.size;
                }
            }
        }
        Ok(chosen)
    }

    async fn restore(&self, chosen: &Chosen, into: &Path, progress: &dyn Progress) -> Result<Restored, StepFailed> {
        let checked = snapshots::header(self.store.as_ref(), &self.trust.keys, chosen.generation).await?;
        let snapshot = match checked.header {
            Header::Snapshot(snapshot) if checked.sha256 == chosen.header.sha256 => snapshot,
            _ => {
                let object = crate::backup::ManifestPart::Header.name(chosen.generation);
                let why = "it is another one than when the drill began".into();
                return Err(SnapshotError::Damaged { object, why }.into());
            }
        };
        let listing = snapshots::listing(self.store.as_ref(), &snapshot, &self.identities).await?;
        let options = RestoreOptions {
            selection: Selection::Everything,
            target: into.to_path_buf(),
            overwrite: false,
            devices: false,
        };
        let which = Which::Generation(chosen.generation);
        let report = restore(&self.store, &self.trust, &self.identities, &which, &options, progress).await?;
        Ok(Restored {
            files: report.files,
            bytes: report.bytes,
            sources: listing.closing.sources,
            notes: report.notes,
        })
    }
}

/// The id of the image a path of a snapshot belongs to.
fn image_of(path: &EntryPath) -> Option<String> {
    let mut parts = path.as_str().split('/');
    let id = (parts.next() == Some(IMAGES)).then(|| parts.next()).flatten()?;
    Some(format!("sha256:{id}"))
}
