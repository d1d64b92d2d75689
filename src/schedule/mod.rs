//! crontab(5) lines with crontab's meaning in a time zone, what is remembered of their runs, and when releases may begin.

mod calendar;
mod crontab;
mod memory;
mod zone;

pub use calendar::{Calendar, Freeze, HORIZON_DAYS, Permission, Window};
pub use crontab::{Crontab, NotACrontab};
pub use memory::{Memory, Unreadable};
pub use zone::{NotAZone, Zone};
