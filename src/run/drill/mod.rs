//! Performs a drill: the restored tree below the scratch folder, the sandbox on the engine, the evidence beside the others.

mod evidence;
mod images;
mod receipt;
mod restorer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::backup::{EntryPath, SQLITE, Signer};
use crate::drill::{
    self, Answer, Assertion, Booted, CheckResult, Chosen, DrillOutput, DrillStep, DrillSubject, Found, Guest, ImageUse,
    NewestFound, NewestSource, Restored, Room, Shelter, Site, Unread, Verdict, place,
};
use crate::journal::Saga;
use crate::model::{OperationId, ServiceName, Size, parse_instant};
use crate::ports::{Engine, Host, Inspector};
use crate::state::{ProjectFolder, make_folder};

use super::sandbox::{Sandbox, SandboxError, shelter};
use super::{Perform, Progress, StepFailed};

pub use evidence::{EvidenceError, EvidenceFile, verify_evidence};
pub use restorer::StoreRestorer;

/// Gets snapshots out of a store; nothing is believed before its signature and hashes were checked.
#[async_trait]
pub trait Restorer: Send + Sync {
    /// The newest snapshot of a set.
    async fn latest(&self, set: &str) -> Result<Chosen, StepFailed>;
    /// Writes all of it below `into`, an empty folder: data, `@stack` and `@images`. Damage anywhere is an error.
    async fn restore(&self, chosen: &Chosen, into: &Path, progress: &dyn Progress) -> Result<Restored, StepFailed>;
}

/// Beside the restored bytes: file system overhead, and what services write while they boot.
const SPARE_DISK: u64 = 256 << 20;
/// What the end of a file takes beyond its bytes, at most.
const BLOCK: u64 = 4 << 10;
/// A service without a health check may need a moment more before it listens.
const ASKED: u32 = 20;

