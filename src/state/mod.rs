//! Durable files: atomic writes, journal files, the project's folder.

mod disk;

pub use disk::Disk;
