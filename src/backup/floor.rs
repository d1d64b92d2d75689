use std::fmt;

use crate::model::{Percent, Size};

use super::{EntryPath, SourceRecord};

/// Below as many files a source may lose what it likes: a few come and go.
const FEW_FILES: u64 = 10;
/// Below as many bytes too.
const FEW_BYTES: u64 = 1 << 20;

/// A source that had far more when the set was backed up last.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    pub path: EntryPath,
    /// Files and bytes.
    pub last: (u64, u64),
    pub now: (u64, u64),
}

/// The sources that hold less than that share of what they held: of the files, or of the bytes.
///
/// A source that was not there the last time has no floor, nor has one that is no longer in the set.
pub fn shortfalls(last: &[SourceRecord], now: &[SourceRecord], floor: Percent) -> Vec<Shortfall> {
    let least = |value: u64, few: u64| match value < few {
        true => 0.0,
        false => value as f64 * floor.ratio(),
    };
    let pairs = now.iter().filter_map(|now| {
        let same = |last: &&SourceRecord| (&last.kind, &last.path) == (&now.kind, &now.path);
        last.iter().find(same).map(|last| (last, now))
    });
    let fewer = pairs.filter(|(last, now)| {
        (now.files as f64) < least(last.files, FEW_FILES) || (now.bytes as f64) < least(last.bytes, FEW_BYTES)
    });
    fewer
        .map(|(last, now)| Shortfall {
            path: now.path.clone(),
            last: (last.files, last.bytes),
            now: (now.files, now.bytes),
        })
        .collect()
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} has {} files of {}, {} of {}",
            self.path,
            self.now.0,
            self.last.0,
            Size(self.now.1),
            Size(self.last.1)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, path: &str, files: u64, bytes: u64) -> SourceRecord {
        SourceRecord {
            kind: kind.into(),
            path: path.parse().expect("a path"),
            files,
            bytes,
            newest: None,
            rows: Default::default(),
        }
    }

    #[test]
    fn a_source_that_lost_more_than_half_is_told() {
        let last = [record("path", "uploads", 1000, 10 << 20)];
        let told = |files, bytes, floor: &str| {
            let now = [record("path", "uploads", files, bytes)];
            let told = shortfalls(&last, &now, floor.parse().expect("a percentage"));
            told.first().map(ToString::to_string)
        };
        assert_eq!(told(500, 5 << 20, "50%"), None, "exactly the floor");
        assert_eq!(told(5000, 90 << 20, "50%"), None);
        assert_eq!(
            told(499, 10 << 20, "50%").as_deref(),
            Some("uploads has 499 files of 1000, 10.0 MiB of 10.0 MiB")
        );
        assert!(told(1000, (5 << 20) - 1, "50%").is_some());
        assert!(told(999, 10 << 20, "100%").is_some());
        assert_eq!(told(1, 1, "0%"), None, "turned off");
    }

    #[test]
    fn small_new_and_former_sources_have_no_floor() {
        let half = Percent::HALF;
        let last = [record("path", "few", 9, 1000), record("path", "gone", 100, 100)];
        let now = [record("path", "few", 1, 1), record("path", "new", 1, 1)];
        assert_eq!(shortfalls(&last, &now, half), []);
        // The same path read in another way is another source.
        let last = [record("path", "data/ark.db", 1, 8 << 20)];
        assert_eq!(
            shortfalls(&last, &[record("sqlite", "data/ark.db", 1, 1 << 20)], half),
            []
        );
        assert_eq!(
            shortfalls(&last, &[record("path", "data/ark.db", 1, 1 << 20)], half).len(),
            1
        );
    }
}
