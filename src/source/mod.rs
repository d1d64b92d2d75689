//! Reads the sources of backups, and restored trees, from this host's file system.

mod glob;
mod inspect;
mod sqlite;
mod tree;

pub use inspect::TreeInspector;
pub use tree::HostSources;
