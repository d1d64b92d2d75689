//! Takes a backup: reads the sources, stores what is new, publishes a signed manifest.

mod error;
mod images;
mod intake;
mod packer;
mod perform;
mod places;
mod publish;
mod read;
mod stillness;

pub use error::BackupError;
pub use images::Images;
pub use perform::{BackupPerformer, BackupScope, Stores, StoresToOpen, plan_backup};
pub use stillness::Gatekeeper;
