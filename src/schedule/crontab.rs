use std::str::FromStr;

use chrono::{Days, NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

use crate::model::Timestamp;

/// A crontab(5) line: minute, hour, day of month, month, day of week.
///
/// The `cron` crate reads the fields; what it means otherwise is put right here: five fields rather than six, 0 and 7
/// are Sunday, and where both day fields are restricted a day fits when either does (POSIX crontab).
#[derive(Clone, Debug)]
pub struct Crontab {
    text: String,
    /// One line, or two of which either may fit.
    lines: Vec<cron::Schedule>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{line}` is not a crontab line: {why}")]
pub struct NotACrontab {
    line: String,
    why: String,
}

const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// How far ahead a line is searched: past the next leap day, and the one after a skipped century's.
const HORIZON_DAYS: u64 = 9 * 366;

impl FromStr for Crontab {
    type Err = NotACrontab;

    fn from_str(text: &str) -> Result<Self, NotACrontab> {
        let refuse = |why: String| NotACrontab {
            line: text.to_owned(),
            why,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(refuse(format!(
                "it has {} fields, not 5 (minute hour day month weekday)",
                fields.len()
            )));
        };
        let values =
            |at: usize, field: &str| expand(field, at).map_err(|why| refuse(format!("{}: {why}", FIELDS[at].0)));
        let (minutes, hours, days, months) = (values(0, minute)?, values(1, hour)?, values(2, day)?, values(3, month)?);
        let weekdays: Vec<u32> = values(4, weekday)?.into_iter().map(|d| d % 7 + 1).collect();
        let line = |days: &str, weekdays: &str| {
            let text = format!(
                "0 {} {} {days} {} {weekdays}",
                join(&minutes),
                join(&hours),
                join(&months)
            );
            cron::Schedule::from_str(&text).map_err(|e| refuse(e.to_string()))
        };
        let lines = match (day.starts_with('*'), weekday.starts_with('*')) {
            (false, false) => vec![line(&join(&days), "*")?, line("*", &join(&weekdays))?],
            _ => vec![line(&join(&days), &join(&weekdays))?],
        };
        Ok(Crontab {
            text: text.to_owned(),
            lines,
        })
    }
}

impl Crontab {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first instant after `now` the line names in `zone`; `None` for a day that never comes (30 February).
    ///
    /// A time that a clock change skips is run once, at the first minute after the gap; one that comes twice is run the
    /// first time.
    pub fn next_after(&self, now: Timestamp, zone: Tz) -> Option<Timestamp> {
        let local = now.with_timezone(&zone).naive_local();
        // A fold can put a due local time before `local`, so the search begins a day early and drops what is past.
        let from = local.checked_sub_days(Days::new(1))?;
        let until = local.checked_add_days(Days::new(HORIZON_DAYS))?;
        let first = |line: &cron::Schedule| {
            line.after(&from.and_utc())
                .map(|due| due.naive_utc())
                .take_while(|due| *due <= until)
                .map(|due| instant(due, zone))
                .find(|due| *due > now)
        };
        self.lines.iter().filter_map(first).min()
    }
}

/// A local time as an instant: the first after a gap, the earlier in a fold.
fn instant(local: NaiveDateTime, zone: Tz) -> Timestamp {
    let mut probe = local;
    loop {
        if let Some(found) = zone.from_local_datetime(&probe).earliest() {
            return found.to_utc();
        }
        probe += TimeDelta::minutes(1);
    }
}

/// `1-5`, `*/7`, `mon,wed`, `10-20/2` as the values meant.
fn expand(field: &str, at: usize) -> Result<Vec<u32>, String> {
    let (_, low, high) = FIELDS[at];
    let mut values = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().map_err(|_| format!("`{step}` is not a step"))?),
            None => (part, 1u32),
        };
        if step == 0 {
            return Err("a step of 0 never gets anywhere".into());
        }
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (low, if at == 4 { 6 } else { high }),
            Some((from, to)) => (value(from, at)?, value(to, at)?),
            None if part.contains('/') => return Err(format!("`{part}`: a step needs `*` or a range before it")),
            None => (value(range, at)?, value(range, at)?),
        };
        if from > to {
            return Err(format!("`{range}` runs backwards"));
        }
        values.extend((from..=to).step_by(step as usize));
    }
    Ok(values)
}

fn value(text: &str, at: usize) -> Result<u32, String> {
    let (_, low, high) = FIELDS[at];
    let lower = text.to_ascii_lowercase();
    let named = match at {
        3 => MONTHS.iter().position(|m| *m == lower).map(|p| p as u32 + 1),
        4 => DAYS.iter().position(|d| *d == lower).map(|p| p as u32),
        _ => None,
    };
    let number = named.or_else(|| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    });
    number
        .filter(|n| (low..=high).contains(n))
        .ok_or_else(|| format!("`{text}` is not between {low} and {high}"))
}

fn join(values: &[u32]) -> String {
    values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    /// The first `count` runs after `from`, in local time with its offset.
    fn runs(line: &str, zone: Tz, from: &str, count: usize) -> Vec<String> {
        let crontab: Crontab = line.parse().expect("a crontab line");
        let mut now = DateTime::parse_from_rfc3339(from).expect("a time").to_utc();
        (0..count)
            .map(|_| {
                now = crontab.next_after(now, zone).expect("a next run");
                now.with_timezone(&zone).format("%a %Y-%m-%d %H:%M %z").to_string()
            })
            .collect()
    }

    #[test]
    fn the_operators_five_lines() {
        let zone = chrono_tz::Asia::Taipei;
        let from = "2026-11-20T12:00:00+08:00";
        for (line, expected) in [
            ("0 2 * * *", "Sat 2026-11-21 02:00 +0800"),
            ("0 3 * * *", "Sat 2026-11-21 03:00 +0800"),
            ("0 4 * * *", "Sat 2026-11-21 04:00 +0800"),
            ("0 1 * * 0", "Sun 2026-11-22 01:00 +0800"),
            ("0 0 1 * *", "Tue 2026-12-01 00:00 +0800"),
        ] {
            assert_eq!(runs(line, zone, from, 1), [expected], "{line}");
        }
    }

    #[test]
    fn zero_and_seven_are_sunday_and_names_count_from_sunday() {
        let from = "2026-11-20T00:00:00Z";
        for line in ["5 6 * * 0", "5 6 * * 7", "5 6 * * sun", "5 6 * * SUN"] {
            assert_eq!(
                runs(line, Tz::UTC, from, 2),
                ["Sun 2026-11-22 06:05 +0000", "Sun 2026-11-29 06:05 +0000"]
            );
        }
        assert_eq!(runs("0 0 * * 1", Tz::UTC, from, 1), ["Mon 2026-11-23 00:00 +0000"]);
        assert_eq!(
            runs("0 0 * * 5-7", Tz::UTC, "2026-11-20T00:00:00Z", 2)[..],
            ["Sat 2026-11-21 00:00 +0000", "Sun 2026-11-22 00:00 +0000"]
        );
    }

    #[test]
    fn with_both_day_fields_either_fits() {
        let due = runs("0 0 13 * 5", Tz::UTC, "2026-11-01T00:00:00Z", 4);
        assert_eq!(due[0], "Fri 2026-11-06 00:00 +0000");
        assert_eq!(
            runs("0 0 15 * 1", Tz::UTC, "2026-11-10T00:00:00Z", 2),
            ["Sun 2026-11-15 00:00 +0000", "Mon 2026-11-16 00:00 +0000"]
        );
    }

    #[test]
    fn a_skipped_time_runs_once_after_the_gap_and_a_doubled_one_once() {
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(
            runs("30 2 * * *", berlin, "2027-03-27T12:00:00+01:00", 2),
            ["Sun 2027-03-28 03:00 +0200", "Mon 2027-03-29 02:30 +0200"]
        );
        assert_eq!(
            runs("30 2 * * *", berlin, "2027-10-30T12:00:00+02:00", 2),
            ["Sun 2027-10-31 02:30 +0200", "Mon 2027-11-01 02:30 +0100"]
        );
        let new_york = chrono_tz::America::New_York;
        assert_eq!(
            runs("30 1 * * *", new_york, "2026-10-31T12:00:00-04:00", 2),
            ["Sun 2026-11-01 01:30 -0400", "Mon 2026-11-02 01:30 -0500"]
        );
    }

    #[test]
    fn steps_leap_days_and_days_that_never_come() {
        assert_eq!(
            runs("*/25 * * * *", Tz::UTC, "2026-01-01T00:51:00Z", 3),
            [
                "Thu 2026-01-01 01:00 +0000",
                "Thu 2026-01-01 01:25 +0000",
                "Thu 2026-01-01 01:50 +0000"
            ]
        );
        assert_eq!(
            runs("0 0 29 2 *", Tz::UTC, "2026-11-20T00:00:00Z", 1),
            ["Tue 2028-02-29 00:00 +0000"]
        );
        let never: Crontab = "0 0 30 2 *".parse().expect("a line");
        assert_eq!(never.next_after(Timestamp::UNIX_EPOCH, Tz::UTC), None);
    }

    #[test]
    fn what_is_no_crontab_line_says_why() {
        for (line, why) in [
            ("* * * *", "4 fields"),
            ("0 0 2 * * *", "6 fields"),
            ("60 * * * *", "minute: `60` is not between 0 and 59"),
            ("0 25 * * *", "hour"),
            ("0 0 0 * *", "day of month"),
            ("0 0 * 13 *", "month"),
            ("0 0 * * 8", "day of week"),
            ("*/0 * * * *", "never gets anywhere"),
            ("5-1 * * * *", "backwards"),
            ("+5 * * * *", "minute"),
            ("5/2 * * * *", "needs `*` or a range"),
        ] {
            let error = line.parse::<Crontab>().expect_err(line).to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[0-9*/,a-z -]{0,20}") {
            if let Ok(crontab) = line.parse::<Crontab>() {
                let now = DateTime::parse_from_rfc3339("2027-03-28T00:30:00Z").expect("a time").to_utc();
                prop_assert!(crontab.next_after(now, chrono_tz::Europe::Berlin).is_none_or(|due| due > now));
            }
        }
    }
}
