use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDateTime, TimeDelta};
use serde::{Deserialize, Serialize};

use super::Timestamp;

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{text}` is not {what}")]
pub struct NotAnId {
    what: &'static str,
    text: String,
}

/// The engine's own identifier of a container (64 hex digits on both engines).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    pub fn new(id: impl Into<String>) -> Self {
        ContainerId(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One release, backup or drill: `20261120T233401Z-5f0c1d`, so that names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(String);

impl OperationId {
    /// Three of the last six digits are the second's part in 4096ths, so that two of one second sort by time as well.
    pub fn new(now: Timestamp, chance: [u8; 2]) -> Self {
        // A leap second's milliseconds go on to 1999.
        let part = now.timestamp_subsec_millis().min(999) * 4096 / 1000;
        let chance = u16::from_be_bytes(chance) & 0xfff;
        OperationId(format!("{}-{part:03x}{chance:03x}", now.format("%Y%m%dT%H%M%SZ")))
    }

    /// One that sorts after it.
    pub fn next(&self) -> Self {
        let (time, part) = self.0.split_at(16);
        let part = u32::from_str_radix(&part[1..], 16).unwrap_or_default();
        let second = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").map(|time| time + TimeDelta::seconds(1));
        OperationId(match second {
            Ok(second) if part == 0xff_ffff => format!("{}-000000", second.format("%Y%m%dT%H%M%SZ")),
            _ => format!("{time}-{:06x}", (part + 1).min(0xff_ffff)),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for OperationId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let shaped = text.len() == 23
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 => b == b'T',
                15 => b == b'Z',
                16 => b == b'-',
                0..=15 => b.is_ascii_digit(),
                _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
            });
        if shaped {
            Ok(OperationId(text.to_owned()))
        } else {
            Err(NotAnId {
                what: "an operation (see `arkwright history`)",
                text: text.to_owned(),
            })
        }
    }
}

/// A random 128-bit name of a stored object: tells nothing about what is inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentId(String);

impl SegmentId {
    pub fn new(chance: [u8; 16]) -> Self {
        SegmentId(hex::encode(chance))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SegmentId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(SegmentId(text.to_owned()))
        } else {
            Err(NotAnId {
                what: "a segment: 32 hex digits",
                text: text.to_owned(),
            })
        }
    }
}

/// A snapshot's place in its store's chain, counted from 1; written with ten digits in object names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The last one ten digits can say.
    pub const LAST: Generation = Generation(9_999_999_999);

    /// `None` after [`Generation::LAST`].
    pub fn next(self) -> Option<Self> {
        (self < Self::LAST).then(|| Generation(self.0 + 1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

impl FromStr for Generation {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        match text.parse() {
            Ok(number) if (1..=Self::LAST.0).contains(&number) && text.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Generation(number))
            }
            _ => Err(NotAnId {
                what: "a generation (see `arkwright backup list`)",
                text: text.to_owned(),
            }),
        }
    }
}

macro_rules! text_form {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $id {
            type Error = NotAnId;

            fn try_from(text: String) -> Result<Self, NotAnId> {
                text.parse()
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> String {
                id.0
            }
        }
    )*};
}
text_form!(OperationId, SegmentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_id_reads_back_and_refuses_paths() {
        let id = OperationId::new(Timestamp::UNIX_EPOCH, [1, 0xff]);
        assert_eq!(id.as_str(), "19700101T000000Z-0001ff");
        assert_eq!(id.as_str().parse(), Ok(id));
        assert!("../../etc/passwd".parse::<OperationId>().is_err());
        assert!("19700101T000000Z-0102f/".parse::<OperationId>().is_err());
    }

    #[test]
    fn operations_of_one_second_sort_by_time() {
        let at = |millis| Timestamp::from_timestamp_millis(millis).expect("a time");
        let ids = [at(500), at(501), at(999), at(1000)].map(|now| OperationId::new(now, [0xff, 0xff]));
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids[0].as_str(), "19700101T000000Z-800fff");
    }

    #[test]
    fn there_is_always_one_that_sorts_after() {
        for (id, next) in [
            ("20261231T235959Z-00000f", "20261231T235959Z-000010"),
            ("20261231T235959Z-ffffff", "20270101T000000Z-000000"),
        ] {
            let id: OperationId = id.parse().expect("an id");
            assert_eq!(id.next().as_str(), next);
            assert!(id.next() > id);
        }
    }

    #[test]
    fn a_generation_is_written_with_ten_digits_and_read_with_any() {
        assert_eq!(Generation(42).to_string(), "0000000042");
        assert_eq!("0000000042".parse(), Ok(Generation(42)));
        assert_eq!("42".parse(), Ok(Generation(42)));
        for bad in ["", "0", "-1", "+1", "1x", "10000000000", "18446744073709551615"] {
            assert!(bad.parse::<Generation>().is_err(), "{bad}");
        }
        assert_eq!(Generation(42).next(), Some(Generation(43)));
        assert_eq!(Generation::LAST.next(), None);
    }
}
