use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::{Portion, Share};
use crate::model::Timestamp;

use super::write_atomic;

const FORMAT: u32 = 1;

/// How far the look at each store has come, a share at a time.
#[derive(Debug)]
pub struct Rounds {
    path: PathBuf,
    rounds: BTreeMap<String, Round>,
}

/// A walk through all parts of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Round {
    of: u32,
    /// The part that comes next.
    next: u32,
    /// When it began.
    began: Timestamp,
    /// When the last whole one began and ended: everything that was there then was read in between.
    whole: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug, thiserror::Error)]
pub enum RoundsError {
    #[error("{path} cannot be used; free space or repair the disk")]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be read; move it away: the next share is then the first again")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path} was written by a newer arkwright (format {found}); upgrade")]
    Newer { path: PathBuf, found: u32 },
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    rounds: BTreeMap<String, Round>,
}

impl Rounds {
    pub fn read(path: &Path) -> Result<Self, RoundsError> {
        let path = path.to_path_buf();
        let rounds = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(RoundsError::Unusable { path, source }),
            Ok(bytes) => match serde_json::from_slice::<Written>(&bytes) {
                Err(source) => return Err(RoundsError::Damaged { path, source }),
                Ok(Written { format: found, .. }) if found > FORMAT => return Err(RoundsError::Newer { path, found }),
                Ok(written) => written.rounds,
            },
        };
        Ok(Rounds { path, rounds })
    }

    /// The share that comes next; a round of other parts than before begins anew.
    pub fn next(&self, of_what: &str, portion: Portion) -> Share {
        let round = self.rounds.get(of_what).filter(|round| round.of == portion.of);
        portion.from(round.map_or(0, |round| round.next))
    }

    /// This share has been looked at; on the disk when it returns.
    pub fn done(&mut self, of_what: &str, share: Share, now: Timestamp) -> Result<(), RoundsError> {
        let before = self.rounds.get(of_what);
        let began = before.filter(|round| round.of == share.of && share.first > 0);
        let began = began.map_or(now, |round| round.began);
        let whole = match share.ends_round() {
            true => Some((began, now)),
            false => before.and_then(|round| round.whole),
        };
        let round = Round {
            of: share.of,
            next: share.next(),
            began: if share.ends_round() { now } else { began },
            whole,
        };
        self.rounds.insert(of_what.to_owned(), round);
        let written = Written {
            format: FORMAT,
            rounds: self.rounds.clone(),
        };
        let bytes = serde_json::to_vec(&written).map_err(io::Error::from);
        let stored = bytes.and_then(|bytes| write_atomic(&self.path, &bytes, 0o600));
        stored.map_err(|source| RoundsError::Unusable {
            path: self.path.clone(),
            source,
        })
    }

    /// When the last whole round began and ended.
    pub fn whole(&self, of_what: &str) -> Option<(Timestamp, Timestamp)> {
        self.rounds.get(of_what)?.whole
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn shares_follow_each_other_across_restarts_until_the_round_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rounds.json");
        let portion: Portion = "2/5".parse().expect("a share");
        let day = |n: i64| Timestamp::default() + TimeDelta::days(n);
        let mut firsts = Vec::new();
        for n in 0..4 {
            let mut rounds = Rounds::read(&path).expect("read");
            assert_eq!(rounds.next("offsite", portion).first, 0);
            let share = rounds.next("local", portion);
            firsts.push(share.first);
            rounds.done("local", share, day(n)).expect("written");
        }
        assert_eq!(firsts, [0, 2, 4, 1]);
        let mut rounds = Rounds::read(&path).expect("read");
        assert_eq!(rounds.whole("local"), Some((day(0), day(2))));
        let other: Portion = "1/7".parse().expect("a share");
        let share = rounds.next("local", other);
        assert_eq!(share.first, 0, "other parts begin anew");
        rounds.done("local", share, day(9)).expect("written");
        assert_eq!(rounds.whole("local"), Some((day(0), day(2))));
        fs::write(&path, "[").expect("written");
        assert!(matches!(Rounds::read(&path), Err(RoundsError::Damaged { .. })));
    }
}
