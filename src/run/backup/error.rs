use std::io;
use std::path::{Path, PathBuf};

use crate::backup::{BadAgeKey, BadKey, EntryPath, Shortfall};
use crate::model::Percent;
use crate::ports::{EngineError, SourceError, StoreError};
use crate::run::OperationError;
use crate::run::snapshots::SnapshotError;
use crate::state::CatalogueError;

/// Why a backup failed. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("the newest snapshot of the store cannot be built upon; `arkwright backup verify` looks at all of it")]
    Newest(#[source] SnapshotError),
    #[error("there is no store `{0}` in arkwright.yaml any more")]
    NoStore(String),
    #[error(transparent)]
    Unopened(#[from] OperationError),
    #[error("`backups.recipients` cannot be used")]
    Recipients(#[source] BadAgeKey),
    #[error("the signing key cannot be used")]
    Signing(#[source] BadKey),
    #[error(
        "{store} has lost {object}, which this host published; is the right disk mounted? `arkwright backup run --begin-again` accepts the loss"
    )]
    Lost { store: String, object: String },
    #[error("{store} holds the snapshots of project `{other}`; give each project a store of its own")]
    Foreign { store: String, other: String },
    #[error("another run took generation {0} meanwhile; run the backup again")]
    Overtaken(u64),
    #[error(
        "{store} has {object}, and no generation comes after that; name another store, or remove it if nobody published it"
    )]
    Exhausted { store: String, object: String },
    #[error("{object} is gone from {store} since it was written; run the backup again")]
    Vanished { store: String, object: String },
    #[error("two sources say different things of {0}; exclude it from one of them")]
    Conflict(EntryPath),
    #[error(
        "far less is there than in the last snapshot, under the floor of {floor}: {}; is everything mounted? \
         `arkwright backup run {set} --accept-less` takes it as it is",
        told(fewer)
    )]
    Fewer {
        set: String,
        floor: Percent,
        fewer: Vec<Shortfall>,
    },
    #[error("the image {image} could not be read from the engine")]
    Engine {
        image: String,
        #[source]
        source: EngineError,
    },
    #[error("the engine's archive of the image {image} could not be read")]
    Archive {
        image: String,
        #[source]
        source: io::Error,
    },
    #[error("the scratch folder {path} could not be used")]
    Scratch {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the disk of the scratch folder {path} is full; free space and run the backup again")]
    ScratchFull { path: PathBuf },
    #[error("what an earlier step left in {path} cannot be read; run the backup again")]
    Draft {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("a segment could not be encrypted")]
    Seal(#[source] io::Error),
    #[error("the backup was stopped")]
    Stopped,
}

fn told(fewer: &[Shortfall]) -> String {
    let fewer: Vec<String> = fewer.iter().map(ToString::to_string).collect();
    fewer.join("; ")
}

impl BackupError {
    pub(super) fn scratch(path: &Path) -> impl Fn(io::Error) -> BackupError + '_ {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackupError::ScratchFull { path },
                _ => BackupError::Scratch { path, source },
            }
        }
    }
}
