//! Docker and Podman through bollard, and what Podman needs different.
//!
//! Changes go through bollard. Reading lists and inspections does not: bollard's types refuse Podman's state `stopped`
//! and would lose a whole list over one field, so those answers are read leniently over a connection of our own. Pulls
//! do not either (see `pull`).

mod archive;
mod body;
mod bollard;
mod connect;
mod containers;
mod error;
mod events;
mod exec;
mod images;
mod lenient;
mod limits;
mod logs;
mod networks;
mod podman;
mod program;
mod published;
mod pull;
mod stats;
mod volumes;
mod wire;

pub use bollard::Bollard;
pub use connect::{connect, reconnect};
