use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes; units are powers of 1024, as Compose reads them (`512M`, `1.5gb`, `64KiB`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Size(pub u64);

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a size: a number with b, k, m, g or t, such as 512m")]
pub struct NotASize(String);

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let refuse = || NotASize(text.to_owned());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| refuse())?;
        let power = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            _ => return Err(refuse()),
        };
        let bytes = number * 1024f64.powi(power);
        if number >= 0.0 && bytes < u64::MAX as f64 {
            Ok(Size(bytes as u64))
        } else {
            Err(refuse())
        }
    }
}

impl fmt::Display for Size {
    /// For a person: at most one decimal, `1.3 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        if unit == "B" {
            write!(f, "{} B", self.0)
        } else {
            write!(f, "{value:.1} {unit}")
        }
    }
}

impl TryFrom<String> for Size {
    type Error = NotASize;

    fn try_from(text: String) -> Result<Self, NotASize> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        format!("{}b", size.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        assert_eq!("512M".parse(), Ok(Size(512 << 20)));
        assert_eq!("1.5gb".parse(), Ok(Size(3 << 29)));
        assert_eq!("64KiB".parse(), Ok(Size(64 << 10)));
        assert_eq!("7".parse(), Ok(Size(7)));
        for bad in ["", "m", "-1m", "1x", "1e300g", "nan"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!(Size(1536).to_string(), "1.5 KiB");
    }
}
