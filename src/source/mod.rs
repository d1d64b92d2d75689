//! Reads the sources of backups from this host's file system.

mod glob;
mod sqlite;
mod tree;

pub use tree::HostSources;
