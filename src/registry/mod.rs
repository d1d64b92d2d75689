//! Logins for registries, as `docker login` and `podman login` leave them on this host, or as somebody gave them for one
//! operation.
//!
//! Every byte read here is hostile until parsed; no error repeats what it was read from.

mod entry;
mod file;
mod given;
mod helper;
mod keyring;
mod places;

pub use given::{GivenError, LARGEST as LARGEST_GIVEN, parse as parse_given};
pub use keyring::HostKeyring;
pub use places::Places;
