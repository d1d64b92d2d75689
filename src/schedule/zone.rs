use std::fmt;
use std::str::FromStr;

use chrono::{FixedOffset, LocalResult, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// A time zone as a person writes it: an IANA name, whose clock may change, or an offset, whose never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Zone {
    Named(Tz),
    Offset(FixedOffset),
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is no time zone; write a name like `Asia/Taipei`, or an offset like `+08:00`")]
pub struct NotAZone(String);

impl Zone {
    /// What a clock on the wall shows.
    pub fn local(&self, at: Timestamp) -> NaiveDateTime {
        match self {
            Zone::Named(zone) => at.with_timezone(zone).naive_local(),
            Zone::Offset(zone) => at.with_timezone(zone).naive_local(),
        }
    }

    /// When the clock on the wall shows this: the first time where it shows it twice, and the first minute after the gap
    /// where it never does.
    pub fn instant(&self, local: NaiveDateTime) -> Timestamp {
        let mut probe = local;
        loop {
            let found = match self {
                Zone::Named(zone) => zone.from_local_datetime(&probe).map(|at| at.to_utc()),
                Zone::Offset(zone) => zone.from_local_datetime(&probe).map(|at| at.to_utc()),
            };
            match found {
                LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at,
                LocalResult::None => probe += TimeDelta::minutes(1),
            }
        }
    }

    /// `Sun 2026-11-22 02:00 +08:00`
    pub fn shown(&self, at: Timestamp) -> String {
        let format = "%a %Y-%m-%d %H:%M %:z";
        match self {
            Zone::Named(zone) => at.with_timezone(zone).format(format).to_string(),
            Zone::Offset(zone) => at.with_timezone(zone).format(format).to_string(),
        }
    }
}

impl FromStr for Zone {
    type Err = NotAZone;

    fn from_str(text: &str) -> Result<Self, NotAZone> {
        let refuse = || NotAZone(text.chars().take(60).collect());
        if let Ok(zone) = text.parse::<Tz>() {
            return Ok(Zone::Named(zone));
        }
        let (sign, digits) = match text.split_at_checked(1) {
            Some(("+", digits)) => (1, digits),
            Some(("-", digits)) => (-1, digits),
            _ => return Err(refuse()),
        };
        let (hours, minutes) = digits.split_once(':').ok_or_else(refuse)?;
        let number = |part: &str| match part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse::<i32>().ok(),
            false => None,
        };
        let (hours, minutes) = number(hours).zip(number(minutes)).ok_or_else(refuse)?;
        // The widest there are on Earth.
        if hours > 14 || minutes > 59 {
            return Err(refuse());
        }
        FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60))
            .map(Zone::Offset)
            .ok_or_else(refuse)
    }
}

impl TryFrom<String> for Zone {
    type Error = NotAZone;

    fn try_from(text: String) -> Result<Self, NotAZone> {
        text.parse()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Zone::Named(zone) => f.write_str(zone.name()),
            Zone::Offset(zone) => zone.fmt(f),
        }
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_offsets_are_zones_and_nothing_else() {
        for text in ["Asia/Taipei", "UTC", "+08:00", "-03:30", "+00:00"] {
            let zone: Zone = text.parse().expect(text);
            assert_eq!(zone.to_string(), text);
        }
        for text in [
            "",
            "Mars/Olympus",
            "+8",
            "+08:60",
            "+15:00",
            "08:00",
            "+0800",
            "é8:00",
            "+-1:00",
        ] {
            assert_eq!(text.parse::<Zone>(), Err(NotAZone(text.into())));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,12}") {
            if let Ok(zone) = text.parse::<Zone>() {
                prop_assert_eq!(zone.to_string().parse::<Zone>(), Ok(zone));
            }
        }
    }
}
