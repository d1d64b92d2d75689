//! Performs emergencies: through the same backups, restores and releases as everybody else, each journalled.

mod perform;
mod places;
mod planning;
mod receipt;

pub use perform::EmergencyPerformer;
