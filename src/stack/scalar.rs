//! What a plain (unquoted) YAML scalar means, by the rules of the parser Compose itself uses.
//!
//! That is YAML 1.2 with three remnants of 1.1: `0444` is octal, digits may be grouped with `_`, and `0b101` is binary.
//! `yes`, `no`, `on` and `off` stay text; a field that wants true or false converts them later.

use super::tree::Data;

pub(super) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Data::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) && text.len() <= 64 {
        let digits = text.replace('_', "");
        if let Some(value) = integer(&digits) {
            return Data::Int(value);
        }
        if looks_like_float(&digits)
            && let Ok(value) = digits.parse::<f64>()
            && value.is_finite()
        {
            return Data::Float(value);
        }
    }
    if is_date(text) {
        return Data::Date(text.to_owned());
    }
    Data::Text(text.to_owned())
}

/// `2024-1-31`, alone or with a time after `T`, `t` or a space.
fn is_date(text: &str) -> bool {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if text.len() > 64 || digits(text) != 4 || !text[4..].starts_with('-') {
        return false;
    }
    let day_of = |date: &str| {
        let mut parts = date.splitn(3, '-');
        let mut part = || {
            parts
                .next()
                .filter(|part| part.len() <= 4 && digits(part) == part.len())?
                .parse()
                .ok()
        };
        chrono::NaiveDate::from_ymd_opt(part()? as i32, part()?, part()?)
    };
    match text.find(['T', 't', ' ']) {
        None => day_of(text).is_some(),
        Some(at) => day_of(&text[..at]).is_some() && is_time(&text[at + 1..], text[at..].starts_with(' ')),
    }
}

/// `15:4:5.678`, with `Z` or an offset after it unless it is `bare`.
fn is_time(text: &str, bare: bool) -> bool {
    let (clock, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let number = |text: &str, below: u32| {
        (1..=2).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|number| number < below)
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let zoned = match zone.strip_prefix(['+', '-']) {
        Some(offset) => offset
            .split_once(':')
            .is_some_and(|(hours, minutes)| number(hours, 24) && number(minutes, 60)),
        None => zone == "Z",
    };
    matches!(parts[..], [hour, minute, second] if number(hour, 24) && number(minute, 60) && number(second, 60))
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b.is_ascii_digit())
        && if bare { zone.is_empty() } else { zoned }
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    let value = i128::from(value);
    match negative {
        false => Some(value),
        true => (value <= 1 << 63).then_some(-value),
    }
}

fn looks_like_float(text: &str) -> bool {
    let body = text.trim_start_matches(['+', '-']);
    if text.len() - body.len() > 1 {
        return false;
    }
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], Some(&body[at + 1..])),
        None => (body, None),
    };
    let (whole, fraction) = mantissa
        .split_once('.')
        .map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let some = |part: &str| !part.is_empty() && digits(part);
    let mantissa_ok = match fraction {
        None => some(whole),
        Some(fraction) => digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()),
    };
    let exponent_ok = exponent.is_none_or(|exponent| some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
    mantissa_ok && exponent_ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::tree::{Node, Pos};

    /// What the scalar becomes as the value of an environment variable.
    fn env(text: &str) -> Option<String> {
        Node::new(resolve(text), Pos::default()).scalar_text()
    }

    #[test]
    fn scalars_in_an_environment() {
        for (written, read) in [
            ("0444", "292"),
            ("0o17", "15"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("1.10", "1.1"),
            ("1e3", "1000"),
            ("1_000", "1000"),
            ("089", "89"),
            ("on", "on"),
            ("yes", "yes"),
            ("True", "true"),
            ("-7", "-7"),
            ("1:30", "1:30"),
            ("1.2.3", "1.2.3"),
            ("-", "-"),
            ("0x", "0x"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(env(written).as_deref(), Some(read), "{written}");
        }
        assert_eq!(env("~"), None);
    }

    #[test]
    fn dates_are_dates() {
        for text in [
            "2024-01-31",
            "2024-1-1",
            "2024-01-01T10:00:00Z",
            "2024-01-01t1:2:3.5+02:00",
            "2024-01-01 10:00:00",
        ] {
            assert!(matches!(resolve(text), Data::Date(_)), "{text}");
        }
        for text in [
            "2024-13-01",
            "2024-01-01T10:00:00",
            "2024-01",
            "12024-01-01",
            "2024-01-01-x",
            "2024-02-30",
            "2024-é-1",
        ] {
            assert!(matches!(resolve(text), Data::Text(_)), "{text}");
        }
    }
}
