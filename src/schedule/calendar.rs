use chrono::{Datelike, Days, NaiveDateTime, NaiveTime, Weekday};

use crate::model::Timestamp;

use super::Zone;

/// When something may begin: inside a window where there are any, and in no freeze.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    pub windows: Vec<Window>,
    pub freezes: Vec<Freeze>,
}

/// A span of time that comes again on days of the week. Both ends are read as crontab times are: one that a clock change
/// skips is the first minute after the gap, one that comes twice is the first; a window that is all gap does not open.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The days it opens on.
    pub days: Vec<Weekday>,
    pub from: NaiveTime,
    /// On the next day where it is not after `from`.
    pub to: NaiveTime,
    pub zone: Zone,
}

/// A span of time in which nothing begins, whatever the windows say.
#[derive(Clone, Debug, PartialEq)]
pub struct Freeze {
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    pub reason: String,
    pub by: Option<String>,
    pub zone: Zone,
}

/// What a calendar says of a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Permission<'a> {
    /// No window is set, and nothing is frozen.
    Always,
    /// Until then; in the zone of the window that is open longest.
    Until(Timestamp, Zone),
    Frozen {
        freeze: &'a Freeze,
        next: Option<(Timestamp, Zone)>,
    },
    /// Outside every window; `None`: none opens within [`HORIZON_DAYS`].
    Closed { next: Option<(Timestamp, Zone)> },
}

/// How far ahead an opening is looked for.
pub const HORIZON_DAYS: u64 = 400;

impl Window {
    /// The times it is open, by the local day it opens on, from the day before `now` on; none is empty.
    fn openings(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        // Two days back: one over midnight may have opened the day before, and a fold moves a day by hours.
        let first = self.zone.local(now).date() - Days::new(2);
        let days = (0..HORIZON_DAYS + 2).map_while(move |day| first.checked_add_days(Days::new(day)));
        days.filter(|day| self.days.contains(&day.weekday()))
            .filter_map(move |day| {
                let last = match self.to > self.from {
                    true => day,
                    false => day.checked_add_days(Days::new(1))?,
                };
                let at = |day, time| self.zone.instant(NaiveDateTime::new(day, time));
                Some((at(day, self.from), at(last, self.to)))
            })
            .filter(|(opens, closes)| opens < closes)
    }

    fn closes(&self, now: Timestamp) -> Option<Timestamp> {
        let begun = self.openings(now).take_while(|(opens, _)| *opens <= now);
        begun.map(|(_, closes)| closes).filter(|closes| now < *closes).max()
    }

    /// Now, where it is open.
    fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let left = self.openings(now).find(|(_, closes)| now < *closes);
        left.map(|(opens, _)| opens.max(now))
    }
}

impl Freeze {
    pub fn covers(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// `frozen by maria until Mon 2026-12-28 00:00 +08:00: year-end close`
    pub fn told(&self) -> String {
        let by = self.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        format!("frozen{by} until {}: {}", self.zone.shown(self.to), self.reason)
    }
}

impl Calendar {
    pub fn at(&self, now: Timestamp) -> Permission<'_> {
        // The one that lasts longest says most.
        if let Some(freeze) = self.freezes.iter().filter(|f| f.covers(now)).max_by_key(|f| f.to) {
            let next = self.next_open(now);
            return Permission::Frozen { freeze, next };
        }
        if self.windows.is_empty() {
            return Permission::Always;
        }
        let open = self.windows.iter().filter_map(|w| Some((w.closes(now)?, w.zone)));
        match open.max_by_key(|(closes, _)| *closes) {
            Some((closes, zone)) => Permission::Until(closes, zone),
            None => Permission::Closed {
                next: self.next_open(now),
            },
        }
    }

