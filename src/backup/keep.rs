use std::collections::BTreeMap;

use chrono::{Datelike, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::config::Keep;
use crate::model::{Generation, Timestamp};

/// Why a snapshot stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Only another set's snapshots may go this time.
    OtherSet,
    /// Its set is not in arkwright.yaml, so nothing says how long it stays.
    UnknownSet,
    /// Something of it is missing, and it would stay were it whole, or no newer one of its set is.
    NotWhole,
    /// `keep` asks for nothing, so nothing goes.
    Everything,
    /// Of its set; it stays whatever `keep` says.
    Newest,
    Last,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// Which part of the calendar a time lies in; two times of the same part compare equal.
type Part = (i32, u32, u32, i32);

impl Reason {
    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Reason::OtherSet => "another set's",
            Reason::UnknownSet => "its set is not in arkwright.yaml",
            Reason::NotWhole => "not whole",
            Reason::Everything => "nothing is said of keeping",
            Reason::Newest => "newest",
            Reason::Last => "last",
            Reason::Hourly => "hourly",
            Reason::Daily => "daily",
            Reason::Weekly => "weekly",
            Reason::Monthly => "monthly",
            Reason::Yearly => "yearly",
        }
    }

    /// `None` where every snapshot counts for itself.
    fn part(self, at: Timestamp, zone: Tz) -> Option<Part> {
        let local = at.with_timezone(&zone);
        let day = local.ordinal();
        match self {
            Reason::OtherSet
            | Reason::UnknownSet
            | Reason::NotWhole
            | Reason::Everything
            | Reason::Newest
            | Reason::Last => None,
            // An hour that comes twice when summer ends is two.
            Reason::Hourly => {
                let offset = local.naive_local().signed_duration_since(local.naive_utc());
                let offset = i32::try_from(offset.num_seconds()).unwrap_or_default();
                Some((local.year(), day, local.hour(), offset))
            }
            Reason::Daily => Some((local.year(), day, 0, 0)),
            Reason::Weekly => Some((local.iso_week().year(), local.iso_week().week(), 0, 0)),
            Reason::Monthly => Some((local.year(), local.month(), 0, 0)),
            Reason::Yearly => Some((local.year(), 0, 0, 0)),
        }
    }
}

