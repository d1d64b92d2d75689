use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::model::Timestamp;

/// The time a database holds: ISO 8601 with its zone, `YYYY-MM-DD HH:MM:SS` in UTC as SQLite writes it, a date
/// alone, or seconds since 1970, whole or not.
pub fn parse_instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(zoned) = DateTime::parse_from_rfc3339(text) {
        return Some(zoned.to_utc());
    }
    for shape in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(zoned) = DateTime::parse_from_str(text, shape) {
            return Some(zoned.to_utc());
        }
    }
    for shape in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(plain) = NaiveDateTime::parse_from_str(text, shape) {
            return Some(plain.and_utc());
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    seconds(text)
}

fn seconds(text: &str) -> Option<Timestamp> {
    instant_of_seconds(text.parse().ok()?)
}

/// Seconds since 1970, to the millisecond; none after the year 9999.
pub fn instant_of_seconds(seconds: f64) -> Option<Timestamp> {
    // Beyond the year 9999 it is not seconds, and `inf` is nothing.
    if !(0.0..253_402_300_800.0).contains(&seconds) {
        return None;
    }
    DateTime::from_timestamp_millis((seconds * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_forms_databases_hold() {
        let noon = DateTime::from_timestamp(1_795_262_400, 0).expect("a time");
        for text in [
            "2026-11-21T12:00:00Z",
            "2026-11-21T12:00:00.000Z",
            "2026-11-21T20:00:00+08:00",
            "2026-11-21 20:00:00+08",
            "2026-11-21 12:00:00",
            "2026-11-21T12:00:00",
            "2026-11-21 12:00",
            " 1795262400 ",
            "1795262400.0",
        ] {
            assert_eq!(parse_instant(text), Some(noon), "{text}");
        }
        assert_eq!(parse_instant("2026-11-21").map(|t| t.timestamp()), Some(1_795_219_200));
        for bad in ["", "soon", "2026-13-01", "-1", "inf", "nan", "1795262400000000"] {
            assert_eq!(parse_instant(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            prop_assert!(parse_instant(&text).is_none_or(|t| t.timestamp() < i64::MAX));
        }
    }
}
