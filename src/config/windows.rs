use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schedule::{Calendar, Freeze, Window, Zone};

/// What holds for the releases of every service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Releases {
    /// `deploy` begins in one of these only; any time where there are none.
    pub windows: Vec<WindowConfig>,
    /// `deploy` begins in none of these, whatever the windows say.
    pub freezes: Vec<FreezeConfig>,
    /// A program and its arguments that is told of emergencies: JSON on its standard input.
    pub notify: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// The days it opens on; every day where none is said.
    #[serde(default)]
    pub days: Vec<Day>,
    /// `02:00`
    pub from: String,
    /// `04:00`, on the next day where that is not after `from`; `24:00` is the end of the day.
    pub to: String,
    /// `Asia/Taipei` or `+08:00`; the file's own `timezone` where nothing is said.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Zone>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeConfig {
    /// `2026-12-24`, or with a time of day: `2026-12-24 18:00`.
    pub from: String,
    /// The last day of it, `2026-12-27`; with a time of day the moment it ends, `2026-12-27 12:00`.
    pub to: String,
    pub reason: String,
    /// Who froze it, for those who are refused.
    #[serde(default)]
    pub by: Option<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub timezone: Option<Zone>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Mon,
            Day::Tue => Weekday::Tue,
            Day::Wed => Weekday::Wed,
            Day::Thu => Weekday::Thu,
            Day::Fri => Weekday::Fri,
            Day::Sat => Weekday::Sat,
            Day::Sun => Weekday::Sun,
        }
    }
}

impl Releases {
    /// The key that is wrong, and what is wrong about it, where something is.
    pub fn calendar(&self, zone: Zone) -> Result<Calendar, (&'static str, String)> {
        let windows = self.windows.iter().map(|window| window.checked(zone));
        let freezes = self.freezes.iter().map(|freeze| freeze.checked(zone));
        Ok(Calendar {
            windows: windows.collect::<Result<_, _>>().map_err(|why| ("windows", why))?,
            freezes: freezes.collect::<Result<_, _>>().map_err(|why| ("freezes", why))?,
        })
    }
}

impl WindowConfig {
    fn checked(&self, zone: Zone) -> Result<Window, String> {
        let from = time(&self.from)?;
        let to = match self.to.as_str() {
            "24:00" => NaiveTime::MIN,
            other => time(other)?,
        };
        if from == to && self.to != "24:00" {
            return Err(format!(
                "a window from {0} to {0} is empty; a whole day is from 00:00 to 24:00",
                self.from
            ));
        }
        let days = match self.days.is_empty() {
            true => &Day::ALL[..],
            false => &self.days,
        };
        Ok(Window {
            days: days.iter().map(|day| day.weekday()).collect(),
            from,
            to,
            zone: self.timezone.unwrap_or(zone),
        })
    }
}

impl FreezeConfig {
    fn checked(&self, zone: Zone) -> Result<Freeze, String> {
        let zone = self.timezone.unwrap_or(zone);
        let from = match moment(&self.from)? {
            Moment::Day(day) => day.and_time(NaiveTime::MIN),
            Moment::Time(time) => time,
        };
        let to = match moment(&self.to)? {
            Moment::Day(day) => {
                let next = day.checked_add_days(Days::new(1));
                next.ok_or_else(|| not_a_day(&self.to))?.and_time(NaiveTime::MIN)
            }
            Moment::Time(time) => time,
        };
        if to <= from {
            return Err(format!("a freeze from {} to {} is empty", self.from, self.to));
        }
        if self.reason.trim().is_empty() {
            return Err("a freeze has a `reason`, for those who are refused".into());
        }
        Ok(Freeze {
            from: zone.instant(from),
            to: zone.instant(to),
            reason: self.reason.clone(),
            by: self.by.clone(),
            zone,
        })
    }
}

enum Moment {
    Day(NaiveDate),
    Time(NaiveDateTime),
}

/// Years whose instants every zone can tell.
const YEARS: std::ops::Range<i32> = 1970..2600;

fn moment(text: &str) -> Result<Moment, String> {
    use chrono::Datelike;

    let (day, rest) = text.split_at_checked(10).ok_or_else(|| not_a_day(text))?;
    let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| not_a_day(text))?;
    if !YEARS.contains(&day.year()) {
        return Err(not_a_day(text));
    }
    match rest.strip_prefix([' ', 'T']) {
        None if rest.is_empty() => Ok(Moment::Day(day)),
        None => Err(not_a_day(text)),
        Some(rest) => Ok(Moment::Time(day.and_time(time(rest)?))),
    }
}

