//! What this Linux machine says of itself.

mod clock;
mod command;
mod figures;
mod firewall;
mod look;
mod program;

/// The Linux machine this runs on.
pub struct ThisHost;
