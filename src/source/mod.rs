//! Reads the sources of backups, and restored trees, from this host's file system and from inside containers.

mod file;
mod glob;
mod inside;
mod inspect;
mod pick;
mod sqlite;
mod traits;
mod tree;

pub use inside::{Back, ProjectSources, PutBackError, put_back};
pub use inspect::TreeInspector;
pub use tree::HostSources;