/// Why each snapshot of one set stays; those without a reason go.
///
/// The newest is the highest generation, whatever a clock that was wrong said of when it was taken. Of each part of the calendar the newest stays, for as many parts as there are to be that have a snapshot at all:
/// a host that was off for a month loses nothing for it.
pub fn kept(keep: &Keep, zone: Tz, taken: &BTreeMap<Generation, Timestamp>) -> BTreeMap<Generation, Vec<Reason>> {
    let newest_first: Vec<(Timestamp, Generation)> = taken.iter().rev().map(|(at, taken)| (*taken, *at)).collect();
    let mut reasons: BTreeMap<Generation, Vec<Reason>> = taken.keys().map(|at| (*at, Vec::new())).collect();
    let mut stays = |generation: Generation, reason| reasons.entry(generation).or_default().push(reason);
    let rules = [
        (Reason::Last, keep.last),
        (Reason::Hourly, keep.hourly),
        (Reason::Daily, keep.daily),
        (Reason::Weekly, keep.weekly),
        (Reason::Monthly, keep.monthly),
        (Reason::Yearly, keep.yearly),
    ];
    if rules.iter().all(|(_, most)| most.is_none()) {
        newest_first.iter().for_each(|(_, at)| stays(*at, Reason::Everything));
        return reasons;
    }
    if let Some((_, newest)) = newest_first.first() {
        stays(*newest, Reason::Newest);
    }
    for (reason, most) in rules {
        let mut before = None;
        let mut left = most.unwrap_or(0);
        for (taken, generation) in &newest_first {
            let part = reason.part(*taken, zone);
            if left == 0 {
                break;
            }
            if part.is_none() || part != before {
                stays(*generation, reason);
                left -= 1;
            }
            before = part;
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;

    use super::*;

    const BERLIN: Tz = Tz::Europe__Berlin;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    fn staying(keep: &Keep, zone: Tz, times: &[&str]) -> Vec<u64> {
        let taken = times
            .iter()
            .enumerate()
            .map(|(n, text)| (Generation(n as u64 + 1), at(text)));
        let kept = kept(keep, zone, &taken.collect());
        kept.into_iter()
            .filter(|(_, why)| !why.is_empty())
            .map(|(at, _)| at.0)
            .collect()
    }

    #[test]
    fn the_newest_of_each_part_of_the_calendar_stays() {
        let times = [
            "2026-01-30T01:00:00Z",
            "2026-02-01T01:00:00Z",
            "2026-02-01T23:30:00Z",
            "2026-02-02T01:00:00Z",
            "2026-02-02T02:00:00Z",
        ];
        let daily = Keep {
            daily: Some(2),
            ..Keep::default()
        };
        // Half past eleven in the evening is the next day in Berlin.
        assert_eq!(staying(&daily, Tz::UTC, &times), [3, 5]);
        assert_eq!(staying(&daily, BERLIN, &times), [2, 5]);
        let monthly = Keep {
            last: Some(1),
            monthly: Some(12),
            ..Keep::default()
        };
        assert_eq!(staying(&monthly, BERLIN, &times), [1, 5]);
        let none = Keep {
            last: Some(0),
            ..Keep::default()
        };
        assert_eq!(staying(&none, BERLIN, &times), [5], "the newest whatever is asked");
        let last = Keep {
            last: Some(1),
            ..Keep::default()
        };
        let clock_was_ahead = ["2026-02-01T01:00:00Z", "2026-03-30T01:00:00Z", "2026-02-03T01:00:00Z"];
        assert_eq!(staying(&last, BERLIN, &clock_was_ahead), [3]);
        assert_eq!(
            staying(&Keep::default(), BERLIN, &times),
            [1, 2, 3, 4, 5],
            "nothing is asked"
        );
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_and_a_week_is_one_over_new_year() {
        let hourly = Keep {
            hourly: Some(9),
            ..Keep::default()
        };
        let fold = ["2026-10-25T00:30:00Z", "2026-10-25T00:45:00Z", "2026-10-25T01:30:00Z"];
        assert_eq!(staying(&hourly, BERLIN, &fold), [2, 3]);
        let weekly = Keep {
            weekly: Some(9),
            ..Keep::default()
        };
        let week = ["2026-12-27T12:00:00Z", "2026-12-28T12:00:00Z", "2027-01-02T12:00:00Z"];
        assert_eq!(staying(&weekly, BERLIN, &week), [1, 3]);
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        let some = || proptest::option::of(0u32..5);
        (some(), some(), some(), some(), some(), some()).prop_map(|(last, hourly, daily, weekly, monthly, yearly)| {
            Keep {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
            }
        })
    }

    proptest! {
        #[test]
        fn the_newest_stays_and_whoever_asks_again_hears_the_same(
            keep in keeps(),
            hours in proptest::collection::vec(0i64..20_000, 1..40),
        ) {
            let taken: BTreeMap<Generation, Timestamp> = hours
                .iter()
                .enumerate()
                .map(|(n, hour)| (Generation(n as u64 + 1), at("2026-01-01T00:00:00Z") + TimeDelta::hours(*hour)))
                .collect();
            let told = kept(&keep, BERLIN, &taken);
            prop_assert_eq!(told.len(), taken.len());
            let newest = taken.keys().next_back().expect("one");
            prop_assert!(!told[newest].is_empty());
            let stay: BTreeSet<Generation> = told.iter().filter(|(_, why)| !why.is_empty()).map(|(at, _)| *at).collect();
            let left: BTreeMap<_, _> = taken.into_iter().filter(|(at, _)| stay.contains(at)).collect();
            let again = kept(&keep, BERLIN, &left);
            prop_assert!(again.values().all(|why| !why.is_empty()), "what stayed stays: {:?}", again);
            for (reason, most) in [(Reason::Last, keep.last), (Reason::Daily, keep.daily), (Reason::Yearly, keep.yearly)] {
                let of = told.values().filter(|why| why.contains(&reason)).count();
                prop_assert!(of <= most.unwrap_or(0) as usize);
            }
        }
    }
}
