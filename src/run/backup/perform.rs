use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use serde_json::json;

use crate::backup::{
    BackupOutput, BackupStep, BackupSubject, ManifestPart, ServiceImage, Signer, TrustedKeys, Writer, normal,
};
use crate::config::Backups;
use crate::journal::{Outcome, Plan, Saga};
use crate::model::{ProjectName, Size};
use crate::ports::{Clock, Entropy, Sources, Store};
use crate::run::blocking::blocking;
use crate::run::{Line, OperationError, Perform, Progress, Receipted, StepFailed};
use crate::state::{Catalogue, ProjectFolder};

use super::BackupError;
use super::images::{Export, Images, survey};
use super::publish::{Publish, list};
use super::read::{Read, Staging};
use super::stillness::Gatekeeper;

/// Notes beyond this many are in the listing only.
const TOLD: usize = 50;

/// What a backup is of, beside its set's configuration.
#[derive(Clone, Debug)]
pub struct BackupScope {
    pub project: ProjectName,
    /// The folder of arkwright.yaml, absolute.
    pub folder: PathBuf,
    /// The project's state folder.
    pub state: PathBuf,
    /// Compose files, arkwright.yaml, env files; absolute, and there.
    pub stack_files: Vec<PathBuf>,
    pub images: Vec<ServiceImage>,
    /// As in [`BackupSubject`].
    pub writers: BTreeMap<PathBuf, Writer>,
}

/// Decides everything about a backup of a set; `None` when there is no such set.
pub fn plan_backup(
    backups: &Backups,
    set: &str,
    scope: &BackupScope,
    entropy: &dyn Entropy,
) -> Option<(BackupSubject, Plan<BackupStep>)> {
    let floor = backups.sets.get(set)?.floor;
    let sources = backups.sources_of(set).ok()?.into_iter().cloned().collect();
    let stores_at = backups.stores.values().filter_map(|store| store.path.as_ref());
    let skip = stores_at
        .chain([&scope.state])
        .map(|path| normal(&scope.folder.join(path)));
    let skip = skip.collect();
    let mut chance = [0; 8];
    entropy.fill(&mut chance);
    let subject = BackupSubject {
        project: scope.project.clone(),
        set: set.to_owned(),
        stores: backups.stores_of(set).into_iter().map(str::to_owned).collect(),
        scratch: format!("backup-{}", hex::encode(chance)),
        folder: scope.folder.clone(),
        sources,
        stack_files: scope.stack_files.clone(),
        images: scope.images.clone(),
        recipients: backups.recipients.clone(),
        skip,
        writers: scope.writers.clone(),
        floor: Some(floor),
    };
    let plan = subject.plan();
    Some((subject, plan))
}

/// By their names in arkwright.yaml; one that cannot be opened is the error of the steps that use it.
pub type Stores = BTreeMap<String, Result<Arc<dyn Store>, OperationError>>;
/// The same, opened when they are first needed.
pub type StoresToOpen = LazyLock<Stores, Box<dyn FnOnce() -> Stores + Send>>;

/// Performs the steps of backups.
pub struct BackupPerformer {
    pub stores: Stores,
    pub sources: Arc<dyn Sources>,
    /// For the images of the services; without one they are only named.
    pub images: Option<Arc<dyn Images>>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub signer: Signer,
    /// Keys whose headers may be built upon: the signing key's own, and older ones.
    pub keys: TrustedKeys,
    pub state: ProjectFolder,
    /// `None` where nothing is behind a router.
    pub gatekeeper: Option<Gatekeeper>,
}

#[async_trait]
impl Perform<BackupStep> for BackupPerformer {
    async fn perform(
        &self,
        step: &BackupStep,
        saga: &Saga<BackupStep>,
        progress: &dyn Progress,
    ) -> Result<BackupOutput, StepFailed> {
        let subject = saga.subject();
        let done = match step {
            BackupStep::Read { store } => self.read(subject, store, progress).await,
            BackupStep::Publish { store } => self.publish(subject, store).await,
            BackupStep::Discard => self.discard(subject),
        };
        Ok(done?)
    }
}

impl BackupPerformer {
    fn store(&self, name: &str) -> Result<&Arc<dyn Store>, BackupError> {
        let opened = self.stores.get(name);
        let opened = opened.ok_or_else(|| BackupError::NoStore(name.to_owned()))?;
        opened.as_ref().map_err(|error| error.clone().into())
    }

    fn scratch(&self, subject: &BackupSubject) -> PathBuf {
        self.state.scratch().join(&subject.scratch)
    }

