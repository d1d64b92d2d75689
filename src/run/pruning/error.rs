use crate::backup::BadKey;
use crate::ports::StoreError;
use crate::run::snapshots::SnapshotError;
use crate::run::{Blame, OperationError};
use crate::state::{CatalogueError, MarksError};

/// Why nothing, or nothing more, was removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "a header of the store cannot be trusted, so nothing is removed; `arkwright backup verify` looks at all of it"
    )]
    Header(#[source] SnapshotError),
    #[error(
        "{store} is not whole, so nothing is removed: {object}: {why}; `arkwright backup verify` looks at all of it"
    )]
    Broken { store: String, object: String, why: String },
    #[error(
        "this host does not remember what it published last in {store}, so it cannot tell whether all of it is there; run `arkwright backup run` first"
    )]
    Unremembered { store: String },
    #[error("{store} holds the snapshots of project `{other}`; give each project a store of its own")]
    Foreign { store: String, other: String },
    #[error("{store} is not as it was when this was planned: snapshot {generation} would stay; run it again")]
    Changed { store: String, generation: u64 },
    #[error("another run took generation {generation} of {store} meanwhile; run it again")]
    Overtaken { store: String, generation: u64 },
    #[error("{store} has {object}, and no generation comes after that; name another store")]
    Exhausted { store: String, object: String },
    #[error("the tombstone cannot be written")]
    Tombstone(#[source] serde_json::Error),
    #[error("the signing key cannot be used")]
    Signing(#[source] BadKey),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Marks(#[from] MarksError),
    #[error(transparent)]
    Unopened(#[from] OperationError),
}

impl From<PruneError> for OperationError {
    fn from(error: PruneError) -> Self {
        let blame = match &error {
            PruneError::Unopened(error) => return error.clone(),
            PruneError::Header(_) | PruneError::Broken { .. } => Blame::Damaged,
            PruneError::Unremembered { .. } | PruneError::Foreign { .. } => Blame::Refused,
            PruneError::Changed { .. } | PruneError::Overtaken { .. } => Blame::Busy,
            _ => Blame::Host,
        };
        OperationError::new(blame, error)
    }
}
