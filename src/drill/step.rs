use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backup::{EntryPath, ImageRecord, Link, Object, Snapshot, SourceRecord};
use crate::config::Objectives;
use crate::journal::Step;
use crate::model::{Digest, Generation, OperationId, ProjectName, ServiceName, Size, Span, Timestamp};

use super::{Assertion, CheckResult, Guest, NewestFound, Stage, Verdict};

/// What a drill does. Nothing before the closing steps has to be taken back one by one: `Teardown` removes it all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillStep {
    /// The set's newest snapshot, its signature checked.
    Choose,
    /// Whether this host can hold it beside production.
    Room,
    /// Fetches, verifies, decrypts and writes everything into the drill's folder.
    Restore,
    /// One check, by its place in the subject.
    Check(usize),
    /// Asks the restored data how new it is.
    Newest,
    /// Gets the images the manifest pinned.
    Images,
    /// Makes the sandbox and tries to get out of it.
    Seal,
    /// Starts a service and waits until it is ready.
    Boot(ServiceName),
    Evidence,
    /// Removes the sandbox and the restored data.
    Teardown,
}

/// A drill as it was planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillSubject {
    pub operation: OperationId,
    pub project: ProjectName,
    /// Its key in `drills`.
    pub name: String,
    pub set: String,
    /// The folder of arkwright.yaml, absolute: where paths in a snapshot begin.
    pub folder: PathBuf,
    pub objectives: Objectives,
    pub checks: Vec<Assertion>,
    pub newest: Vec<NewestSource>,
    /// In the order they are booted.
    pub guests: Vec<Guest>,
    pub boot_within: Span,
    /// When a reaper may remove what is left of it.
    pub deadline: Timestamp,
    /// Bytes of memory the guests may need together.
    pub memory: u64,
    /// What is known to be different from a recovery before it begins.
    pub deviations: Vec<String>,
}

/// A database and the query that finds its newest datum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewestSource {
    pub database: EntryPath,
    pub query: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum DrillOutput {
    #[default]
    Nothing,
    Chosen(Box<Chosen>),
    Room(Room),
    Restored(Box<Restored>),
    Checked(CheckResult),
    Newest {
        newest: Vec<NewestFound>,
    },
    Images {
        images: Vec<ImageUse>,
    },
    Booted(Booted),
    Evidence {
        path: PathBuf,
        sha256: Digest,
    },
    Cleared {
        objects: u64,
    },
}

/// The snapshot that is restored, as its signed header describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// For a person: `disk /srv/backups`.
    pub store: String,
    pub set: String,
    pub generation: Generation,
    pub taken: Timestamp,
    /// The header itself, by the hash of its bytes.
    pub header: Link,
    /// Everything the header refers to.
    pub objects: Vec<Object>,
    /// Of the files, as restored.
    pub bytes: u64,
    #[serde(default)]
    pub files: u64,
    /// Bytes of each image that is in the snapshot, by the image's id.
    #[serde(default)]
    pub kept_images: BTreeMap<String, u64>,
    /// Fingerprint of the key whose signature held.
    pub signer: String,
    /// What wrote it.
    pub tool: String,
    pub images: Vec<ImageRecord>,
}

impl Chosen {
    pub fn of(store: String, header: Link, snapshot: &Snapshot) -> Self {
        Chosen {
            store,
            set: snapshot.set.clone(),
            generation: snapshot.generation,
            taken: snapshot.taken,
            header,
            objects: snapshot.objects().collect(),
            bytes: snapshot.totals.bytes,
            files: snapshot.totals.files,
            kept_images: BTreeMap::new(),
            signer: snapshot.signer.clone(),
            tool: snapshot.tool.clone(),
            images: snapshot.images.clone(),
        }
    }
}

/// Bytes needed and bytes there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Room {
    pub disk_needed: u64,
    pub disk_free: u64,
    /// Below the engine's own folder, for images it does not have.
    #[serde(default)]
    pub engine_needed: u64,
    /// `None` where the engine's folder is not on this host.
    #[serde(default)]
    pub engine_free: Option<u64>,
    pub memory_needed: u64,
    pub memory_free: u64,
}