    async fn read(
        &self,
        subject: &BackupSubject,
        store_name: &str,
        progress: &dyn Progress,
    ) -> Result<BackupOutput, BackupError> {
        let store = self.store(store_name)?;
        self.not_lost(store.as_ref(), store_name).await?;
        let listed = list(store.as_ref(), "seg/").await?;
        let (images, wanted, notes) = survey(self.images.as_deref(), subject).await?;
        let export = |id| self.images.clone().map(|images| Export { id, images });
        let exports = wanted.into_iter().filter_map(export).collect();
        let read = Read {
            subject: subject.clone(),
            store: store.clone(),
            store_name: store_name.to_owned(),
            sources: self.sources.clone(),
            entropy: self.entropy.clone(),
            catalogue: self.state.catalogue(),
            scratch: self.scratch(subject),
            now: self.clock.now(),
            listed,
            images,
            exports,
            notes,
            gatekeeper: self.gatekeeper.clone(),
        };
        let draft = blocking(progress, move |ticker, handle| read.run(ticker, handle)).await?;
        let mut notes = draft.notes;
        if notes.len() > TOLD {
            let more = notes.len() - TOLD;
            notes.truncate(TOLD);
            notes.push(format!("and {more} more in the listing"));
        }
        Ok(BackupOutput::Read {
            totals: draft.totals,
            notes,
        })
    }

    /// An empty folder where a disk should be mounted is noticed before anything is written there.
    async fn not_lost(&self, store: &dyn Store, store_name: &str) -> Result<(), BackupError> {
        let Some(head) = Catalogue::open(&self.state.catalogue(), store_name)?.head()? else {
            return Ok(());
        };
        let object = ManifestPart::Header.name(head.generation);
        match list(store, &object).await?.contains_key(&object) {
            true => Ok(()),
            false => Err(BackupError::Lost {
                store: store.describe(),
                object,
            }),
        }
    }

    async fn publish(&self, subject: &BackupSubject, store_name: &str) -> Result<BackupOutput, BackupError> {
        let store = self.store(store_name)?;
        let catalogue = self.state.catalogue();
        let head = Catalogue::open(&catalogue, store_name)?.head()?;
        let staging = Staging::new(&self.scratch(subject), store_name);
        let publish = Publish {
            subject,
            store,
            signer: &self.signer,
            keys: &self.keys,
            head,
            finished: self.clock.now(),
        };
        let published = publish.run(&staging).await?;
        let catalogue = Catalogue::open(&catalogue, store_name)?;
        catalogue.set_head(&published)?;
        catalogue.set_last(&subject.set, &staging.read()?.sources)?;
        Ok(BackupOutput::Published {
            store: store_name.to_owned(),
            generation: published.generation,
            sha256: published.sha256,
        })
    }

    fn discard(&self, subject: &BackupSubject) -> Result<BackupOutput, BackupError> {
        let scratch = self.scratch(subject);
        match std::fs::remove_dir_all(&scratch) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(BackupError::scratch(&scratch)(e)),
            _ => Ok(BackupOutput::Nothing),
        }
    }
}

impl Receipted for BackupStep {
    fn subject(saga: &Saga<Self>) -> String {
        saga.subject().set.clone()
    }

    fn outcome(saga: &Saga<Self>, end: &Outcome) -> (String, bool) {
        let published = saga
            .finished()
            .filter(|(_, output, _)| matches!(output, BackupOutput::Published { .. }))
            .count();
        match end {
            Outcome::Succeeded => ("published".into(), true),
            _ if published > 0 => ("partly_published".into(), false),
            Outcome::Unwound { .. } => ("not_published".into(), false),
            Outcome::Aborted { .. } => ("aborted".into(), false),
            Outcome::GivenUp { .. } => ("given_up".into(), false),
        }
    }

    fn lines(saga: &Saga<Self>) -> Vec<Line> {
        let mut lines = Vec::new();
        for (step, output, took) in saga.finished() {
            match output {
                BackupOutput::Nothing => {}
                BackupOutput::Read { totals, notes } => {
                    lines.push(Line::new("files", totals.files.to_string()));
                    lines.push(Line::new("size", Size(totals.bytes).to_string()));
                    lines.push(Line::new("new in the store", Size(totals.added).to_string()));
                    lines.push(Line::new(step.to_string(), took.human()));
                    lines.extend(notes.iter().map(|note| Line::new("note", note)));
                }
                BackupOutput::Published { store, generation, .. } => {
                    lines.push(Line::new(format!("snapshot in {store}"), generation.0.to_string()));
                }
            }
        }
        lines
    }

    fn detail(saga: &Saga<Self>) -> serde_json::Value {
        let mut stores = serde_json::Map::new();
        let mut read = None;
        for (_, output, took) in saga.finished() {
            match output {
                BackupOutput::Nothing => {}
                BackupOutput::Read { totals, notes } => read = Some((totals, notes, took)),
                BackupOutput::Published {
                    store,
                    generation,
                    sha256,
                } => {
                    let figures = read.take().map(|(totals, notes, took)| {
                        json!({ "totals": totals, "notes": notes, "seconds": took.std().as_secs_f64() })
                    });
                    stores.insert(
                        store.clone(),
                        json!({ "generation": generation, "header_sha256": sha256.hex(), "read": figures }),
                    );
                }
            }
        }
        json!({ "set": saga.subject().set, "stores": stores })
    }
}