    /// The first moment from `now` on that a window is open at and no freeze covers.
    fn next_open(&self, now: Timestamp) -> Option<(Timestamp, Zone)> {
        let mut at = now;
        // Every round passes the end of one freeze for good.
        for _ in 0..=self.freezes.len() {
            let openings = self.windows.iter().filter_map(|w| Some((w.next_open(at)?, w.zone)));
            let open = match self.windows.is_empty() {
                true => (at, self.freezes.first()?.zone),
                false => openings.min_by_key(|(opens, _)| *opens)?,
            };
            match self.freezes.iter().filter(|f| f.covers(open.0)).max_by_key(|f| f.to) {
                Some(freeze) => at = freeze.to,
                None => return Some(open),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Timelike};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    fn window(days: &[Weekday], from: &str, to: &str, zone: &str) -> Window {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").expect("a time");
        Window {
            days: days.to_vec(),
            from: time(from),
            to: time(to),
            zone: zone.parse().expect("a zone"),
        }
    }

    fn freeze(from: &str, to: &str) -> Freeze {
        Freeze {
            from: at(from),
            to: at(to),
            reason: "year-end close".into(),
            by: Some("maria".into()),
            zone: "+08:00".parse().expect("a zone"),
        }
    }

    fn of(windows: Vec<Window>, freezes: Vec<Freeze>) -> Calendar {
        Calendar { windows, freezes }
    }

    fn next(calendar: &Calendar, now: &str) -> Option<String> {
        match calendar.at(at(now)) {
            Permission::Closed { next } | Permission::Frozen { next, .. } => next.map(|(at, zone)| zone.shown(at)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_its_last() {
        let sunday = of(vec![window(&[Weekday::Sun], "02:00", "04:00", "+08:00")], vec![]);
        let closed = sunday.at(at("2026-11-22T01:59:59+08:00"));
        assert!(matches!(closed, Permission::Closed { .. }), "{closed:?}");
        for inside in ["2026-11-22T02:00:00+08:00", "2026-11-22T03:59:59+08:00"] {
            let open = sunday.at(at(inside));
            assert!(
                matches!(open, Permission::Until(until, _) if until == at("2026-11-22T04:00:00+08:00")),
                "{open:?}"
            );
        }
        assert_eq!(
            next(&sunday, "2026-11-22T04:00:00+08:00").as_deref(),
            Some("Sun 2026-11-29 02:00 +08:00")
        );
        assert_eq!(
            of(vec![], vec![]).at(at("2026-11-22T04:00:00+08:00")),
            Permission::Always
        );
    }

    #[test]
    fn a_window_over_midnight_is_of_the_day_it_opens_on() {
        let nights = of(
            vec![window(&[Weekday::Fri, Weekday::Sat], "23:00", "01:30", "Europe/Berlin")],
            vec![],
        );
        for (now, open) in [
            ("2026-11-20T22:59:00+01:00", false),
            ("2026-11-20T23:00:00+01:00", true),
            ("2026-11-22T01:29:00+01:00", true),
            ("2026-11-22T01:30:00+01:00", false),
            ("2026-11-20T00:30:00+01:00", false),
            ("2026-11-22T23:30:00+01:00", false),
        ] {
            assert_eq!(matches!(nights.at(at(now)), Permission::Until(..)), open, "{now}");
        }
    }

    #[test]
    fn clock_changes_move_a_window_and_may_swallow_it() {
        let berlin = |from, to| of(vec![window(&[Weekday::Sun], from, to, "Europe/Berlin")], vec![]);
        // 02:00 to 03:00 is not there on 2027-03-28.
        assert_eq!(
            next(&berlin("02:00", "02:45"), "2027-03-27T12:00:00+01:00").as_deref(),
            Some("Sun 2027-04-04 02:00 +02:00")
        );
        let cut = berlin("02:30", "04:00");
        assert_eq!(
            next(&cut, "2027-03-28T01:59:00+01:00").as_deref(),
            Some("Sun 2027-03-28 03:00 +02:00")
        );
        // 02:00 to 03:00 comes twice on 2027-10-31; both ends are the first.
        let doubled = berlin("01:00", "02:30");
        assert!(matches!(
            doubled.at(at("2027-10-31T02:29:00+02:00")),
            Permission::Until(..)
        ));
        assert!(matches!(
            doubled.at(at("2027-10-31T02:10:00+01:00")),
            Permission::Closed { .. }
        ));
    }

    #[test]
    fn a_freeze_says_who_why_and_when_the_next_window_after_it_opens() {
        let calendar = of(
            vec![window(&[Weekday::Sun], "02:00", "04:00", "+08:00")],
            vec![
                freeze("2026-12-24T00:00:00+08:00", "2026-12-28T00:00:00+08:00"),
                freeze("2027-01-01T00:00:00+08:00", "2027-01-04T00:00:00+08:00"),
            ],
        );
        let now = "2026-12-27T03:00:00+08:00";
        let Permission::Frozen { freeze, .. } = calendar.at(at(now)) else {
            panic!("it is frozen");
        };
        assert_eq!(
            freeze.told(),
            "frozen by maria until Mon 2026-12-28 00:00 +08:00: year-end close"
        );
        assert_eq!(next(&calendar, now).as_deref(), Some("Sun 2027-01-10 02:00 +08:00"));
        let no_window = of(vec![], calendar.freezes);
        assert_eq!(next(&no_window, now).as_deref(), Some("Mon 2026-12-28 00:00 +08:00"));
    }

    const ZONES: [&str; 6] = [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Taipei",
        "+05:45",
        "-03:00",
    ];
    const DAYS: [Weekday; 7] = [
        Weekday::Mon,
        Weekday::Tue,
        Weekday::Wed,
        Weekday::Thu,
        Weekday::Fri,
        Weekday::Sat,
        Weekday::Sun,
    ];

    prop_compose! {
        fn windows()(
            days in prop::collection::btree_set(0usize..7, 1..4),
            (from, to) in (0u32..1440, 0u32..1440).prop_filter("an empty one", |(from, to)| from != to),
            zone in 0usize..ZONES.len(),
        ) -> Window {
            let time = |minute: u32| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("a time");
            Window {
                days: days.into_iter().map(|day| DAYS[day]).collect(),
                from: time(from),
                to: time(to),
                zone: ZONES[zone].parse().expect("a zone"),
            }
        }
    }

    /// What the clock on the wall alone says; `None` near a change of clocks, where it says two things.
    fn by_the_wall(window: &Window, now: Timestamp) -> Option<bool> {
        let local = window.zone.local(now);
        let beside = |hours| window.zone.local(now + TimeDelta::hours(hours)) - local == TimeDelta::hours(hours);
        if ![-26, 26].into_iter().all(beside) {
            return None;
        }
        let (minute, today) = (local.num_seconds_from_midnight(), local.weekday());
        let (from, to) = (
            window.from.num_seconds_from_midnight(),
            window.to.num_seconds_from_midnight(),
        );
        Some(match from < to {
            true => window.days.contains(&today) && (from..to).contains(&minute),
            false => {
                (window.days.contains(&today) && minute >= from) || (window.days.contains(&today.pred()) && minute < to)
            }
        })
    }

    proptest! {
        #[test]
        fn open_is_what_the_clock_on_the_wall_says(window in windows(), minute in 0i64..1_100_000) {
            let now = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(minute);
            let open = matches!(of(vec![window.clone()], vec![]).at(now), Permission::Until(..));
            if let Some(expected) = by_the_wall(&window, now) {
                prop_assert_eq!(open, expected, "{:?} at {}", window, now);
            }
        }

        #[test]
        fn it_is_open_up_to_its_end_and_closed_up_to_its_beginning(
            windows in prop::collection::vec(windows(), 1..3),
            // Around the changes of clocks of 2026 and 2027, and between.
            day in prop::sample::select(vec![66i64, 87, 94, 276, 297, 304, 437, 451, 458, 640, 661, 668, 200]),
            minute in -2_880i64..2_880,
            (begins, lasts) in (-4_000i64..4_000, 1i64..6_000),
        ) {
            let start = at("2026-01-01T00:00:00Z") + TimeDelta::days(day);
            let now = start + TimeDelta::minutes(minute);
            let mut frozen = freeze("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
            frozen.from = start + TimeDelta::minutes(begins);
            frozen.to = frozen.from + TimeDelta::minutes(lasts);
            let calendar = of(windows, vec![frozen.clone()]);
            let may = |at| matches!(calendar.at(at), Permission::Until(..));
            match calendar.at(now) {
                Permission::Until(closes, _) => {
                    prop_assert!(now < closes && !frozen.covers(now));
                    let last = closes - TimeDelta::seconds(1);
                    prop_assert!(may(last) || frozen.covers(last), "open until its end");
                }
                Permission::Closed { next } | Permission::Frozen { next, .. } => {
                    let (next, _) = next.expect("one opens again");
                    prop_assert!(next > now && may(next), "{} at {}", next, now);
                    let mut probe = now;
                    while probe < next {
                        prop_assert!(!may(probe), "open already at {}, not only at {}", probe, next);
                        probe += TimeDelta::minutes(7);
                    }
                    prop_assert!(!may(next - TimeDelta::seconds(1)));
                }
                Permission::Always => prop_assert!(false, "it has windows"),
            }
        }
    }
}
