use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time, written as Compose writes it: `1h30m`, `15s`, `100ms`, and `7d` for days.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Span(Duration);

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a length of time: write it with its unit, such as 500ms, 15s, 30m, 24h or 7d")]
pub struct NotASpan(String);

/// Largest first, so that writing takes the largest that fits; sizes in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// About 290 years: what fits in i64 nanoseconds, the engines' own unit.
const LONGEST: u128 = i64::MAX as u128;

impl Span {
    pub const ZERO: Span = Span(Duration::ZERO);

    pub const fn seconds(seconds: u64) -> Self {
        Span(Duration::from_secs(seconds))
    }

    pub const fn millis(millis: u64) -> Self {
        Span(Duration::from_millis(millis))
    }

    pub const fn std(self) -> Duration {
        self.0
    }

    /// Nanoseconds, as both engines' APIs count time.
    pub fn nanos(self) -> i64 {
        i64::try_from(self.0.as_nanos()).unwrap_or(i64::MAX)
    }

    /// Whole seconds, rounded up.
    pub fn whole_seconds(self) -> i64 {
        self.nanos().div_euclid(1_000_000_000) + i64::from(self.nanos() % 1_000_000_000 > 0)
    }

    pub fn chrono(self) -> chrono::TimeDelta {
        chrono::TimeDelta::nanoseconds(self.nanos())
    }

    /// For a person: at most two units, `1.3 s`, `4h 12m`.
    pub fn human(self) -> String {
        let seconds = self.0.as_secs_f64();
        match seconds {
            s if s < 0.001 => format!("{:.2} ms", s * 1e3),
            s if s < 1.0 => format!("{:.0} ms", s * 1e3),
            s if s < 60.0 => format!("{s:.1} s"),
            s if s < 3600.0 => format!("{}m {}s", s as u64 / 60, s as u64 % 60),
            s => format!("{}h {}m", s as u64 / 3600, s as u64 % 3600 / 60),
        }
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Span(duration)
    }
}

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let refuse = || NotASpan(text.to_owned());
        let mut rest = text.trim();
        if rest == "0" {
            return Ok(Span::ZERO);
        }
        if rest.is_empty() {
            return Err(refuse());
        }
        let mut total: u128 = 0;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(refuse)?;
            let number: f64 = rest[..digits].parse().map_err(|_| refuse())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let unit = match &rest[..letters] {
                "µs" => "us",
                other => other,
            };
            let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
            total += (number * *size as f64).round() as u128;
            rest = &rest[letters..];
            if total > LONGEST {
                return Err(refuse());
            }
        }
        let nanos = u64::try_from(total).map_err(|_| refuse())?;
        Ok(Span(Duration::from_nanos(nanos)))
    }
}

impl fmt::Display for Span {
    /// Reads back to the same length; no days, so that Compose can read it too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_nanos();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in &UNITS[1..] {
            let count = left / size;
            if count > 0 {
                write!(f, "{count}{unit}")?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Span {
    type Error = NotASpan;

    fn try_from(text: String) -> Result<Self, NotASpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_forms_compose_reads() {
        assert_eq!("1h30m".parse(), Ok(Span::seconds(5400)));
        assert_eq!("1.5s".parse(), Ok(Span::millis(1500)));
        assert_eq!("7d".parse(), Ok(Span::seconds(7 * 86_400)));
        assert_eq!("0".parse(), Ok(Span::ZERO));
        for bad in ["", "5", "s", "1x", "-1s", "1..2s", "99999999999h", "1 s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(nanos in 0..i64::MAX as u64) {
            let span = Span(Duration::from_nanos(nanos));
            prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,20}") {
            prop_assert!(text.parse::<Span>().is_err() || text.parse::<Span>().is_ok());
        }
    }
}
