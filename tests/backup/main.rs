//! Backups of real files into a real store, by the same code the command line and the agent drive.

mod changing;
mod cli;
mod faithful;
mod faults;
mod floor;
mod hostile;
mod images;
mod prune;
mod restore;
mod restore_by_hand;
mod resume;
mod share;
mod support;
mod untrue;
mod whole;
