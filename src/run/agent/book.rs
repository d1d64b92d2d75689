use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{OperationId, Timestamp};
use crate::state::write_atomic;

use super::super::Order;
use super::AgentError;

const FORMAT: u32 = 1;

/// An order that was taken: on the disk before whoever gave it hears so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    pub operation: OperationId,
    pub order: Order,
    pub by: String,
    pub key: Option<String>,
    pub at: Timestamp,
    /// Registries whose logins came with the order, and are nowhere but in memory.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub logins: BTreeSet<String>,
}

/// The orders taken and not ended, so that a restart forgets none, and the last good one of every lane.
pub(super) struct Book {
    path: PathBuf,
    pages: Pages,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pages {
    format: u32,
    open: Vec<Taken>,
    last: BTreeMap<String, Taken>,
}

impl Book {
    pub fn open(path: &Path) -> Result<Self, AgentError> {
        let damaged = |source| AgentError::Damaged {
            path: path.to_path_buf(),
            source,
        };
        let pages = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice::<Pages>(&bytes).map_err(|e| damaged(e.into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Pages {
                format: FORMAT,
                open: Vec::new(),
                last: BTreeMap::new(),
            },
            Err(e) => return Err(damaged(e.into())),
        };
        if pages.format != FORMAT {
            return Err(damaged("it was written by a newer arkwright; upgrade".into()));
        }
        Ok(Book {
            path: path.to_path_buf(),
            pages,
        })
    }

    pub fn taken(&self) -> &[Taken] {
        &self.pages.open
    }

    /// The last operation of a lane, where it did what it should.
    pub fn last(&self, lane: &str) -> Option<&Taken> {
        self.pages.last.get(lane)
    }

    pub fn enter(&mut self, taken: Taken) -> io::Result<()> {
        self.pages.open.push(taken);
        let written = self.write();
        if written.is_err() {
            self.pages.open.pop();
        }
        written
    }

    /// `good` is whether it did what it should; one that was never begun leaves the last one standing.
    pub fn close(&mut self, operation: &OperationId, lane: &str, good: Option<bool>) -> io::Result<()> {
        let at = self.pages.open.iter().position(|t| t.operation == *operation);
        let taken = at.map(|at| self.pages.open.remove(at));
        if let Some(good) = good {
            self.pages.last.remove(lane);
            if let Some(taken) = taken.filter(|_| good) {
                self.pages.last.insert(lane.to_owned(), taken);
            }
        }
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        write_atomic(&self.path, &serde_json::to_vec_pretty(&self.pages)?, 0o600)
    }
}
