//! `arkwright backup`: one file a verb.

mod diff;
mod list;
mod place;
mod prune;
mod restore;
mod run;
mod show;
mod verify;

use clap::Subcommand;

use super::{Failure, Global, Kind};
use crate::app::BackupRoomError;
use crate::run::keys::KeyError;
use crate::run::restore::RestoreError;
use crate::run::snapshots::SnapshotError;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Back up sets now
    Run(run::Args),
    /// List the snapshots of the stores
    List(list::Args),
    /// Show what a snapshot holds
    Show(show::Args),
    /// Check that what is stored is what was signed
    Verify(verify::Args),
    /// Bring a snapshot, or a part of it, back to a folder
    Restore(restore::Args),
    /// Remove the snapshots that `keep` does not ask for
    Prune(prune::Args),
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    match &args.verb {
        Verb::Run(args) => run::run(global, args).await,
        Verb::List(args) => list::run(global, args).await,
        Verb::Show(args) => show::run(global, args).await,
        Verb::Verify(args) => verify::run(global, args).await,
        Verb::Restore(args) => restore::run(global, args).await,
        Verb::Prune(args) => prune::run(global, args).await,
    }
}

impl From<BackupRoomError> for Failure {
    fn from(error: BackupRoomError) -> Self {
        let kind = match &error {
            BackupRoomError::NoBackups
            | BackupRoomError::NoStore(_)
            | BackupRoomError::BadBucket(_)
            | BackupRoomError::NoVersions(_) => Kind::Input,
            BackupRoomError::Key(KeyError::Missing { .. }) => Kind::Input,
            _ => Kind::Host,
        };
        Failure::new(kind, error)
    }
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            SnapshotError::Store(_) => Kind::Host,
            SnapshotError::NoneOfSet { .. } | SnapshotError::NoSuch { .. } => Kind::NotFound,
            SnapshotError::Damaged { .. } => Kind::Damaged,
            SnapshotError::Sealed { .. } => Kind::Input,
        };
        Failure::new(kind, error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let kind = match error {
            RestoreError::Snapshot(error) => return error.into(),
            RestoreError::NotInIt(_) => Kind::NotFound,
            RestoreError::BadPath { .. } => Kind::Usage,
            RestoreError::Damaged { .. } => Kind::Damaged,
            RestoreError::Stopped => Kind::Interrupted,
            _ => Kind::Host,
        };
        Failure::new(kind, error)
    }
}
