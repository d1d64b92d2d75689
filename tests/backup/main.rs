//! Backups of real files into a real store, by the same code the command line and the agent drive.

mod faults;
mod restore_by_hand;
mod support;
mod whole;
