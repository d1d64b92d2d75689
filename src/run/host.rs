use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::backup::{BackupStep, BackupSubject, PruneStep, PruneSubject, Rules, ServiceImage, Writer, normal};
use crate::config::{Backups, Config};
use crate::drill::{self, DrillStep};
use crate::emergency::EmergencyStep;
use crate::journal::{Plan, Request};
use crate::model::{Logins, OperationId, ServiceName, Timestamp};
use crate::ports::{Clock, Engine, Entropy, Given, Inspector, Programs, Router, Sources, Web};
use crate::release::{self, ReleaseStep};
use crate::stack::{Secrets, Stack};
use crate::state::{Catalogue, HostLock, ProjectFolder};

use super::backup::{BackupPerformer, BackupScope, Gatekeeper, Images, Stores, StoresToOpen, plan_backup};
use super::drill::{DrillPerformer, StoreRestorer};
use super::emergency::EmergencyPerformer;
use super::gates::Looker;
use super::keys;
use super::pruning::{self, PrunePerformer};
use super::release::{
    BeforeRelease, Reach, ReleasePerformer, ReleaseScope, astray, plan_release, releases, repoint, standing,
};
use super::snapshots::Trust;
use super::{
    Blame, Ledger, News, OperationError, Operator, Order, Petition, Progress, Receipt, Schedules, StepFailed, Update,
    UpdateKind, Watch,
};

/// A project on this host with the edges it is driven through.
#[derive(Clone)]
pub struct Host {
    pub stack: Stack,
    /// Values of the Compose project that nobody is told.
    pub secrets: Secrets,
    pub config: Config,
    /// Absolute; carried by every backup beside the Compose files.
    pub config_file: Option<PathBuf>,
    pub folder: ProjectFolder,
    /// Why none answers, where none does.
    pub engine: Result<Arc<dyn Engine>, OperationError>,
    /// What the engine's keyring finds before any file of this host.
    pub given: Given,
    /// `None` where nothing is released.
    pub router: Option<Arc<dyn Router>>,
    pub stores: Arc<StoresToOpen>,
    pub sources: Arc<dyn Sources>,
    pub inspector: Arc<dyn Inspector>,
    pub machine: Arc<dyn crate::ports::Host>,
    pub web: Arc<dyn Web>,
    pub programs: Arc<dyn Programs>,
    /// Our own program on this host.
    pub program: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// A backup driven here is part of a release, which has the project's lock.
    pub in_release: bool,
    /// What the records of the next release should know.
    pub notes: Arc<Mutex<Vec<String>>>,
}