fn time(text: &str) -> Result<NaiveTime, String> {
    let refuse = || format!("`{}` is not a time of day like 02:00", short(text));
    if text.len() != 5 {
        return Err(refuse());
    }
    NaiveTime::parse_from_str(text, "%H:%M").map_err(|_| refuse())
}

fn not_a_day(text: &str) -> String {
    format!(
        "`{}` is not a day like 2026-12-24, with or without a time like 18:00",
        short(text)
    )
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(yaml: &str) -> Result<Calendar, String> {
        let releases: Releases = serde_yaml::from_str(yaml).map_err(|e| e.to_string())?;
        let zone = "Asia/Taipei".parse().expect("a zone");
        releases.calendar(zone).map_err(|(key, why)| format!("{key}: {why}"))
    }

    #[test]
    fn windows_and_freezes_are_read_in_the_files_zone_or_their_own() {
        let calendar = read(
            "windows: [{ days: [sun], from: \"02:00\", to: \"04:00\" }, { from: \"22:00\", to: \"24:00\", timezone: \"-03:00\" }]\n\
             freezes: [{ from: 2026-12-24, to: 2026-12-27, reason: holidays, by: maria }, \
             { from: 2026-12-30 18:00, to: 2026-12-31T06:00, reason: close }]",
        )
        .expect("a calendar");
        assert_eq!(calendar.windows[0].days, [Weekday::Sun]);
        assert_eq!(calendar.windows[0].zone.to_string(), "Asia/Taipei");
        assert_eq!(calendar.windows[1].days.len(), 7);
        assert_eq!(calendar.windows[1].zone.to_string(), "-03:00");
        let told: Vec<(String, String)> = calendar
            .freezes
            .iter()
            .map(|freeze| (freeze.zone.shown(freeze.from), freeze.zone.shown(freeze.to)))
            .collect();
        assert_eq!(
            told,
            [
                ("Thu 2026-12-24 00:00 +08:00", "Mon 2026-12-28 00:00 +08:00"),
                ("Wed 2026-12-30 18:00 +08:00", "Thu 2026-12-31 06:00 +08:00"),
            ]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
        );
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        for (yaml, why) in [
            ("windows: [{ from: \"2:00\", to: \"04:00\" }]", "`2:00` is not a time"),
            ("windows: [{ from: \"24:00\", to: \"04:00\" }]", "`24:00` is not a time"),
            ("windows: [{ from: \"04:00\", to: \"04:00\" }]", "empty"),
            (
                "windows: [{ days: [someday], from: \"02:00\", to: \"04:00\" }]",
                "someday",
            ),
            (
                "windows: [{ from: \"02:00\", to: \"04:00\", timezone: Mars }]",
                "no time zone",
            ),
            ("freezes: [{ from: 2026-12-27, to: 2026-12-24, reason: x }]", "empty"),
            (
                "freezes: [{ from: 2026-13-27, to: 2026-12-24, reason: x }]",
                "not a day",
            ),
            (
                "freezes: [{ from: 2026-12-24, to: 2026-12-24, reason: \" \" }]",
                "reason",
            ),
            (
                "freezes: [{ from: 2026-12-24, to: 9999-12-31, reason: x }]",
                "not a day",
            ),
        ] {
            let error = read(yaml).expect_err(yaml);
            assert!(error.contains(why), "{yaml}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(from in ".{0,18}", to in "[0-9: T-]{0,18}", zone in 0..2u8) {
            let zone = [Some("Europe/Berlin"), None][usize::from(zone)].map(|zone| zone.parse().expect("a zone"));
            let freeze = FreezeConfig { from: from.clone(), to: to.clone(), reason: "x".into(), by: None, timezone: zone };
            let window = WindowConfig { days: vec![], from, to, timezone: zone };
            let releases = Releases { windows: vec![window], freezes: vec![freeze], ..Releases::default() };
            if let Ok(calendar) = releases.calendar("UTC".parse().expect("a zone")) {
                calendar.at(crate::model::Timestamp::UNIX_EPOCH);
            }
        }
    }
}
