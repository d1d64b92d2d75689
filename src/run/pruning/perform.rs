use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;

use crate::backup::{
    Header, Link, MANIFEST_NAMESPACE, ManifestPart, PruneOutput, PruneStep, PruneSubject, Removed, Signer, Swept,
    Tombstone, TrustedKeys,
};
use crate::journal::{Outcome, Saga};
use crate::model::{Digest, Generation, Size};
use crate::ports::{ByteStream, Clock, Put, Store, StoreError};
use crate::run::{Line, OperationError, Perform, Progress, Receipted, StepFailed};
use crate::state::{Catalogue, Marks, ProjectFolder};

use super::holdings::Holdings;
use super::{PruneError, plan};

/// Performs the steps of prunes; whoever drives it holds the backup lock.
pub struct PrunePerformer {
    pub store: Result<Arc<dyn Store>, OperationError>,
    pub clock: Arc<dyn Clock>,
    pub signer: Signer,
    /// Keys whose headers are believed: the signing key's own, and older ones.
    pub keys: TrustedKeys,
    pub state: ProjectFolder,
}

#[async_trait]
impl Perform<PruneStep> for PrunePerformer {
    async fn perform(
        &self,
        step: &PruneStep,
        saga: &Saga<PruneStep>,
        progress: &dyn Progress,
    ) -> Result<PruneOutput, StepFailed> {
        let subject = saga.subject();
        let done = match step {
            PruneStep::Bury => self.bury(subject).await,
            PruneStep::Clear => self.clear(subject, progress).await,
            PruneStep::Sweep => self.sweep(subject, progress).await,
        };
        Ok(done?)
    }
}

impl PrunePerformer {
    fn store(&self) -> Result<&dyn Store, PruneError> {
        match &self.store {
            Ok(store) => Ok(store.as_ref()),
            Err(error) => Err(error.clone().into()),
        }
    }

    async fn holdings(&self, subject: &PruneSubject) -> Result<Holdings, PruneError> {
        let head = self.catalogue(subject)?.head()?;
        Holdings::take(self.store()?, &self.keys, head, &subject.project).await
    }

    fn catalogue(&self, subject: &PruneSubject) -> Result<Catalogue, PruneError> {
        Ok(Catalogue::open(&self.state.catalogue(), &subject.store)?)
    }

    /// Done again after a crash it finds its tombstone.
    async fn bury(&self, subject: &PruneSubject) -> Result<PruneOutput, PruneError> {
        let holdings = self.holdings(subject).await?;
        // What is referred to now, and will not be, waits from then on, whenever it was marked before.
        let unused = holdings.unused();
        let mut file = Marks::read(&self.state.marks())?;
        let mut marks = file.of(&subject.store);
        marks.retain(|name, _| unused.contains_key(name));
        file.put(&subject.store, marks)?;
        let lists = |header: &Header| match header {
            Header::Tombstone(tombstone) => subject.remove.iter().all(|removed| tombstone.removed.contains(removed)),
            Header::Snapshot(_) => false,
        };
        let ours = holdings
            .headers
            .iter()
            .map(|(_, header)| header)
            .find(|header| lists(header));
        let (generation, newest) = match (ours, holdings.newest()) {
            (Some(ours), Some(newest)) => (ours.generation(), newest),
            _ => {
                let put = self.put(subject, &holdings).await?;
                (put.generation, put)
            }
        };
        // Remembered before anything is removed: from here on the tombstone is missed where it is not there.
        self.catalogue(subject)?.set_head(&newest)?;
        let snapshots = subject.remove.iter().filter(|removed| {
            let found = holdings
                .headers
                .iter()
                .find(|(_, header)| header.generation() == removed.generation);
            matches!(found, Some((_, Header::Snapshot(_))))
        });
        Ok(PruneOutput::Buried {
            generation,
            snapshots: snapshots.count() as u64,
        })
    }

    async fn put(&self, subject: &PruneSubject, holdings: &Holdings) -> Result<Link, PruneError> {
        let store = self.store()?;
        let afresh: BTreeSet<_> = plan::of(holdings, &subject.rules)
            .remove
            .iter()
            .map(|r| (r.generation, r.sha256))
            .collect();
        let stays = |removed: &&Removed| !afresh.contains(&(removed.generation, removed.sha256));
        if let Some(removed) = subject.remove.iter().find(stays) {
            return Err(PruneError::Changed {
                store: store.describe(),
                generation: removed.generation.0,
            });
        }
        let last = holdings.parts.last_key_value().map_or(Generation(0), |(last, _)| *last);
        let generation = last.next().ok_or_else(|| PruneError::Exhausted {
            store: store.describe(),
            object: ManifestPart::Header.name(last),
        })?;
        let tombstone = Header::Tombstone(Tombstone {
            project: subject.project.clone(),
            generation,
            written: self.clock.now(),
            previous: holdings.newest(),
            tool: format!("arkwright {}", env!("CARGO_PKG_VERSION")),
            removed: subject.remove.clone(),
            signer: self.signer.fingerprint(),
        });
        let bytes = tombstone.encode().map_err(PruneError::Tombstone)?;
        let signature = self
            .signer
            .sign(MANIFEST_NAMESPACE, &bytes)
            .map_err(PruneError::Signing)?;
        let sha256 = Digest::of(&bytes);
        let name = ManifestPart::Signature.name(generation);
        store.put(&name, once(signature.into_bytes()), Put::Replace).await?;
        let name = ManifestPart::Header.name(generation);
        match store.put(&name, once(bytes), Put::Create).await {
            Err(StoreError::Exists { .. }) => Err(PruneError::Overtaken {
                store: store.describe(),
                generation: generation.0,
            }),
            other => Ok(other.map(|_bytes| Link { generation, sha256 })?),
        }
    }

