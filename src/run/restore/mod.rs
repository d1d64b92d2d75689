//! Brings a snapshot, or a part of it, back to a folder.

mod dress;
mod nodes;
mod read;
mod select;
mod target;
mod unnamed;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::backup::{Content, Entry, EntryPath, Identities, Node, NotAPath, SQLITE, Snapshot, SourceRecord};
use crate::model::{Generation, Timestamp};
use crate::ports::{Store, StoreError};

use super::Progress;
use super::blocking::blocking;
use super::snapshots::{self, SnapshotError, Trust, Which};
use select::select;

/// What of a snapshot is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// All of it: what the sources held, the stack's own files below `@stack`, images below `@images`.
    Everything,
    /// What the sources held, without `@stack` and `@images`.
    Data,
    /// One file, or a folder and everything below it.
    Path(EntryPath),
}

#[derive(Clone, Debug)]
pub struct RestoreOptions {
    pub selection: Selection,
    /// Made where it is missing; entries' paths begin there.
    pub target: PathBuf,
    /// Replace files that are there, and remove the log beside a database. Without it their being there is an error, and
    /// nothing is changed.
    pub overwrite: bool,
    /// Make device nodes, which only root can; without it they are left out and told.
    pub devices: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestoreReport {
    pub generation: Generation,
    pub set: String,
    pub taken: Timestamp,
    pub target: PathBuf,
    pub files: u64,
    pub bytes: u64,
    pub folders: u64,
    pub links: u64,
    /// Further names of files.
    pub hardlinks: u64,
    /// Named pipes and devices.
    pub specials: u64,
    /// Devices that were not asked for.
    pub devices_left_out: u64,
    /// Extended attributes, ACLs among them, that could not be set.
    pub xattrs_lost: u64,
    /// Links, named pipes and devices that the target's file system does not make.
    pub nodes_lost: u64,
    /// Segments that were read, every one to its last byte.
    pub segments: u64,
    /// What a person should know, such as owners that were not set.
    pub notes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the snapshot has nothing at `{0}`; `arkwright backup show` lists what it holds")]
    NotInIt(EntryPath),
    #[error("`{text}` is not a path of a snapshot")]
    BadPath {
        text: String,
        #[source]
        source: NotAPath,
    },
    #[error(
        "{count} of the files are there already, such as {first}; nothing was changed: restore to another folder, or name --overwrite"
    )]
    Exists { first: PathBuf, count: u64 },
    #[error("{path} is in the way: {why}")]
    InTheWay { path: PathBuf, why: &'static str },
    #[error("{path} could not be written")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the disk of {path} is full; free space, remove what was restored so far, and run it again")]
    Full { path: PathBuf },
    #[error(
        "{} could not be restored, all else was: {}; `arkwright backup verify` says which snapshots are whole",
        files(*unrestored), damaged.join("; ")
    )]
    Damaged {
        /// Each with the reason.
        damaged: Vec<String>,
        objects: Vec<String>,
        unrestored: u64,
    },
    #[error(
        "only root can make device nodes, such as {0}; run it as root, or leave out --devices; nothing was changed"
    )]
    Devices(EntryPath),
    #[error("it was stopped")]
    Stopped,
}

fn files(count: u64) -> String {
    match count {
        0 => "something".into(),
        1 => "one file".into(),
        many => format!("{many} files"),
    }
}

impl RestoreError {
    /// The stored objects it is about.
    pub fn objects(&self) -> Vec<String> {
        match self {
            RestoreError::Snapshot(error) => error.objects(),
            RestoreError::Damaged { objects, .. } => objects.clone(),
            _ => Vec::new(),
        }
    }
}

/// Restores from the snapshot that is meant.
///
/// Every object read has to be, to its last byte, what was signed for, and every file has its SHA-256 before it gets
/// its name. When a segment is damaged the others are restored all the same, and the error names it.
pub async fn restore(
    store: &Arc<dyn Store>,
    trust: &Trust,
    identities: &Identities,
    which: &Which,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<RestoreReport, RestoreError> {
    let snapshot = snapshots::find(store.as_ref(), trust, which).await?;
    let listing = snapshots::listing(store.as_ref(), &snapshot, identities).await?;
    let (entries, devices_left_out) = select(listing.entries, options)?;
    let wanted = Wanted {
        entries,
        devices_left_out,
        databases: databases(&listing.closing.sources),
    };
    let (store, identities, options) = (store.clone(), identities.clone(), options.clone());
    blocking(progress, move |ticker, handle| {
        read::run(&store, &identities, &snapshot, wanted, &options, ticker, handle)
    })
    .await
}

/// What is written.
struct Wanted {
    entries: Vec<Entry>,
    devices_left_out: u64,
    /// Files that were read as SQLite databases: the log beside an older one would be replayed into them.
    databases: BTreeSet<EntryPath>,
}

fn databases(sources: &[SourceRecord]) -> BTreeSet<EntryPath> {
    let sqlite = sources.iter().filter(|source| source.kind == SQLITE);
    sqlite.map(|source| source.path.clone()).collect()
}

/// The contents a selection needs, by segment, and whether the whole snapshot is read.
fn is_whole(selection: &Selection) -> bool {
    *selection == Selection::Everything
}

fn content(entry: &Entry) -> Option<&Content> {
    match &entry.node {
        Node::File(content) => Some(content),
        _ => None,
    }
}

fn report(snapshot: &Snapshot, options: &RestoreOptions) -> RestoreReport {
    RestoreReport {
        generation: snapshot.generation,
        set: snapshot.set.clone(),
        taken: snapshot.taken,
        target: options.target.clone(),
        files: 0,
        bytes: 0,
        folders: 0,
        links: 0,
        hardlinks: 0,
        specials: 0,
        devices_left_out: 0,
        xattrs_lost: 0,
        nodes_lost: 0,
        segments: 0,
        notes: Vec::new(),
    }
}
