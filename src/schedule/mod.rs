//! crontab(5) lines with crontab's meaning in a time zone: `next_after(spec, now)`.

mod crontab;

pub use crontab::{Crontab, NotACrontab};
