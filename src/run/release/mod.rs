//! Performs releases: the colours through the engine, the traffic through the router, the data on the disk.

mod background;
mod colour;
mod data;
mod health;
mod history;
mod hook;
mod order;
mod perform;
mod receipt;
mod recreate;
mod repoint;
#[cfg(test)]
mod tests;
mod together;
mod watch;

pub use history::{releases, standing};
pub use order::{ReleaseScope, plan_release};
pub use perform::{BeforeRelease, ReleasePerformer};
pub use repoint::{Reach, astray, repoint};
pub use together::Watches;
pub use watch::Gauges;
