//! Reads the sources of backups, and restored trees, from this host's file system.

mod file;
mod glob;
mod inspect;
mod pick;
mod sqlite;
mod traits;
mod tree;

pub use inspect::TreeInspector;
pub use tree::HostSources;
