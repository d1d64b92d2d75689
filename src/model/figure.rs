use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Percent, Size, Span};

/// A number with the unit it was written in: `1%`, `2s`, `512M`, or `95`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written")]
pub struct Figure {
    /// Percent, seconds, bytes, or just the number.
    pub value: f64,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Plain,
    Percent,
    Time,
    Bytes,
}

/// As it stands in a file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a figure: write 1%, 500ms, 512M or a number")]
pub struct NotAFigure(String);

impl Figure {
    pub fn new(value: f64, unit: Unit) -> Self {
        Figure { value, unit }
    }

    /// Another value in this unit, for a person.
    pub fn like(self, value: f64) -> String {
        Figure { value, ..self }.to_string()
    }
}

impl Unit {
    /// How one is written.
    pub fn example(self) -> &'static str {
        match self {
            Unit::Plain => "95",
            Unit::Percent => "1%",
            Unit::Time => "500ms",
            Unit::Bytes => "512M",
        }
    }
}

impl FromStr for Figure {
    type Err = NotAFigure;

    fn from_str(text: &str) -> Result<Self, NotAFigure> {
        let refuse = || NotAFigure(text.chars().take(60).collect());
        if let Ok(percent) = text.parse::<Percent>() {
            return Ok(Figure::new(percent.ratio() * 100.0, Unit::Percent));
        }
        if let Ok(number) = text.trim().parse::<f64>() {
            return match number.is_finite() {
                true => Ok(Figure::new(number, Unit::Plain)),
                false => Err(refuse()),
            };
        }
        if let Ok(span) = text.parse::<Span>() {
            return Ok(Figure::new(span.std().as_secs_f64(), Unit::Time));
        }
        let size: Size = text.parse().map_err(|_| refuse())?;
        Ok(Figure::new(size.0 as f64, Unit::Bytes))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            Unit::Plain => write!(f, "{}", rounded(self.value)),
            Unit::Percent => write!(f, "{} %", rounded(self.value)),
            Unit::Time if self.value >= 1.0 => write!(f, "{} s", rounded(self.value)),
            Unit::Time => write!(f, "{} ms", rounded(self.value * 1e3)),
            Unit::Bytes => write!(f, "{}", Size(self.value.max(0.0) as u64)),
        }
    }
}

/// To three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

impl TryFrom<Written> for Figure {
    type Error = NotAFigure;

    fn try_from(written: Written) -> Result<Self, NotAFigure> {
        match written {
            Written::Number(number) => number.to_string().parse(),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Figure> for Written {
    fn from(figure: Figure) -> Written {
        match figure.unit {
            Unit::Plain => Written::Number(figure.value),
            Unit::Percent => Written::Text(format!("{}%", figure.value)),
            Unit::Time => Written::Text(format!("{}ns", (figure.value * 1e9).round())),
            Unit::Bytes => Written::Text(format!("{}b", figure.value.round())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_read_said_and_read_back() {
        for (text, value, unit, said) in [
            ("1%", 1.0, Unit::Percent, "1 %"),
            ("0.5%", 0.5, Unit::Percent, "0.5 %"),
            ("2s", 2.0, Unit::Time, "2 s"),
            ("250ms", 0.25, Unit::Time, "250 ms"),
            ("95", 95.0, Unit::Plain, "95"),
            ("-3.25", -3.25, Unit::Plain, "-3.25"),
        ] {
            let figure: Figure = text.parse().expect(text);
            assert_eq!((figure.value, figure.unit), (value, unit), "{text}");
            assert_eq!(figure.to_string(), said);
            let json = serde_json::to_string(&figure).expect("written");
            assert_eq!(serde_json::from_str::<Figure>(&json).expect("read"), figure, "{json}");
        }
        assert_eq!("512M".parse::<Figure>().expect("a size").unit, Unit::Bytes);
        for bad in ["", "much", "1%%", "inf", "nan", "s"] {
            assert!(bad.parse::<Figure>().is_err(), "{bad}");
        }
    }
}
