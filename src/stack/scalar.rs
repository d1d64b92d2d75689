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
            && let Ok(value) = digits.parse()
        {
            return Data::Float(value);
        }
    }
    Data::Text(text.to_owned())
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
            ("2024-01-01", "2024-01-01"),
            ("1.2.3", "1.2.3"),
            ("-", "-"),
            ("0x", "0x"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(env(written).as_deref(), Some(read), "{written}");
        }
        assert_eq!(env("~"), None);
    }
}
