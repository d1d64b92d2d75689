//! Reads the sources of backups, and restored trees, from this host's file system and from inside containers.

mod glob;
mod inside;
mod inspect;
mod sqlite;
mod tree;

pub use inside::{Back, ProjectSources, PutBackError, put_back};
pub use inspect::TreeInspector;
pub use tree::HostSources;
