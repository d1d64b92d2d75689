use std::collections::{BTreeMap, BTreeSet};

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::config::{Backups, Keep};
use crate::model::{Generation, Timestamp};

use super::{Reason, SegmentName, Snapshot, kept};

/// What snapshots of a store are judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// By set; snapshots of other sets stay.
    pub keep: BTreeMap<String, Keep>,
    /// The zone in which days, weeks and months begin.
    pub zone: Tz,
    /// Only snapshots of this set may go.
    pub only: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
#[error("there is no backup set `{0}`")]
pub struct NoSuchSet(String);

impl Rules {
    pub fn of(backups: &Backups, only: Option<&str>, zone: Tz) -> Result<Self, NoSuchSet> {
        if let Some(only) = only
            && !backups.sets.contains_key(only)
        {
            return Err(NoSuchSet(only.to_owned()));
        }
        let keep = backups
            .sets
            .iter()
            .map(|(set, config)| (set.clone(), config.keep.clone()));
        Ok(Rules {
            keep: keep.collect(),
            zone,
            only: only.map(str::to_owned),
        })
    }
}

/// One snapshot, and why it stays.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub generation: Generation,
    pub set: String,
    pub taken: Timestamp,
    /// Of its files, as restored.
    pub bytes: u64,
    /// None: it goes.
    pub stays: Vec<Reason>,
}

/// Judges every snapshot of a store, oldest generation first.
///
/// `missing` are those of which an object is gone or cut short: they take no whole one's place in what `keep` counts.
pub fn judge(rules: &Rules, snapshots: &[&Snapshot], missing: &BTreeSet<Generation>) -> Vec<Judged> {
    let mut sets: BTreeMap<&str, BTreeMap<Generation, Timestamp>> = BTreeMap::new();
    for snapshot in snapshots {
        let of = sets.entry(&snapshot.set).or_default();
        of.insert(snapshot.generation, snapshot.taken);
    }
    let mut stays: BTreeMap<Generation, Vec<Reason>> = BTreeMap::new();
    for (set, taken) in sets {
        stays.extend(match rules.keep.get(set) {
            _ if rules.only.as_deref().is_some_and(|only| only != set) => all(&taken, Reason::OtherSet),
            None => all(&taken, Reason::UnknownSet),
            Some(keep) => judge_set(keep, rules.zone, &taken, missing),
        });
    }
    let mut judged: Vec<Judged> = snapshots
        .iter()
        .map(|snapshot| Judged {
            generation: snapshot.generation,
            set: snapshot.set.clone(),
            taken: snapshot.taken,
            bytes: snapshot.totals.bytes,
            stays: stays.remove(&snapshot.generation).unwrap_or_default(),
        })
        .collect();
    judged.sort_by_key(|judged| judged.generation);
    judged
}

fn all(taken: &BTreeMap<Generation, Timestamp>, reason: Reason) -> BTreeMap<Generation, Vec<Reason>> {
    taken.keys().map(|at| (*at, vec![reason])).collect()
}

fn judge_set(
    keep: &Keep,
    zone: Tz,
    taken: &BTreeMap<Generation, Timestamp>,
    missing: &BTreeSet<Generation>,
) -> BTreeMap<Generation, Vec<Reason>> {
    let (broken, whole): (BTreeMap<_, _>, BTreeMap<_, _>) = taken
        .iter()
        .map(|(at, taken)| (*at, *taken))
        .partition(|(at, _)| missing.contains(at));
    let mut stays = kept(keep, zone, &whole);
    if broken.is_empty() {
        return stays;
    }
    let newest_whole = whole.keys().next_back();
    let asked_for = kept(keep, zone, taken);
    for at in broken.keys() {
        let outlived = newest_whole.is_some_and(|newest| newest > at) && asked_for[at].is_empty();
        let why = if outlived { Vec::new() } else { vec![Reason::NotWhole] };
        stays.insert(*at, why);
    }
    stays
}

