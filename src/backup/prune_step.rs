use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::{Plan, Step};
use crate::model::{Generation, ProjectName, Size, Span, Timestamp};

use super::{Removed, Rules};

/// What pruning a store does. From `Bury` on the snapshots are gone for every reader; the rest is clearing up, which any
/// later prune takes on where this one is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PruneStep {
    /// Signs and puts the tombstone that lists what goes.
    Bury,
    /// Removes headers, signatures and listings of what tombstones list.
    Clear,
    /// Marks what nothing refers to, and deletes what has been marked for long enough.
    Sweep,
}

/// One store, with everything its pruning depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruneSubject {
    pub project: ProjectName,
    /// A key of `backups.stores`.
    pub store: String,
    pub rules: Rules,
    /// How long nothing has to refer to a segment before it is deleted.
    pub wait: Span,
    /// In order of generation: the snapshots that go, and tombstones that the new one stands for.
    pub remove: Vec<Removed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum PruneOutput {
    #[default]
    Nothing,
    Buried {
        generation: Generation,
        snapshots: u64,
    },
    Cleared {
        objects: u64,
        bytes: u64,
    },
    Swept(Swept),
}

/// What a sweep found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Swept {
    pub deleted: u64,
    pub deleted_bytes: u64,
    /// What nothing refers to and is not old enough.
    pub waiting: u64,
    pub waiting_bytes: u64,
    /// When the first of those is.
    pub due: Option<Timestamp>,
}

impl PruneSubject {
    /// Nothing is ever taken back: a tombstone stays, and what it lists is cleared by this prune or the next.
    pub fn plan(&self) -> Plan<PruneStep> {
        let bury = (!self.remove.is_empty()).then_some(PruneStep::Bury);
        let forward: Vec<PruneStep> = bury.into_iter().chain([PruneStep::Clear, PruneStep::Sweep]).collect();
        Plan {
            commit: forward.len(),
            forward,
            finally: Vec::new(),
        }
    }
}

impl Step for PruneStep {
    const KIND: &'static str = "prune";
    type Subject = PruneSubject;
    type Output = PruneOutput;

    fn undo(&self) -> Option<Self> {
        None
    }
}

impl fmt::Display for PruneStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PruneStep::Bury => "sign and put the tombstone",
            PruneStep::Clear => "remove the manifests",
            PruneStep::Sweep => "sweep the segments",
        })
    }
}

impl fmt::Display for PruneOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PruneOutput::Nothing => f.write_str("done"),
            PruneOutput::Buried { generation, snapshots } => {
                write!(
                    f,
                    "{} gone, by tombstone {}",
                    count(*snapshots, "snapshot"),
                    generation.0
                )
            }
            PruneOutput::Cleared { objects, bytes } => {
                write!(f, "{}, {} freed", count(*objects, "object"), Size(*bytes))
            }
            PruneOutput::Swept(swept) => {
                let freed = Size(swept.deleted_bytes);
                write!(f, "{}, {freed} freed", count(swept.deleted, "object"))?;
                match swept.waiting {
                    0 => Ok(()),
                    waiting => write!(f, "; {}, {}, wait", count(waiting, "object"), Size(swept.waiting_bytes)),
                }
            }
        }
    }
}

fn count(many: u64, what: &str) -> String {
    match many {
        1 => format!("1 {what}"),
        _ => format!("{many} {what}s"),
    }
}
