//! Places that keep objects.

mod fs;
mod name;
mod s3;

pub use fs::FsStore;
pub use s3::{Patience, S3Store};
