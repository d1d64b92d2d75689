use std::collections::BTreeMap;

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

use super::Crontab;

/// What is remembered of every schedule between two starts of the agent.
///
/// However many runs were missed while nobody was there, one makes up for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    format: u32,
    schedules: BTreeMap<String, Remembered>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    line: String,
    /// Runs due up to here have been seen to.
    since: Timestamp,
    /// When the schedule's order last did what it should, whoever gave it.
    good: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("it is not the agent's memory of schedules")]
    Garbled(#[from] serde_json::Error),
    #[error("it was written by a newer arkwright (format {0}, this one knows {FORMAT})")]
    Newer(u32),
}

const FORMAT: u32 = 1;

/// A memory further ahead than this was made while the host's clock was wrong.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

impl Default for Memory {
    fn default() -> Self {
        Memory {
            format: FORMAT,
            schedules: BTreeMap::new(),
        }
    }
}

impl Memory {
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let Versioned { format } = serde_json::from_slice(bytes)?;
        if format != FORMAT {
            return Err(Unreadable::Newer(format));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Takes note of a schedule; one that is new, or whose line was changed, counts from `now` on, so nothing fires at
    /// once. Says whether that changed anything.
    pub fn meet(&mut self, name: &str, line: &Crontab, now: Timestamp) -> bool {
        let known = self.schedules.get_mut(name);
        if let Some(known) = known {
            if known.line == line.as_str() && known.since <= now + AHEAD {
                return false;
            }
            known.line = line.as_str().to_owned();
            known.since = now;
            return true;
        }
        let remembered = Remembered {
            line: line.as_str().to_owned(),
            since: now,
            good: None,
        };
        self.schedules.insert(name.to_owned(), remembered);
        true
    }

    /// Forgets the schedules that are no longer there; whether there were any.
    pub fn keep(&mut self, names: &[String]) -> bool {
        let before = self.schedules.len();
        self.schedules.retain(|name, _| names.contains(name));
        self.schedules.len() < before
    }

    /// The next run, in the past where one was missed.
    pub fn next(&self, name: &str, line: &Crontab, zone: Tz) -> Option<Timestamp> {
        line.next_after(self.schedules.get(name)?.since, zone)
    }

    /// Everything due up to `now` has been seen to.
    pub fn seen_to(&mut self, name: &str, now: Timestamp) {
        if let Some(known) = self.schedules.get_mut(name) {
            known.since = now;
        }
    }

    pub fn succeeded(&mut self, name: &str, at: Timestamp) {
        if let Some(known) = self.schedules.get_mut(name) {
            known.good = Some(known.good.map_or(at, |before| before.max(at)));
        }
    }

    pub fn last_good(&self, name: &str) -> Option<Timestamp> {
        self.schedules.get(name)?.good
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::*;

    const BERLIN: Tz = chrono_tz::Europe::Berlin;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
    }

    fn line(text: &str) -> Crontab {
        text.parse().expect("a crontab line")
    }

    #[test]
    fn the_first_start_waits_for_the_next_run() {
        let (mut memory, nightly) = (Memory::default(), line("0 2 * * *"));
        assert!(memory.meet("back up database", &nightly, at("2026-11-20T12:00:00+01:00")));
        assert!(!memory.meet("back up database", &nightly, at("2026-11-20T12:01:00+01:00")));
        let next = memory.next("back up database", &nightly, BERLIN);
        assert_eq!(next, Some(at("2026-11-21T02:00:00+01:00")));
    }

    #[test]
    fn many_missed_runs_are_made_up_for_by_one() {
        let (mut memory, nightly) = (Memory::default(), line("0 2 * * *"));
        memory.meet("x", &nightly, at("2026-11-20T12:00:00+01:00"));
        let back = at("2026-11-27T09:00:00+01:00");
        let memory = &mut Memory::parse(&serde_json::to_vec(&memory).expect("JSON")).expect("reads back");
        assert!(memory.next("x", &nightly, BERLIN).is_some_and(|due| due <= back));
        memory.seen_to("x", back);
        assert_eq!(
            memory.next("x", &nightly, BERLIN),
            Some(at("2026-11-28T02:00:00+01:00"))
        );
    }

    #[test]
    fn a_changed_line_and_a_clock_that_was_wrong_start_afresh() {
        let mut memory = Memory::default();
        memory.meet("x", &line("0 2 * * *"), at("2026-11-20T12:00:00Z"));
        memory.succeeded("x", at("2026-11-20T02:01:00Z"));
        let now = at("2026-11-25T12:00:00Z");
        assert!(memory.meet("x", &line("0 3 * * *"), now));
        assert!(
            memory
                .next("x", &line("0 3 * * *"), Tz::UTC)
                .is_some_and(|due| due > now)
        );
        assert_eq!(memory.last_good("x"), Some(at("2026-11-20T02:01:00Z")));

        memory.seen_to("x", at("2099-01-01T00:00:00Z"));
        assert!(memory.meet("x", &line("0 3 * * *"), now));
        assert_eq!(
            memory.next("x", &line("0 3 * * *"), Tz::UTC),
            Some(at("2026-11-26T03:00:00Z"))
        );
    }

    #[test]
    fn schedules_that_went_are_forgotten_and_newer_memories_refused() {
        let mut memory = Memory::default();
        memory.meet("gone", &line("0 2 * * *"), at("2026-11-20T12:00:00Z"));
        assert!(memory.keep(&["kept".to_owned()]));
        assert!(!memory.keep(&["kept".to_owned()]));
        assert_eq!(memory, Memory::default());
        assert!(matches!(
            Memory::parse(br#"{"format":2,"other":1}"#),
            Err(Unreadable::Newer(2))
        ));
        assert!(matches!(Memory::parse(b"{"), Err(Unreadable::Garbled(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(Memory::parse(&bytes).is_err());
        }
    }
}