/// Segments that nothing refers to once these snapshots are gone, with their sizes.
pub fn let_go<'a>(snapshots: &[&'a Snapshot], going: &BTreeSet<Generation>) -> BTreeMap<&'a SegmentName, u64> {
    let of = |goes: bool| {
        let those = snapshots
            .iter()
            .filter(move |snapshot| going.contains(&snapshot.generation) == goes);
        those.flat_map(|snapshot| snapshot.segments.iter().chain([&snapshot.sums]))
    };
    let stays: BTreeSet<&SegmentName> = of(false).map(|segment| &segment.name).collect();
    let goes = of(true).filter(|segment| !stays.contains(&segment.name));
    goes.map(|segment| (&segment.name, segment.bytes)).collect()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::super::{Coding, ManifestPart, Object, SegmentRecord, Totals};
    use super::*;
    use crate::model::{Digest, SegmentId};

    fn snapshot(generation: u64, set: &str, day: i64, segments: &[u8]) -> Snapshot {
        let record = |id: u8| {
            let id = SegmentId::new([id; 16]);
            SegmentRecord {
                name: SegmentName {
                    id: id.clone(),
                    coding: Coding::Zstd,
                },
                id,
                sha256: Digest::of(b"segment"),
                bytes: 10,
            }
        };
        let taken = Timestamp::default() + TimeDelta::days(day);
        Snapshot {
            project: "ark".parse().expect("a name"),
            set: set.to_owned(),
            generation: Generation(generation),
            taken,
            finished: taken,
            previous: None,
            tool: String::new(),
            listing: Object {
                name: ManifestPart::Listing.name(Generation(generation)),
                sha256: Digest::of(b"listing"),
                bytes: 1,
            },
            segments: segments.iter().map(|id| record(*id)).collect(),
            sums: record(200 + generation as u8),
            images: Vec::new(),
            totals: Totals::default(),
            signer: String::new(),
        }
    }

    fn rules(daily: u32) -> Rules {
        let keep = Keep {
            daily: Some(daily),
            ..Keep::default()
        };
        Rules {
            keep: BTreeMap::from([("full".to_owned(), keep.clone()), ("config".to_owned(), keep)]),
            zone: Tz::UTC,
            only: None,
        }
    }

    fn going(rules: &Rules, snapshots: &[Snapshot], missing: &[u64]) -> Vec<u64> {
        let missing = missing.iter().map(|at| Generation(*at)).collect();
        let judged = judge(rules, &snapshots.iter().collect::<Vec<_>>(), &missing);
        assert_eq!(judged.len(), snapshots.len());
        let going = judged.iter().filter(|judged| judged.stays.is_empty());
        going.map(|judged| judged.generation.0).collect()
    }

    #[test]
    fn sets_are_judged_apart_and_what_nothing_is_known_of_stays() {
        let all = [
            snapshot(1, "full", 1, &[1]),
            snapshot(2, "config", 1, &[1]),
            snapshot(3, "full", 2, &[1, 2]),
            snapshot(4, "old", 2, &[1]),
            snapshot(5, "old", 3, &[1]),
            snapshot(6, "config", 4, &[1]),
        ];
        assert_eq!(going(&rules(1), &all, &[]), [1, 2]);
        let only = Rules {
            only: Some("config".into()),
            ..rules(1)
        };
        assert_eq!(going(&only, &all, &[]), [2]);
        let nothing_said = Rules {
            keep: BTreeMap::from([("full".to_owned(), Keep::default())]),
            ..rules(1)
        };
        assert_eq!(going(&nothing_said, &all, &[]), Vec::<u64>::new());
    }

    #[test]
    fn a_snapshot_that_lacks_something_takes_no_whole_ones_place() {
        let all = [1, 2, 3].map(|day| snapshot(day, "full", day as i64, &[1]));
        assert_eq!(going(&rules(1), &all, &[]), [1, 2]);
        // The newest is not whole: the newest whole one stays beside it.
        assert_eq!(going(&rules(1), &all, &[3]), [1]);
        assert_eq!(going(&rules(1), &all, &[1, 2, 3]), Vec::<u64>::new());
        // An old one nobody asks for goes all the same.
        assert_eq!(going(&rules(1), &all, &[1]), [1, 2]);
        assert_eq!(going(&rules(2), &all, &[2]), Vec::<u64>::new());
    }

    #[test]
    fn only_what_no_remaining_snapshot_refers_to_is_let_go() {
        let all = [
            snapshot(1, "full", 1, &[1, 2]),
            snapshot(2, "full", 2, &[2, 3]),
            snapshot(3, "config", 3, &[3, 4]),
        ];
        let free = |going: &[u64]| {
            let going = going.iter().map(|at| Generation(*at)).collect();
            let all: Vec<&Snapshot> = all.iter().collect();
            let free = let_go(&all, &going).into_keys();
            free.map(|name| u8::from_str_radix(&name.id.as_str()[..2], 16).expect("hex"))
                .collect::<Vec<_>>()
        };
        assert_eq!(free(&[1]), [1, 201]);
        assert_eq!(free(&[1, 2]), [1, 2, 201, 202]);
        assert_eq!(free(&[]), Vec::<u8>::new());
    }

    proptest! {
        #[test]
        fn the_newest_whole_snapshot_of_every_set_stays(
            days in proptest::collection::vec((0i64..60, 0u8..2, proptest::bool::ANY), 1..30),
            daily in 0u32..4,
        ) {
            let all: Vec<Snapshot> = days
                .iter()
                .enumerate()
                .map(|(n, (day, set, _))| snapshot(n as u64 + 1, if *set == 0 { "full" } else { "config" }, *day, &[1]))
                .collect();
            let missing: Vec<u64> =
                days.iter().zip(1..).filter(|((.., broken), _)| *broken).map(|(_, at)| at).collect();
            let gone = going(&rules(daily), &all, &missing);
            for set in ["full", "config"] {
                let whole = all.iter().filter(|s| s.set == set && !missing.contains(&s.generation.0));
                if let Some(newest) = whole.max_by_key(|s| s.generation) {
                    prop_assert!(!gone.contains(&newest.generation.0));
                } else {
                    prop_assert!(all.iter().filter(|s| s.set == set).all(|s| !gone.contains(&s.generation.0)));
                }
            }
            // Once they are gone nothing more goes, in whatever order they come.
            let mut left: Vec<Snapshot> = all.into_iter().filter(|s| !gone.contains(&s.generation.0)).collect();
            left.reverse();
            prop_assert_eq!(going(&rules(daily), &left, &missing), Vec::<u64>::new());
        }
    }
}
