//! Places that keep objects.

mod fs;

pub use fs::FsStore;
