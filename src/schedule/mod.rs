//! crontab(5) lines with crontab's meaning in a time zone, and what is remembered of their runs.

mod crontab;
mod memory;

pub use crontab::{Crontab, NotACrontab};
pub use memory::{Memory, Unreadable};
