use std::collections::BTreeSet;

use serde::Serialize;

use crate::backup::{Header, Judged, Link, Removed, Rules, TrustedKeys, judge, let_go};
use crate::model::{Generation, ProjectName};
use crate::ports::Store;

use super::PruneError;
use super::holdings::Holdings;

/// A new tombstone takes over what so many older ones list, so that readers need not read one for every prune there was.
const FOLD: usize = 16;

/// What pruning one store comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pruning {
    /// Oldest first.
    pub snapshots: Vec<Judged>,
    pub bytes: Freed,
    /// In order of generation: the snapshots that go, and older tombstones.
    #[serde(skip)]
    pub remove: Vec<Removed>,
}

/// Bytes by when they become free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Freed {
    /// Headers, signatures and listings, at once.
    pub now: u64,
    /// Segments that nothing will refer to, after the wait.
    pub later: u64,
    /// What nothing refers to already.
    pub unused: u64,
}

impl Pruning {
    pub fn going(&self) -> impl Iterator<Item = &Judged> {
        self.snapshots.iter().filter(|judged| judged.stays.is_empty())
    }
}

/// Which snapshots of a store may go; changes nothing.
pub async fn plan(
    store: &dyn Store,
    keys: &TrustedKeys,
    head: Option<Link>,
    project: &ProjectName,
    rules: &Rules,
) -> Result<Pruning, PruneError> {
    Ok(of(&Holdings::take(store, keys, head, project).await?, rules))
}

pub(super) fn of(holdings: &Holdings, rules: &Rules) -> Pruning {
    let held = holdings.snapshots();
    let snapshots = judge(rules, &held, &holdings.missing());
    let going: BTreeSet<Generation> = snapshots
        .iter()
        .filter(|judged| judged.stays.is_empty())
        .map(|judged| judged.generation)
        .collect();
    let later = let_go(&held, &going);
    let later = later
        .iter()
        .filter(|(name, _)| holdings.objects.contains_key(&name.to_string()));
    let mut bytes = Freed {
        now: holdings.leftovers().iter().map(|(_, bytes)| bytes).sum(),
        later: later.map(|(_, bytes)| bytes).sum(),
        unused: holdings.unused().values().sum(),
    };
    let remove = remove(holdings, &going);
    for removed in remove
        .iter()
        .filter(|removed| !holdings.buried.contains_key(&removed.generation))
    {
        let parts = holdings.parts.get(&removed.generation).into_iter().flatten();
        bytes.now += parts
            .filter_map(|part| holdings.objects.get(&part.name(removed.generation)))
            .sum::<u64>();
    }
    Pruning {
        snapshots,
        bytes,
        remove,
    }
}

fn remove(holdings: &Holdings, going: &BTreeSet<Generation>) -> Vec<Removed> {
    if going.is_empty() {
        return Vec::new();
    }
    let live = |header: &Header| !holdings.buried.contains_key(&header.generation());
    let tombstones = holdings
        .headers
        .iter()
        .filter(|(_, header)| matches!(header, Header::Tombstone(_)) && live(header));
    let folds = tombstones.count() >= FOLD;
    let goes = |header: &Header| match header {
        Header::Snapshot(snapshot) => going.contains(&snapshot.generation),
        Header::Tombstone(_) => folds && live(header),
    };
    let gone = holdings.headers.iter().filter(|(_, header)| goes(header));
    let mut remove: Vec<Removed> = gone
        .map(|(sha256, header)| Removed {
            generation: header.generation(),
            sha256: *sha256,
            previous: header.previous(),
        })
        .collect();
    if folds {
        remove.extend(holdings.buried.values().cloned());
    }
    remove.sort_by_key(|removed| removed.generation);
    remove
}
