//! What a drill does, step by step; what its checks, its objectives and its seal amount to; the evidence it leaves.

mod assertion;
mod evidence;
mod guest;
mod markdown;
mod objective;
mod plan;
mod probe;
mod reading;
mod secrets;
mod step;
#[cfg(test)]
mod tests;
mod verdict;

pub use assertion::{Assertion, CheckResult, Verdict};
pub use evidence::{
    EVIDENCE_FORMAT, EVIDENCE_NAMESPACE, Evidence, Ground, PreviousEvidence, SnapshotUsed, Tools, walk,
};
pub use guest::{Barred, Found, Guest, GuestFile, HOSTS, Placed, Prepared, Shelter, Site, on_disk, place};
pub use markdown::markdown;
pub use objective::{Measure, Measured, NewestFound, Stage, Timing};
pub use plan::{PlanError, plan};
pub use probe::{Answer, Attempt, Reached, SealReport, WayOut, sealed};
pub use reading::{Files, Integrity, Unread, answered, files_exist, integrity, rows};
pub use secrets::Replacements;
pub use step::{Booted, Chosen, DrillOutput, DrillStep, DrillSubject, ImageUse, NewestSource, Restored, Room};
pub use verdict::{Conclusion, Word, conclude, results};
