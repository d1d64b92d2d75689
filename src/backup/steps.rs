use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Source;
use crate::journal::{Plan, Step};
use crate::model::{Digest, Generation, Percent, ProjectName, ServiceName, Size, Span};

use super::Totals;

/// What a backup does, store by store. Until `Publish` has finished there is no snapshot in that store; segments without
/// one harm nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupStep {
    /// Reads every source, stores the segments, and stages the listing in the scratch folder.
    Read { store: String },
    /// Puts listing, signature and, last, the header.
    Publish { store: String },
    /// Empties the scratch folder.
    Discard,
}

/// One set, with everything its backup depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupSubject {
    pub project: ProjectName,
    pub set: String,
    /// Keys of `backups.stores`, in the order they are filled.
    pub stores: Vec<String>,
    /// The name of the scratch folder, random.
    pub scratch: String,
    /// Absolute; the folder entries' paths are relative to.
    pub folder: PathBuf,
    /// Databases first.
    pub sources: Vec<Source>,
    /// Compose files, arkwright.yaml, env files; absolute.
    pub stack_files: Vec<PathBuf>,
    pub images: Vec<ServiceImage>,
    /// age public keys.
    pub recipients: Vec<String>,
    /// Folders that are never read: stores and state; absolute.
    pub skip: Vec<PathBuf>,
    /// Of databases that only one process may have open, by their absolute paths: whose they are.
    #[serde(default)]
    pub writers: BTreeMap<PathBuf, Writer>,
    /// Of what each source held the last time; see [`super::shortfalls`].
    #[serde(default)]
    pub floor: Option<Percent>,
}

/// A service behind the router that writes to a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Writer {
    pub service: ServiceName,
    /// The longest its running requests are waited for.
    pub drain: Span,
    /// The longest its new requests may wait.
    pub hold: Span,
}

/// What a service runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceImage {
    pub service: ServiceName,
    pub reference: String,
    /// `sha256:…`, where a release has fixed it: the name may be another image's by now.
    #[serde(default)]
    pub id: Option<String>,
    /// Made here from a `build:`, so that no registry has it whatever the engine says.
    pub built: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum BackupOutput {
    #[default]
    Nothing,
    Read {
        totals: Totals,
        notes: Vec<String>,
    },
    Published {
        store: String,
        generation: Generation,
        /// Of the header's bytes.
        sha256: Digest,
    },
}

impl BackupSubject {
    /// The same shape for every backup. What failed before the last store is published leaves nothing to take back.
    pub fn plan(&self) -> Plan<BackupStep> {
        let forward: Vec<BackupStep> = self
            .stores
            .iter()
            .flat_map(|store| {
                let store = store.clone();
                [BackupStep::Read { store: store.clone() }, BackupStep::Publish { store }]
            })
            .collect();
        Plan {
            commit: forward.len(),
            forward,
            finally: vec![BackupStep::Discard],
        }
    }
}

impl Step for BackupStep {
    const KIND: &'static str = "backup";
    type Subject = BackupSubject;
    type Output = BackupOutput;

    /// Nothing has to be taken back: what is not published does not exist.
    fn undo(&self) -> Option<Self> {
        None
    }
}

impl fmt::Display for BackupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupStep::Read { store } => write!(f, "read and store in {store}"),
            BackupStep::Publish { store } => write!(f, "publish in {store}"),
            BackupStep::Discard => f.write_str("clear up"),
        }
    }
}

impl fmt::Display for BackupOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupOutput::Nothing => f.write_str("done"),
            BackupOutput::Read { totals, .. } => write!(
                f,
                "{} files, {}, {} new in the store",
                totals.files,
                Size(totals.bytes),
                Size(totals.added)
            ),
            BackupOutput::Published { generation, .. } => write!(f, "snapshot {}", generation.0),
        }
    }
}