/// Carries out the steps of drills.
pub struct DrillPerformer {
    pub engine: Arc<dyn Engine>,
    pub restorer: Arc<dyn Restorer>,
    pub inspector: Arc<dyn Inspector>,
    pub host: Arc<dyn Host>,
    pub folder: ProjectFolder,
    pub signer: Signer,
    /// Our own program on this host; linked statically, or it runs in few images.
    pub program: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum DrillError {
    #[error("the journal does not hold what this step needs: {0}")]
    Journal(&'static str),
    #[error("the folder {path} cannot be {what}")]
    Folder {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("this host's figures cannot be read")]
    Host(#[source] io::Error),
    #[error("there is no room for the drill: {}; free some, or drill on another host", .0)]
    NoRoom(String),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error("looking at the restored data was cut short")]
    Cut(#[source] tokio::task::JoinError),
}

#[async_trait]
impl Perform<DrillStep> for DrillPerformer {
    async fn perform(
        &self,
        step: &DrillStep,
        saga: &Saga<DrillStep>,
        progress: &dyn Progress,
    ) -> Result<DrillOutput, StepFailed> {
        let subject = saga.subject();
        Ok(match step {
            DrillStep::Choose => DrillOutput::Chosen(Box::new(self.restorer.latest(&subject.set).await?)),
            DrillStep::Room => DrillOutput::Room(self.room(subject, chosen(saga)?).await?),
            DrillStep::Restore => {
                DrillOutput::Restored(Box::new(self.restore(subject, chosen(saga)?, progress).await?))
            }
            DrillStep::Check(at) => {
                let assertion = subject.checks.get(*at).ok_or(DrillError::Journal("the check"))?;
                DrillOutput::Checked(self.check(assertion, saga).await?)
            }
            DrillStep::Newest => DrillOutput::Newest {
                newest: self.newest(subject).await?,
            },
            DrillStep::Images => DrillOutput::Images {
                images: self.images(subject, chosen(saga)?, progress).await?,
            },
            DrillStep::Seal => DrillOutput::Checked(self.seal(saga).await?),
            DrillStep::Boot(service) => DrillOutput::Booted(self.boot(service, saga).await?),
            DrillStep::Evidence => self.evidence(saga).await?,
            DrillStep::Teardown => DrillOutput::Cleared {
                objects: self.teardown(saga).await?,
            },
        })
    }
}

impl DrillPerformer {
    /// `scratch/drill-<operation>`
    fn root(&self, operation: &OperationId) -> PathBuf {
        self.folder.scratch().join(format!("drill-{operation}"))
    }

    fn tree(&self, subject: &DrillSubject) -> PathBuf {
        self.root(&subject.operation).join("tree")
    }

    async fn room(&self, subject: &DrillSubject, chosen: &Chosen) -> Result<Room, StepFailed> {
        let mut images = 0u64;
        for (id, bytes) in &chosen.kept_images {
            if !self.has(id).await? {
                images = images.saturating_add(*bytes);
            }
        }
        let engine_free = match self
            .engine
            .info()
            .root_dir
            .as_deref()
            .map(|dir| self.host.disk_free(dir))
        {
            None => None,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Some(free) => Some(free.map_err(DrillError::Host)?),
        };
        // What both take may come off one disk.
        let needed = [
            chosen.bytes / 10,
            chosen.files.saturating_mul(BLOCK),
            images,
            SPARE_DISK,
        ];
        let room = Room {
            disk_needed: needed.into_iter().fold(chosen.bytes, u64::saturating_add),
            disk_free: self.host.disk_free(&self.folder.scratch()).map_err(DrillError::Host)?,
            engine_needed: images.saturating_add(SPARE_DISK),
            engine_free,
            memory_needed: subject.memory,
            memory_free: self.host.memory_free().map_err(DrillError::Host)?,
        };
        let mut short = Vec::new();
        if room.disk_needed > room.disk_free {
            short.push(format!(
                "{} of disk needed below {}, {} free",
                Size(room.disk_needed),
                self.folder.scratch().display(),
                Size(room.disk_free)
            ));
        }
        if let Some(free) = room.engine_free
            && room.engine_needed > free
        {
            short.push(format!(
                "{} of disk needed in the engine's folder, {} free",
                Size(room.engine_needed),
                Size(free)
            ));
        }
        if room.memory_needed > room.memory_free {
            short.push(format!(
                "{} of memory needed, {} free",
                Size(room.memory_needed),
                Size(room.memory_free)
            ));
        }
        match short.is_empty() {
            true => Ok(room),
            false => Err(DrillError::NoRoom(short.join(", ")).into()),
        }
    }

    async fn restore(
        &self,
        subject: &DrillSubject,
        chosen: &Chosen,
        progress: &dyn Progress,
    ) -> Result<Restored, StepFailed> {
        let root = self.root(&subject.operation);
        remove_folder(&root).await?;
        let tree = self.tree(subject);
        for folder in [&root, &tree] {
            make_folder(folder, 0o700).map_err(|source| DrillError::Folder {
                path: folder.clone(),
                what: "made",
                source,
            })?;
        }
        self.restorer.restore(chosen, &tree, progress).await
    }

    async fn check(&self, assertion: &Assertion, saga: &Saga<DrillStep>) -> Result<CheckResult, DrillError> {
        if let Assertion::Http {
            service, port, path, ..
        } = assertion
        {
            return Ok(drill::answered(assertion, &self.ask(saga, service, *port, path).await));
        }
        let inspector = Arc::clone(&self.inspector);
        let tree = self.tree(saga.subject());
        let assertion = assertion.clone();
        let restored = restored(saga)?.clone();
        blocking(move || inspect(inspector.as_ref(), &tree, &assertion, &restored)).await
    }

    /// An error is why the question could not be put.
    async fn ask(
        &self,
        saga: &Saga<DrillStep>,
        service: &ServiceName,
        port: u16,
        path: &str,
    ) -> Result<Answer, String> {
        booted(saga, service)?;
        let shelter = self.shelter(saga.subject());
        let sandbox = self.sandbox(saga.subject(), &shelter);
        let mut asked = 0;
        loop {
            asked += 1;
            match sandbox.get(service.as_str(), port, path).await? {
                Answer::None { .. } if asked < ASKED => {
                    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
                }
                answer => return Ok(answer),
            }
        }
    }

    async fn newest(&self, subject: &DrillSubject) -> Result<Vec<NewestFound>, DrillError> {
        let inspector = Arc::clone(&self.inspector);
        let tree = self.tree(subject);
        let sources = subject.newest.clone();
        blocking(move || {
            sources
                .iter()
                .map(|source| newest(inspector.as_ref(), &tree, source))
                .collect()
        })
        .await
    }

    fn shelter(&self, subject: &DrillSubject) -> Shelter {
        let unnamed = Shelter::Network(String::new());
        let site = self.site(subject, &unnamed);
        shelter(self.engine.info().kind, |of| site.name(of))
    }

    fn site<'a>(&self, subject: &'a DrillSubject, shelter: &'a Shelter) -> Site<'a> {
        Site {
            operation: &subject.operation,
            project: &subject.project,
            deadline: subject.deadline,
            folder: &subject.folder,
            root: self.root(&subject.operation),
            shelter,
        }
    }

    fn sandbox<'a>(&'a self, subject: &'a DrillSubject, shelter: &'a Shelter) -> Sandbox<'a> {
        Sandbox {
            engine: self.engine.as_ref(),
            site: self.site(subject, shelter),
            program: &self.program,
        }
    }

    async fn seal(&self, saga: &Saga<DrillStep>) -> Result<CheckResult, DrillError> {
        let subject = saga.subject();
        let shelter = self.shelter(subject);
        let mut images: Vec<String> = Vec::new();
        for id in images_of(saga)?.iter().filter_map(|image| image.id.clone()) {
            if !images.contains(&id) {
                images.push(id);
            }
        }
        let sandbox = self.sandbox(subject, &shelter);
        Ok(sandbox.seal(&subject.guests, &images, self.host.as_ref()).await?)
    }

    /// A service that cannot be booted is a finding; only an engine that is gone is an error.
    async fn boot(&self, service: &ServiceName, saga: &Saga<DrillStep>) -> Result<Booted, DrillError> {
        let subject = saga.subject();
        let guest = guest(subject, service)?;
        let not_run = |why: String| Booted {
            result: CheckResult::not_run(format!("boot {service}"), "ready", why),
            deviations: guest.deviations.clone(),
        };
        let image = images_of(saga)?.iter().find(|image| image.service == *service);
        let id = match image {
            Some(ImageUse { id: Some(id), .. }) => id.clone(),
            Some(image) => return Ok(not_run(image.from.clone())),
            None => return Ok(not_run("no image of it was looked for".into())),
        };
        if let Err(why) = is_sealed(saga) {
            return Ok(not_run(why));
        }
        if let Some(why) = guest.after.iter().find_map(|other| booted(saga, other).err()) {
            return Ok(not_run(why));
        }
        let shelter = self.shelter(subject);
        let sandbox = self.sandbox(subject, &shelter);
        let tree = self.tree(subject);
        let find = |entry: &EntryPath| -> Found { self.inspector.find(&tree, entry) };
        let placed = match place(guest, &sandbox.site, &id, &find) {
            Ok(placed) => placed,
            Err(barred) => return Ok(not_run(barred.to_string())),
        };
        Ok(Booted {
            result: sandbox.boot(guest, &placed, subject.boot_within).await?,
            deviations: placed.deviations,
        })
    }

    /// Evidence that cannot be written must not keep the sandbox: it is removed before the next attempt.
    async fn evidence(&self, saga: &Saga<DrillStep>) -> Result<DrillOutput, DrillError> {
        match evidence::write(&self.folder, &self.signer, self.engine.info(), saga) {
            Ok(written) => Ok(DrillOutput::Evidence {
                path: written.path,
                sha256: written.sha256,
            }),
            Err(error) => {
                self.teardown(saga).await?;
                Err(error.into())
            }
        }
    }

    async fn teardown(&self, saga: &Saga<DrillStep>) -> Result<u64, DrillError> {
        let subject = saga.subject();
        let shelter = self.shelter(subject);
        let cleared = self.sandbox(subject, &shelter).clear().await;
        // The data goes even where the engine does not answer.
        remove_folder(&self.root(&subject.operation)).await?;
        let objects = cleared?;
        // A drill that ended early brought no image it knows of.
        if let Ok(images) = images_of(saga) {
            self.return_images(images).await.map_err(SandboxError::from)?;
        }
        Ok(objects)
    }
}

fn inspect(inspector: &dyn Inspector, tree: &Path, assertion: &Assertion, restored: &Restored) -> CheckResult {
    match assertion {
        Assertion::Integrity { database } => drill::integrity(assertion, &inspector.integrity(tree, database)),
        Assertion::Rows { database, tables } => {
            let recorded = restored.sources.iter().find(|source| source.path == *database);
            let recorded = recorded
                .filter(|source| source.kind == SQLITE)
                .map(|source| &source.rows);
            let tables: Vec<String> = match (tables.is_empty(), recorded) {
                (true, Some(recorded)) => recorded.keys().cloned().collect(),
                _ => tables.clone(),
            };
            drill::rows(assertion, recorded, &inspector.rows(tree, database, &tables))
        }
        Assertion::FilesExist { database, query, under } => {
            drill::files_exist(assertion, &inspector.files(tree, database, query, under))
        }
        Assertion::Http { .. } => assertion.not_run("it is asked of a running service"),
    }
}

fn newest(inspector: &dyn Inspector, tree: &Path, source: &NewestSource) -> NewestFound {
    let read = match inspector.newest(tree, &source.database, &source.query) {
        Ok(Some(text)) => parse_instant(&text).ok_or_else(|| format!("`{text}` is no time")),
        Ok(None) => Err("it returned nothing".into()),
        Err(Unread::Missing) => Err("the snapshot does not have it".into()),
        Err(Unread::Damaged(why) | Unread::Hindered(why)) => Err(why),
    };
    NewestFound {
        database: source.database.clone(),
        newest: read.as_ref().ok().copied(),
        why: read.err(),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DrillError> {
    tokio::task::spawn_blocking(work).await.map_err(DrillError::Cut)
}

async fn remove_folder(path: &Path) -> Result<(), DrillError> {
    let owned = path.to_path_buf();
    match blocking(move || std::fs::remove_dir_all(owned)).await? {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DrillError::Folder {
            path: path.to_path_buf(),
            what: "removed",
            source,
        }),
        _ => Ok(()),
    }
}

fn chosen(saga: &Saga<DrillStep>) -> Result<&Chosen, DrillError> {
    let mut outputs = saga.finished().map(|(_, output, _)| output);
    outputs
        .find_map(|output| match output {
            DrillOutput::Chosen(chosen) => Some(chosen.as_ref()),
            _ => None,
        })
        .ok_or(DrillError::Journal("the snapshot"))
}

fn restored(saga: &Saga<DrillStep>) -> Result<&Restored, DrillError> {
    let mut outputs = saga.finished().map(|(_, output, _)| output);
    outputs
        .find_map(|output| match output {
            DrillOutput::Restored(restored) => Some(restored.as_ref()),
            _ => None,
        })
        .ok_or(DrillError::Journal("the restore"))
}

fn images_of(saga: &Saga<DrillStep>) -> Result<&[ImageUse], DrillError> {
    let mut outputs = saga.finished().map(|(_, output, _)| output);
    outputs
        .find_map(|output| match output {
            DrillOutput::Images { images } => Some(images.as_slice()),
            _ => None,
        })
        .ok_or(DrillError::Journal("the images"))
}

fn guest<'a>(subject: &'a DrillSubject, service: &ServiceName) -> Result<&'a Guest, DrillError> {
    let found = subject.guests.iter().find(|guest| guest.service == *service);
    found.ok_or(DrillError::Journal("the service"))
}

/// Whether the service came up; an error is why nothing that needs it can be tried.
fn booted(saga: &Saga<DrillStep>, service: &ServiceName) -> Result<(), String> {
    let wanted = DrillStep::Boot(service.clone());
    match saga.finished().find(|(step, _, _)| **step == wanted) {
        Some((_, DrillOutput::Booted(booted), _)) if booted.result.verdict == Verdict::Passed => Ok(()),
        _ => Err(format!("`{service}` did not come up")),
    }
}

fn is_sealed(saga: &Saga<DrillStep>) -> Result<(), String> {
    match saga.finished().find(|(step, _, _)| **step == DrillStep::Seal) {
        Some((_, DrillOutput::Checked(result), _)) if result.verdict == Verdict::Passed => Ok(()),
        Some((_, DrillOutput::Checked(result), _)) => Err(format!(
            "the sandbox is not shown to be sealed: {}",
            result.why.as_deref().unwrap_or("no reason")
        )),
        _ => Err("the sandbox is not sealed".into()),
    }
}
