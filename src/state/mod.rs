//! Durable files: the project's folder, atomic writes, journal files, the host lock.

mod catalogue;
mod disk;
mod durable;
mod folder;
mod journal_file;
mod lock;

pub use catalogue::{Catalogue, CatalogueError};
pub use disk::Disk;
pub use durable::{forget, make_folder, write_atomic, write_atomic_for};
pub use folder::{ProjectFolder, StateError};
pub use journal_file::{JournalError, JournalFile, read_journal};
pub use lock::{HostLock, LockError};