    /// Headers first: without one a snapshot does not exist, whatever else is left of it.
    async fn clear(&self, subject: &PruneSubject, progress: &dyn Progress) -> Result<PruneOutput, PruneError> {
        let store = self.store()?;
        let holdings = self.holdings(subject).await?;
        // The header that is remembered may be among what goes, where a tombstone was put and nobody heard of it.
        if let Some(newest) = holdings.newest() {
            self.catalogue(subject)?.set_head(&newest)?;
        }
        let leftovers = holdings.leftovers();
        let (mut objects, mut freed) = (0, 0);
        for (name, bytes) in &leftovers {
            store.delete(name).await?;
            objects += 1;
            freed += bytes;
            if objects % 64 == 0 {
                progress.say(&format!("{objects} of {} objects, {}", leftovers.len(), Size(freed)));
            }
        }
        Ok(PruneOutput::Cleared { objects, bytes: freed })
    }

    async fn sweep(&self, subject: &PruneSubject, progress: &dyn Progress) -> Result<PruneOutput, PruneError> {
        let store = self.store()?;
        let holdings = self.holdings(subject).await?;
        let unused = holdings.unused();
        let now = self.clock.now();
        let mut file = Marks::read(&self.state.marks())?;
        let mut marks = file.of(&subject.store);
        marks.retain(|name, _| unused.contains_key(name));
        for name in unused.keys() {
            let since = marks.entry(name.clone()).or_insert(now);
            // The clock was set back: the wait begins again.
            *since = (*since).min(now);
        }
        file.put(&subject.store, marks.clone())?;
        let wait = subject.wait.chrono();
        let due: Vec<String> = marks
            .iter()
            .filter(|(_, since)| now - **since >= wait)
            .map(|(name, _)| name.clone())
            .collect();
        let mut swept = Swept::default();
        let catalogue = self.catalogue(subject)?;
        for name in &due {
            // What is about to go is built upon no more.
            if let Ok(segment) = name.parse() {
                catalogue.forget_segment(&segment)?;
            }
            store.delete(name).await?;
            marks.remove(name);
            swept.deleted += 1;
            swept.deleted_bytes += unused[name];
            if swept.deleted.is_multiple_of(64) {
                let freed = Size(swept.deleted_bytes);
                progress.say(&format!("{} of {} unused objects, {freed}", swept.deleted, due.len()));
            }
        }
        swept.waiting = marks.len() as u64;
        swept.waiting_bytes = marks.keys().map(|name| unused[name]).sum();
        swept.due = marks.values().min().map(|since| *since + wait);
        file.put(&subject.store, marks)?;
        Ok(PruneOutput::Swept(swept))
    }
}

fn once(bytes: Vec<u8>) -> ByteStream {
    Box::pin(stream::iter([Ok(Bytes::from(bytes))]))
}

impl Receipted for PruneStep {
    fn subject(saga: &Saga<Self>) -> String {
        saga.subject().store.clone()
    }

    fn outcome(saga: &Saga<Self>, end: &Outcome) -> (String, bool) {
        let buried = saga
            .finished()
            .any(|(_, output, _)| matches!(output, PruneOutput::Buried { .. }));
        match end {
            Outcome::Succeeded => ("pruned".into(), true),
            _ if buried => ("partly_pruned".into(), false),
            Outcome::Unwound { .. } => ("not_pruned".into(), false),
            Outcome::Aborted { .. } => ("aborted".into(), false),
            Outcome::GivenUp { .. } => ("given_up".into(), false),
        }
    }

    fn lines(saga: &Saga<Self>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (_, output, _) in saga.finished() {
            match output {
                PruneOutput::Nothing => {}
                PruneOutput::Buried { generation, snapshots } => {
                    lines.push(Line::new("snapshots removed", snapshots.to_string()));
                    lines.push(Line::new("tombstone", generation.0.to_string()));
                }
                PruneOutput::Cleared { bytes, .. } => {
                    lines.push(Line::new("manifests freed", Size(*bytes).to_string()))
                }
                PruneOutput::Swept(swept) => {
                    lines.push(Line::new("segments freed", Size(swept.deleted_bytes).to_string()));
                    let waiting = Size(swept.waiting_bytes);
                    if let Some(due) = swept.due {
                        let due = due.format("%Y-%m-%d %H:%M UTC");
                        lines.push(Line::new(
                            "unused, waiting",
                            format!("{waiting}, the first until {due}"),
                        ));
                    }
                }
            }
        }
        lines
    }

    fn detail(saga: &Saga<Self>) -> serde_json::Value {
        let subject = saga.subject();
        let mut detail = json!({ "store": subject.store, "set": subject.rules.only });
        for (_, output, _) in saga.finished() {
            match output {
                PruneOutput::Nothing => {}
                PruneOutput::Buried { generation, snapshots } => {
                    detail["tombstone"] = json!(generation);
                    detail["removed"] = json!(snapshots);
                }
                PruneOutput::Cleared { objects, bytes } => {
                    detail["manifests"] = json!({ "objects": objects, "bytes": bytes });
                }
                PruneOutput::Swept(swept) => detail["segments"] = json!(swept),
            }
        }
        detail
    }
}
