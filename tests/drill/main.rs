//! Drills of real backups: without an engine, on Docker and on Podman.

mod ark;
#[path = "../common/mod.rs"]
mod common;
mod idle;
mod negative;
mod sealed;
