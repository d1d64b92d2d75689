use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{Generation, SegmentId};

/// More parts than this would leave nothing in most of them.
const MOST: u32 = 10_000;

/// So many parts of a store out of so many, as it is typed: `1/30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    pub parts: u32,
    pub of: u32,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a share: write 1/30 for a thirtieth at a time, of at most {MOST} parts")]
pub struct NotAPortion(String);

impl FromStr for Portion {
    type Err = NotAPortion;

    fn from_str(text: &str) -> Result<Self, NotAPortion> {
        let refuse = || NotAPortion(super::escape(text.as_bytes()));
        let (parts, of) = text.split_once('/').ok_or_else(refuse)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| refuse());
        let portion = Portion {
            parts: number(parts)?,
            of: number(of)?,
        };
        match (1..=portion.of).contains(&portion.parts) && portion.of <= MOST {
            true => Ok(portion),
            false => Err(refuse()),
        }
    }
}

impl Portion {
    /// These parts, from the given one on; past the last it goes on at the first.
    pub fn from(self, first: u32) -> Share {
        Share {
            first: first % self.of,
            parts: self.parts,
            of: self.of,
        }
    }
}

/// Which parts of a store are looked at. What belongs to a part follows from its name alone, so that looking at each part
/// once is looking at everything once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// From 0.
    pub first: u32,
    pub parts: u32,
    pub of: u32,
}

impl Share {
    pub fn has_segment(&self, id: &SegmentId) -> bool {
        // 32 hex digits: the first eight are a number.
        self.has(u64::from_str_radix(&id.as_str()[..8], 16).unwrap_or_default())
    }

    pub fn has_generation(&self, generation: Generation) -> bool {
        self.has(generation.0)
    }

    fn has(&self, number: u64) -> bool {
        let of = u64::from(self.of.max(1));
        (number % of + of - u64::from(self.first) % of) % of < u64::from(self.parts)
    }

    /// Where the next one begins.
    pub fn next(&self) -> u32 {
        (self.first + self.parts) % self.of.max(1)
    }

    /// Whether this one reaches the last part, or goes past it.
    pub fn ends_round(&self) -> bool {
        self.first + self.parts >= self.of
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts {
            1 => write!(f, "part {} of {}", self.first + 1, self.of),
            parts => write!(f, "{parts} parts from {} of {}", self.first + 1, self.of),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_shares_has_everything_once() {
        for (parts, of) in [(1, 1), (1, 30), (7, 30), (30, 30)] {
            let portion: Portion = format!("{parts}/{of}").parse().expect("a share");
            let mut first = 0;
            let mut looked = [0; 256];
            let mut rounds = 0;
            while rounds == 0 {
                let share = portion.from(first);
                for (at, times) in looked.iter_mut().enumerate() {
                    let mut id = [at as u8; 16];
                    id[3] = (at * 7) as u8;
                    *times += u32::from(share.has_segment(&SegmentId::new(id)));
                }
                rounds += u32::from(share.ends_round());
                first = share.next();
            }
            // The last share of a round may begin the next.
            let most = if of % parts == 0 { 1 } else { 2 };
            assert!(
                looked.iter().all(|times| (1..=most).contains(times)),
                "{parts}/{of}: {looked:?}"
            );
        }
        let share = Portion { parts: 2, of: 5 }.from(4);
        let in_it: Vec<u64> = (1..=5).filter(|at| share.has_generation(Generation(*at))).collect();
        assert_eq!((in_it, share.next()), (vec![4, 5], 1));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for bad in ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/3", "1/99999", "1/ 3"] {
            assert!(bad.parse::<Portion>().is_err(), "{bad}");
        }
    }
}