impl Host {
    pub fn ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.folder,
            clock: self.clock.as_ref(),
            entropy: self.entropy.as_ref(),
        }
    }

    /// Something for the records of the next release.
    pub fn note(&self, told: Option<String>) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }

    pub fn backups(&self) -> Result<&Backups, OperationError> {
        self.config.backups.as_ref().ok_or_else(|| {
            OperationError::because(Blame::Input, "arkwright.yaml says nothing of backups")
                .hinted("add `backups:` with recipients, stores and sets; `arkwright init` writes an example")
        })
    }

    /// The lock, once nobody else has it.
    async fn turn(&self, lock: &Path, id: &OperationId, watch: &dyn Watch) -> Result<HostLock, OperationError> {
        let waiting = |text: &str| {
            watch.hear(News::Update(Update {
                operation: id.clone(),
                at: self.clock.now(),
                kind: UpdateKind::Waiting,
                text: text.to_owned(),
            }));
        };
        let taken = super::turn(lock, &format!("operation {id}"), waiting).await;
        let taken = taken.map_err(|e| OperationError::new(Blame::Host, e))?;
        if let Some(told) = taken.taken_over() {
            waiting(&told);
            self.note(Some(told));
        }
        Ok(taken)
    }

    pub(crate) fn engine(&self) -> Result<Arc<dyn Engine>, OperationError> {
        self.engine.clone()
    }

    fn kind_of(&self, id: &OperationId) -> Result<String, OperationError> {
        let operations = self.ledger().operations()?;
        let found = operations
            .into_iter()
            .find(|(known, _)| known == id)
            .map(|(_, kind)| kind);
        found.ok_or_else(|| {
            OperationError::because(Blame::NotFound, format!("there is no operation {id}"))
                .hinted("`arkwright history` lists them")
        })
    }

    fn backup_performer(&self) -> Result<BackupPerformer, OperationError> {
        let signing = self.folder.key(&self.backups()?.keys.signing);
        Ok(BackupPerformer {
            stores: Stores::clone(&self.stores),
            sources: self.sources.clone(),
            images: self.engine.as_ref().ok().map(images),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            signer: keys::signer(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            keys: keys::trusted(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            state: self.folder.clone(),
            gatekeeper: self.router.clone().map(|router| Gatekeeper {
                router,
                lock: (!self.in_release).then(|| self.folder.stack_lock()),
            }),
        })
    }

    /// Whose databases those are that only one process may have open.
    fn writers(&self) -> BTreeMap<PathBuf, Writer> {
        let released = self.config.services.iter();
        let writers = released.flat_map(|(service, config)| {
            let release = &config.release;
            let writer = Writer {
                service: service.clone(),
                drain: release.drain_limit,
                hold: release.hold_limit,
            };
            let databases = self.config.databases_of(release).into_iter();
            databases.map(move |database| (normal(&database), writer.clone()))
        });
        writers.collect()
    }

    fn begin_backup(&self, id: &OperationId, set: &str, by: &str) -> Result<(), OperationError> {
        let (subject, plan) = self.plan_backup(set)?;
        self.ledger().begin::<BackupStep>(id, subject, plan, by)
    }

    pub(super) fn plan_backup(&self, set: &str) -> Result<(BackupSubject, Plan<BackupStep>), OperationError> {
        let backups = self.backups()?;
        if backups.recipients.is_empty() {
            return Err(OperationError::because(
                Blame::Input,
                "`backups.recipients` is empty: nobody could read the backup",
            )
            .hinted("`arkwright key new` makes the keys and prints what to write there"));
        }
        // A missing key is better known before the backup begins than in its middle.
        self.backup_performer()?;
        let read = self
            .stack
            .files
            .iter()
            .chain(&self.stack.read_files)
            .chain(&self.config_file);
        let stack_files: BTreeSet<PathBuf> = read.filter(|file| file.is_file()).cloned().collect();
        // A released service runs what was released, whatever the Compose file names by now.
        let now = self.clock.now();
        let released = release::past(&standing(&self.folder, &[], now)?, now);
        let images = self.stack.services.values().filter_map(|service| {
            let serving = released.get(&service.name).map(|past| &past.serving);
            Some(ServiceImage {
                service: service.name.clone(),
                reference: serving.map_or_else(|| service.image.clone(), |image| Some(image.reference.clone()))?,
                id: serving.and_then(|image| image.id.clone()),
                built: service.build.is_some(),
            })
        });
        let scope = BackupScope {
            project: self.stack.name.clone(),
            folder: self.config.folder.clone(),
            state: self.folder.root().to_path_buf(),
            stack_files: stack_files.into_iter().collect(),
            images: images.collect(),
            writers: self.writers(),
        };
        plan_backup(backups, set, &scope, self.entropy.as_ref()).ok_or_else(|| {
            let sets: Vec<&str> = backups.sets.keys().map(String::as_str).collect();
            OperationError::because(Blame::Input, format!("there is no backup set `{set}`"))
                .hinted(format!("the sets are: {}", sets.join(", ")))
        })
    }

    async fn begin_prune(
        &self,
        id: &OperationId,
        store: &str,
        set: Option<&str>,
        by: &str,
    ) -> Result<(), OperationError> {
        let backups = self.backups()?;
        let rules = Rules::of(backups, set, self.config.timezone).map_err(|error| {
            let sets: Vec<&str> = backups.sets.keys().map(String::as_str).collect();
            OperationError::new(Blame::Input, error).hinted(format!("the sets are: {}", sets.join(", ")))
        })?;
        let performer = self.prune_performer(store)?;
        let head = Catalogue::open(&self.folder.catalogue(), store)
            .and_then(|catalogue| catalogue.head())
            .map_err(|e| OperationError::new(Blame::Damaged, e))?;
        let opened = performer.store.clone()?;
        let planned = pruning::plan(opened.as_ref(), &performer.keys, head, &self.stack.name, &rules).await;
        let subject = PruneSubject {
            project: self.stack.name.clone(),
            store: store.to_owned(),
            rules,
            wait: backups.prune.wait,
            remove: planned.map_err(OperationError::from)?.remove,
        };
        let plan = subject.plan();
        self.ledger().begin::<PruneStep>(id, subject, plan, by)
    }

    fn prune_performer(&self, store: &str) -> Result<PrunePerformer, OperationError> {
        let signing = self.folder.key(&self.backups()?.keys.signing);
        let opened = self.stores.get(store).ok_or_else(|| {
            OperationError::because(Blame::Input, format!("there is no store `{store}` in arkwright.yaml"))
        })?;
        Ok(PrunePerformer {
            store: opened.clone(),
            clock: self.clock.clone(),
            signer: keys::signer(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            keys: keys::trusted(&signing).map_err(|e| OperationError::new(Blame::Input, e))?,
            state: self.folder.clone(),
        })
    }

    fn begin_drill(&self, id: &OperationId, name: &str, by: &str) -> Result<(), OperationError> {
        let now = self.clock.now();
        let mut fill = |bytes: &mut [u8]| self.entropy.fill(bytes);
        let (subject, plan) = drill::plan(id, name, &self.config, &self.stack, now, &mut fill)
            .map_err(|e| OperationError::new(Blame::Input, e))?;
        // A missing key is better known before the drill begins than in its middle.
        self.drill_performer(&subject.set)?;
        self.ledger().begin::<DrillStep>(id, subject, plan, by)
    }

    /// Removes what drills that are over, or were given up, left on the engine; a drill does not wait for that.
    async fn sweep(&self) {
        let over = |id: &OperationId| {
            let told = self.receipt(id);
            told.is_ok_and(|receipt| !receipt.open())
        };
        let Ok(engine) = self.engine() else { return };
        match super::sweep(engine.as_ref(), self.clock.now(), &over).await {
            Ok(swept) if swept.is_empty() => {}
            Ok(swept) => tracing::warn!(?swept, "removed what drills had left behind"),
            Err(error) => tracing::warn!(%error, "what drills left behind is still there"),
        }
    }

    fn drill_performer(&self, set: &str) -> Result<DrillPerformer, OperationError> {
        let backups = self.backups()?;
        let key = |e| OperationError::new(Blame::Input, e);
        let signing = self.folder.key(&backups.keys.signing);
        let named = backups.sets.get(set).and_then(|config| config.stores.first());
        let found = match named {
            Some(name) => self.stores.get_key_value(name),
            None => self.stores.first_key_value(),
        };
        let (name, store) =
            found.ok_or_else(|| OperationError::because(Blame::Input, format!("the set `{set}` has no store")))?;
        // An older snapshot must not pass for the newest this host published.
        let newest = Catalogue::open(&self.folder.catalogue(), name)
            .and_then(|catalogue| catalogue.head())
            .map_err(|e| OperationError::new(Blame::Damaged, e))?;
        Ok(DrillPerformer {
            engine: self.engine()?,
            restorer: Arc::new(StoreRestorer {
                store: store.clone()?,
                trust: Trust {
                    keys: keys::trusted(&signing).map_err(key)?,
                    newest,
                },
                identities: keys::identities(&self.folder.key(&backups.keys.drill_identity)).map_err(key)?,
            }),
            inspector: self.inspector.clone(),
            host: self.machine.clone(),
            folder: self.folder.clone(),
            signer: keys::signer(&signing).map_err(key)?,
            program: self.program.clone(),
        })
    }

    pub(super) fn router(&self) -> Result<Arc<dyn Router>, OperationError> {
        self.router.clone().ok_or_else(|| {
            OperationError::because(Blame::Input, "arkwright.yaml releases no service")
                .hinted("add it under `services:` with its port and health path; `arkwright init` writes an example")
        })
    }

    /// Whether the router does not find well what it has addresses of.
    pub async fn astray(&self) -> Result<bool, OperationError> {
        match &self.router {
            Some(router) => astray(router.as_ref())
                .await
                .map_err(|error| OperationError::because(Blame::Host, error.to_string())),
            None => Ok(false),
        }
    }

    /// Gives the router the addresses its colours have now; the services that had others.
    pub async fn repoint(&self, reach: Reach) -> Result<Vec<ServiceName>, OperationError> {
        let Some(router) = &self.router else {
            return Ok(Vec::new());
        };
        let moved = repoint(self.engine()?.as_ref(), router.as_ref(), &self.stack.name, reach).await;
        moved.map_err(|error| OperationError::because(Blame::Host, error.to_string()))
    }

    /// What was released together with what this order takes back, and stays; changes nothing.
    pub async fn left_by(&self, order: &Order) -> Result<Option<String>, OperationError> {
        Ok(self.plan_release(order).await?.0.left_behind())
    }

    async fn begin_release(
        &self,
        id: &OperationId,
        order: &Order,
        by: &str,
        logins: &Logins,
    ) -> Result<(), OperationError> {
        let (mut subjects, plan) = self.plan_release(order).await?;
        let overriding = match order {
            Order::Deploy { overriding, .. } | Order::DeployTogether { overriding, .. } => overriding.as_deref(),
            _ => None,
        };
        subjects.permit = self.look_out(order, &subjects, &plan).await?.permit(overriding)?;
        let notes = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        subjects.permit.notes.extend(notes);
        for member in subjects.members_mut() {
            member.logins = logins.registries().cloned().collect();
        }
        self.ledger().begin::<ReleaseStep>(id, subjects, plan, by)
    }

    pub(super) async fn plan_release(
        &self,
        order: &Order,
    ) -> Result<(release::Subjects, Plan<ReleaseStep>), OperationError> {
        let (engine, router) = (self.engine()?, self.router()?);
        let now = self.clock.now();
        let past = match order {
            Order::Rollback { service, .. } | Order::Retire { service } => {
                standing(&self.folder, std::slice::from_ref(service), now)
            }
            Order::RollbackTogether { services, .. } => standing(&self.folder, services, now),
            // Where its image once came from may be told by any of them.
            _ => releases(&self.folder),
        }?;
        let folders = self.folder.host_folders();
        let scope = ReleaseScope {
            stack: &self.stack,
            config: &self.config,
            folders: &folders,
            engine: engine.as_ref(),
            router: router.as_ref(),
            releases: &past,
            now,
        };
        plan_release(&scope, order).await
    }

    pub(super) fn release_performer(&self, id: &OperationId) -> Result<ReleasePerformer, OperationError> {
        let subjects = self.ledger().subject::<ReleaseStep>(id)?;
        let logins = subjects
            .members()
            .iter()
            .flat_map(|member| member.logins.iter().cloned());
        let mut lost: BTreeSet<String> = logins.collect();
        lost.retain(|registry| self.given.get(registry).is_none());
        Ok(ReleasePerformer {
            lost,
            engine: self.engine()?,
            router: self.router()?,
            clock: self.clock.clone(),
            before: Arc::new(self.clone()),
            gauges: Arc::new(Looker::new(
                self.engine()?,
                self.router()?,
                self.web.clone(),
                self.programs.clone(),
                self.clock.clone(),
            )),
            web: self.web.clone(),
            watch: Default::default(),
            state: self.folder.clone(),
            secrets: self.secrets.clone(),
        })
    }
}

/// Relays what a backup says to whoever watches the release it comes before.
struct Relay(mpsc::UnboundedSender<String>);

impl Watch for Relay {
    fn hear(&self, news: News) {
        if let News::Update(update) = news
            && self.0.send(update.text).is_err()
        {
            tracing::debug!("the release has gone on without its backup");
        }
    }
}

/// Asks for the abort of a backup whose release does not wait for it any more.
struct Unwanted(mpsc::Sender<Petition>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        let petition = Petition {
            request: Request::Abort,
            by: "the release".into(),
            answer: oneshot::channel().0,
        };
        if self.0.try_send(petition).is_err() {
            tracing::debug!("the backup is over");
        }
    }
}

#[async_trait]
impl BeforeRelease for Host {
    async fn backup(&self, set: &str, progress: &dyn Progress) -> Result<String, StepFailed> {
        let id = self.ledger().new_id();
        self.begin_backup(&id, set, "a release")?;
        self.back_up(&id, progress).await
    }
}

impl Host {
    /// Takes a backup that was begun to its end, for something that comes after it; what it came to, for a person.
    pub(super) async fn back_up(&self, id: &OperationId, progress: &dyn Progress) -> Result<String, StepFailed> {
        let (ask, petitions) = mpsc::channel(1);
        let (tell, mut told) = mpsc::unbounded_channel();
        let host = Host {
            in_release: true,
            ..self.clone()
        };
        let operation = id.clone();
        // A task of its own, so that it comes to an end in its journal when the release is aborted.
        let task = tokio::spawn(async move { host.finish(&operation, &Relay(tell), petitions).await });
        let _unwanted = Unwanted(ask);
        while let Some(text) = told.recv().await {
            progress.say(&text);
        }
        let receipt = task.await??;
        match receipt.ok {
            true => Ok(format!("{} of {}, operation {id}", receipt.outcome, receipt.subject)),
            false => {
                let because = receipt.because.unwrap_or_else(|| receipt.outcome.clone());
                Err(StepFailed::because(format!(
                    "the backup of {} did not come about: {because}",
                    receipt.subject
                )))
            }
        }
    }
}

#[async_trait]
impl Operator for Host {
    async fn begin(&self, id: &OperationId, order: &Order, by: &str, logins: &Logins) -> Result<(), OperationError> {
        self.given.hold(logins);
        match order {
            Order::Backup { set } => self.begin_backup(id, set, by),
            Order::Prune { store, set } => self.begin_prune(id, store, set.as_deref(), by).await,
            Order::Drill { name } => self.begin_drill(id, name, by),
            Order::Emergency(emergency) => {
                let subject = self.plan_emergency(id, emergency).await?;
                let plan = subject.plan();
                self.ledger().begin::<EmergencyStep>(id, subject, plan, by)
            }
            _ => self.begin_release(id, order, by, logins).await,
        }
    }

    async fn finish(
        &self,
        id: &OperationId,
        watch: &dyn Watch,
        petitions: mpsc::Receiver<Petition>,
    ) -> Result<Receipt, OperationError> {
        match self.kind_of(id)?.as_str() {
            "backup" => {
                let _turn = self.turn(&self.folder.backup_lock(), id, watch).await?;
                self.ledger()
                    .finish::<BackupStep>(id, &self.backup_performer()?, watch, petitions)
                    .await
            }
            "prune" => {
                let _turn = self.turn(&self.folder.backup_lock(), id, watch).await?;
                let subject = self.ledger().subject::<PruneStep>(id)?;
                self.ledger()
                    .finish::<PruneStep>(id, &self.prune_performer(&subject.store)?, watch, petitions)
                    .await
            }
            "drill" => {
                let subject = self.ledger().subject::<DrillStep>(id)?;
                self.sweep().await;
                self.ledger()
                    .finish::<DrillStep>(id, &self.drill_performer(&subject.set)?, watch, petitions)
                    .await
            }
            "release" => {
                let _turn = self.turn(&self.folder.stack_lock(), id, watch).await?;
                // The host may have been started again since, and containers have other addresses.
                let repointed = match self.astray().await {
                    Ok(false) => Ok(Vec::new()),
                    _ => self.repoint(Reach::All).await,
                };
                if let Err(error) = repointed {
                    tracing::warn!("the router's addresses were not looked at: {error}");
                }
                let performer = self.release_performer(id)?;
                self.ledger()
                    .finish::<ReleaseStep>(id, &performer, watch, petitions)
                    .await
            }
            "emergency" => {
                let _turn = self.turn(&self.folder.stack_lock(), id, watch).await?;
                self.ledger()
                    .finish::<EmergencyStep>(id, &EmergencyPerformer::new(self), watch, petitions)
                    .await
            }
            other => Err(unknown_kind(id, other)),
        }
    }

    fn receipt(&self, id: &OperationId) -> Result<Receipt, OperationError> {
        receipt(&self.ledger(), id, &self.kind_of(id)?)
    }

    fn history(&self) -> Result<Vec<Receipt>, OperationError> {
        history(&self.ledger())
    }

    fn unfinished(&self) -> Result<Vec<(OperationId, &'static str)>, OperationError> {
        // Whoever asks here holds the lock under which operations are driven: what is over now stays over.
        let open = self.ledger().open(true)?.into_iter();
        Ok(open
            .map(|receipt| (receipt.operation, lane_of(&receipt.kind)))
            .collect())
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Order>, OperationError> {
        let past = standing(&self.folder, &[], now)?;
        Ok(release::due(&past, now)
            .into_iter()
            .map(|service| Order::Retire { service })
            .collect())
    }

    fn scheduled(&self) -> Schedules {
        Schedules::of(&self.config)
    }
}

/// What became of every operation in the journals, oldest first.
pub fn history(ledger: &Ledger<'_>) -> Result<Vec<Receipt>, OperationError> {
    ledger
        .operations()?
        .iter()
        .map(|(id, kind)| receipt(ledger, id, kind))
        .collect()
}

pub(super) fn receipt(ledger: &Ledger<'_>, id: &OperationId, kind: &str) -> Result<Receipt, OperationError> {
    match kind {
        "backup" => ledger.receipt::<BackupStep>(id),
        "prune" => ledger.receipt::<PruneStep>(id),
        "drill" => ledger.receipt::<DrillStep>(id),
        "release" => ledger.receipt::<ReleaseStep>(id),
        "emergency" => ledger.receipt::<EmergencyStep>(id),
        other => Err(unknown_kind(id, other)),
    }
}

/// An engine as backups see it.
fn images(engine: &Arc<dyn Engine>) -> Arc<dyn Images> {
    Arc::new(engine.clone())
}

fn lane_of(kind: &str) -> &'static str {
    match kind {
        "backup" | "prune" => "backup",
        "drill" => "drill",
        _ => "release",
    }
}

fn unknown_kind(id: &OperationId, kind: &str) -> OperationError {
    OperationError::because(
        Blame::Damaged,
        format!("the journal of {id} is of a kind this arkwright does not know: {kind}"),
    )
    .hinted("a newer arkwright wrote it; upgrade")
}
