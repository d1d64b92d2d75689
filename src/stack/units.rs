//! Sizes and lengths of time as Compose reads and writes them.

use crate::model::{Size, Span};

/// Bytes of `512m`, `1.5 GiB` or `1p`; `None` when it is no size.
pub(super) fn bytes(text: &str) -> Option<u64> {
    if let Ok(Size(bytes)) = text.parse() {
        return Some(bytes);
    }
    let lower = text.to_ascii_lowercase();
    let number = ["pib", "pb", "p"].iter().find_map(|unit| lower.strip_suffix(unit))?;
    let Size(bytes) = format!("{}t", number.trim_end()).parse().ok()?;
    bytes.checked_mul(1024)
}

/// A length of time; weeks, which only Compose knows, are seven days.
pub(super) fn length(text: &str) -> Option<Span> {
    let Some((weeks, rest)) = text.split_once('w') else {
        return text.parse().ok();
    };
    let days = weeks.parse::<u32>().ok()?.checked_mul(7)?;
    format!("{days}d{rest}").parse().ok()
}

/// `1h0m5.5s`: as Compose writes it.
pub(super) fn written(span: Span) -> String {
    const SECOND: u64 = 1_000_000_000;
    let nanos = span.nanos().unsigned_abs();
    let (seconds, rest) = (nanos / SECOND, nanos % SECOND);
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
            _ => format!("{}ms", decimal(nanos, 1_000_000)),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = format!("{}s", decimal(seconds % 60 * SECOND + rest, SECOND));
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, _) => format!("{minutes}m{seconds}"),
        _ => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// `value / unit` with as many decimals as there are.
fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_compose_writes_them() {
        for (text, result) in [
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1h1m1.001s", "1h1m1.001s"),
            ("1500ms", "1.5s"),
            ("10us", "10µs"),
            ("1500us", "1.5ms"),
            ("7ns", "7ns"),
            ("1w1d", "192h0m0s"),
            ("0s", "0s"),
        ] {
            assert_eq!(length(text).map(written).as_deref(), Some(result), "{text}");
        }
        for text in ["1", "w", "1x", "5w6"] {
            assert_eq!(length(text), None, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, size) in [
            ("1k", Some(1 << 10)),
            ("2p", Some(2 << 50)),
            ("1 PiB", Some(1 << 50)),
            ("x", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
