use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A share written `1%` or `0.5%`; a bare number is refused, since 0.01 and 1 would both look right.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Percent(f64);

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a percentage: write it with its sign, such as 1% or 0.5%")]
pub struct NotAPercent(String);

impl Percent {
    pub const HALF: Percent = Percent(50.0);

    /// As a ratio: 1% is 0.01.
    pub fn ratio(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        match text.trim().strip_suffix('%').map(|number| number.trim().parse::<f64>()) {
            Some(Ok(value)) if (0.0..=100.0).contains(&value) => Ok(Percent(value)),
            _ => Err(NotAPercent(text.to_owned())),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl TryFrom<String> for Percent {
    type Error = NotAPercent;

    fn try_from(text: String) -> Result<Self, NotAPercent> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> String {
        percent.to_string()
    }
}
