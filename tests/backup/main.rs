//! Backups of real files into a real store, by the same code the command line and the agent drive.

mod changing;
mod cli;
mod faithful;
mod faults;
mod floor;
mod hostile;
mod images;
mod restore;
mod restore_by_hand;
mod resume;
mod support;
mod untrue;
mod whole;