/// What a restore says of itself, out of the decrypted listing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    pub files: u64,
    pub bytes: u64,
    /// With rows and newest datum as they were when the backup was taken.
    pub sources: Vec<SourceRecord>,
    pub notes: Vec<String>,
}

/// Where the image of a service came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageUse {
    pub service: ServiceName,
    pub reference: String,
    /// The image's id, as the manifest pinned it; `None`: there is none to boot.
    pub id: Option<String>,
    /// `this host`, `the snapshot`, `a registry`, or why it is missing.
    pub from: String,
    /// It was not on this host before, and goes with the sandbox.
    pub brought: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Booted {
    pub result: CheckResult,
    pub deviations: Vec<String>,
}

impl Step for DrillStep {
    const KIND: &'static str = "drill";
    type Subject = DrillSubject;
    type Output = DrillOutput;

    fn undo(&self) -> Option<Self> {
        None
    }
}

impl DrillStep {
    /// The part of a recovery its time belongs to; none: a recovery would not do it.
    pub fn stage(&self) -> Option<Stage> {
        match self {
            DrillStep::Choose | DrillStep::Room => Some(Stage::Choose),
            DrillStep::Restore => Some(Stage::Restore),
            DrillStep::Images => Some(Stage::Images),
            DrillStep::Seal | DrillStep::Boot(_) => Some(Stage::Boot),
            DrillStep::Check(_) | DrillStep::Newest => Some(Stage::Checks),
            DrillStep::Evidence | DrillStep::Teardown => None,
        }
    }

    /// Whether its failure says nothing of the backup: this host could not hold the drill.
    pub fn is_about_the_host(&self) -> bool {
        matches!(self, DrillStep::Room | DrillStep::Images | DrillStep::Seal)
    }
}

impl fmt::Display for DrillStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillStep::Choose => f.write_str("choose the snapshot"),
            DrillStep::Room => f.write_str("look for room"),
            DrillStep::Restore => f.write_str("restore"),
            DrillStep::Check(at) => write!(f, "check {}", at + 1),
            DrillStep::Newest => f.write_str("find the newest datum"),
            DrillStep::Images => f.write_str("get the images"),
            DrillStep::Seal => f.write_str("seal the sandbox"),
            DrillStep::Boot(service) => write!(f, "boot {service}"),
            DrillStep::Evidence => f.write_str("write the evidence"),
            DrillStep::Teardown => f.write_str("remove the sandbox"),
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "disk: {} wanted, {} free; memory: {} wanted, {} free",
            Size(self.disk_needed),
            Size(self.disk_free),
            Size(self.memory_needed),
            Size(self.memory_free)
        )
    }
}

impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.verdict, &self.why) {
            (Verdict::Passed, _) => write!(f, "{}", self.actual),
            (verdict, Some(why)) => write!(f, "{}: {} ({why})", verdict.word(), self.actual),
            (verdict, None) => write!(f, "{}: {}", verdict.word(), self.actual),
        }
    }
}

impl fmt::Display for DrillOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillOutput::Nothing => f.write_str("done"),
            DrillOutput::Chosen(chosen) => write!(
                f,
                "{} {} of {}, {}",
                chosen.set,
                chosen.generation,
                chosen.taken.format("%Y-%m-%d %H:%M:%S"),
                Size(chosen.bytes)
            ),
            DrillOutput::Room(room) => room.fmt(f),
            DrillOutput::Restored(restored) => write!(f, "{} files, {}", restored.files, Size(restored.bytes)),
            DrillOutput::Checked(result) => write!(f, "{}: {result}", result.name),
            DrillOutput::Newest { newest } => {
                let one = |found: &NewestFound| match (&found.newest, &found.why) {
                    (Some(time), _) => format!("{} {}", found.database, time.format("%Y-%m-%d %H:%M:%S")),
                    (None, why) => format!("{} NOT RUN ({})", found.database, why.as_deref().unwrap_or("no time")),
                };
                f.write_str(&newest.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            DrillOutput::Images { images } => {
                let one = |image: &ImageUse| format!("{} from {}", image.service, image.from);
                f.write_str(&images.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            DrillOutput::Booted(booted) => booted.result.fmt(f),
            DrillOutput::Evidence { path, .. } => write!(f, "{}", path.display()),
            DrillOutput::Cleared { objects } => write!(f, "{objects} objects of the engine removed"),
        }
    }
}
