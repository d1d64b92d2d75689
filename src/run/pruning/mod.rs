//! Removes the snapshots that `keep` does not ask for, and later the segments that nothing refers to any more.
//!
//! A tombstone is published like a snapshot: its header makes it exist, and from then on what it lists is gone for every
//! reader. Whatever is cut short before leaves the store as it was, whatever is cut short after leaves objects that no
//! reader looks at and that the next prune takes away. Segments go last, by a listing and headers read afresh, and only
//! where nothing has referred to them for as long as `backups.prune.wait` says.

mod error;
mod holdings;
mod perform;
mod plan;

pub use error::PruneError;
pub use perform::PrunePerformer;
pub use plan::{Pruning, plan};
