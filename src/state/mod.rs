//! Durable files: the project's folder, atomic writes, journal files, the host lock and who has it.

mod catalogue;
mod disk;
mod durable;
mod folder;
mod journal_file;
mod lease;
mod lock;
mod marks;
mod over;
mod rounds;

pub use catalogue::{Catalogue, CatalogueError};
pub use disk::Disk;
pub use durable::{forget, make_folder, write_atomic, write_atomic_for};
pub use folder::{ProjectFolder, StateError};
pub use journal_file::{JournalError, JournalFile, read_journal};
pub use lease::Lease;
pub use lock::{HostLock, LockError};
pub use marks::{Marks, MarksError};
pub use over::Over;
pub use rounds::{Rounds, RoundsError};
