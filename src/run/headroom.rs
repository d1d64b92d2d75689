use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backup::SQLITE_SIDES;
use crate::config::{Config, Source, Swap};
use crate::journal::Plan;
use crate::model::{Colour, Size};
use crate::plan::{Container, Observed};
use crate::ports::{Engine, Host};
use crate::release::{self, ReleaseStep, Subject, Subjects};
use crate::stack::{Service, Stack};
use crate::state::ProjectFolder;

/// Room of one kind that a release takes, and what there is of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Headroom {
    /// `memory for green`, `disk for the copy of the data`
    pub of: String,
    /// Bytes; `None`: nobody knows before it is there.
    pub needed: Option<u64>,
    /// Where the figure comes from, or why there is none.
    pub basis: String,
    /// Bytes; `None`: the host does not say.
    pub free: Option<u64>,
    /// Bytes that the release itself gives back before it takes what it needs.
    pub given_back: u64,
    /// `None`: it cannot be told.
    pub fits: Option<bool>,
}

/// Where the memory that one replica is said to need comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    Limit,
    Reservation,
    /// What one that runs uses now.
    Use,
}

/// What one replica may take: its limit, else what it reserves, else what one uses now.
pub fn memory_of(service: &Service, used: impl FnOnce() -> Option<u64>) -> Option<(u64, Basis)> {
    let resources = &service.resources;
    let limit = resources.memory.map(|bytes| (bytes, Basis::Limit));
    let reserved = resources.memory_reserved.map(|bytes| (bytes, Basis::Reservation));
    limit.or(reserved).or_else(|| Some((used()?, Basis::Use)))
}

/// What the room of a release is measured with.
pub struct Surveyor<'a> {
    pub engine: &'a dyn Engine,
    pub machine: &'a dyn Host,
    pub state: &'a ProjectFolder,
    pub config: &'a Config,
    pub stack: &'a Stack,
    pub observed: &'a Observed,
}

impl Headroom {
    fn new(of: String, needed: Option<u64>, basis: String, free: Option<u64>, given_back: u64) -> Self {
        let fits = match (needed, free) {
            (Some(0), _) => Some(true),
            (Some(needed), Some(free)) => Some(needed <= free.saturating_add(given_back)),
            _ => None,
        };
        Headroom {
            of,
            needed,
            basis,
            free,
            given_back,
            fits,
        }
    }

    /// What the services of one release take of the same memory.
    fn together(each: &[Headroom]) -> Headroom {
        let needed = each
            .iter()
            .try_fold(0u64, |sum, room| Some(sum.saturating_add(room.needed?)));
        let free = each.iter().map(|room| room.free).min().flatten();
        let given_back = each.iter().fold(0u64, |sum, room| sum.saturating_add(room.given_back));
        let basis = format!("{} services", each.len());
        Headroom::new("memory for all of them".to_owned(), needed, basis, free, given_back)
    }

    /// Why the release is refused, where it is.
    pub fn refusal(&self) -> Option<String> {
        (self.fits == Some(false)).then(|| format!("there is no room: {self}"))
    }
}

impl fmt::Display for Headroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| Size(bytes).to_string());
        write!(
            f,
            "{}: {} needed ({}), {} free",
            self.of,
            size(self.needed),
            self.basis,
            size(self.free)
        )?;
        if self.given_back > 0 {
            write!(f, " and {} given back before", Size(self.given_back))?;
        }
        f.write_str(match self.fits {
            Some(true) => ": fits",
            Some(false) => ": does not fit",
            None => ": not known whether it fits",
        })
    }
}

impl Surveyor<'_> {
    /// Everything the plan takes; nothing where no colour is made.
    pub async fn survey(&self, subjects: &Subjects, plan: &Plan<ReleaseStep>) -> Vec<Headroom> {
        let mut found = Vec::new();
        let mut memory = Vec::new();
        for subject in subjects.members() {
            let Some(service) = self.stack.services.get(&subject.service) else {
                continue;
            };
            if subject.containers.is_empty() || plan.forward.is_empty() {
                continue;
            }
            let mut of_one = vec![self.memory(subject, service).await];
            memory.push(of_one[0].clone());
            of_one.push(self.image(subject));
            of_one.extend(self.copy(subject));
            of_one.extend(self.staging(subject, plan));
            if subjects.members().len() > 1 {
                of_one
                    .iter_mut()
                    .for_each(|room| room.of = format!("{}: {}", subject.service, room.of));
            }
            found.extend(of_one);
        }
        if memory.len() > 1 {
            found.push(Headroom::together(&memory));
        }
        found
    }

    /// The highest of those that run, and their sum; one whose use nobody knows is left out of the sum.
    async fn used(&self, containers: &[&Container]) -> (Option<u64>, u64) {
        let (mut highest, mut sum) = (None, 0u64);
        for container in containers.iter().filter(|container| container.running()) {
            // An engine that does not say leaves it unknown, which is what is told then.
            if let Ok(Some(bytes)) = self.engine.memory_use(&container.id).await {
                highest = highest.max(Some(bytes));
                sum = sum.saturating_add(bytes);
            }
        }
        (highest, sum)
    }

    async fn memory(&self, subject: &Subject, service: &Service) -> Headroom {
        let of = |colour: Colour| release::of_colour(self.observed, &subject.service, colour);
        let (serves, made) = match subject.swap {
            Swap::Recreate => (
                release::plain_of(self.observed, &subject.service),
                ["the old one", "the new one"],
            ),
            Swap::Overlap | Swap::Hold => (of(subject.from), [subject.from.as_str(), subject.to.as_str()]),
        };
        let [old, new] = made;
        let (highest, serving) = self.used(&serves).await;
        // A colour that is kept warm is removed before the new one is made.
        let (_, mut given_back) = self.used(&of(subject.to)).await;
        if subject.swap != Swap::Overlap {
            given_back = given_back.saturating_add(serving);
        }
        let replicas = u64::from(subject.replicas);
        let times = |bytes| format!("{replicas} × {}", Size(bytes));
        let (needed, basis) = match memory_of(service, || highest) {
            Some((bytes, Basis::Limit)) => (Some(bytes), format!("{}, its limit", times(bytes))),
            Some((bytes, Basis::Reservation)) => (Some(bytes), format!("{}, its reservation", times(bytes))),
            Some((bytes, Basis::Use)) => (Some(bytes), format!("{}, what {old} uses now", times(bytes))),
            None => (None, "no limit, and none that runs to go by".to_owned()),
        };
        let free = match self.local() {
            true => self.machine.memory_free().ok(),
            false => None,
        };
        let needed = needed.map(|bytes| bytes.saturating_mul(replicas));
        Headroom::new(format!("memory for {new}"), needed, basis, free, given_back)
    }

    fn image(&self, subject: &Subject) -> Headroom {
        let (needed, basis) = match (&subject.image.id, subject.pull) {
            (Some(_), false) => (Some(0), "it is here"),
            _ => (None, "it has to be pulled, and its size is known then"),
        };
        let root = self.engine.info().root_dir.as_deref().filter(|_| self.local());
        let free = root.and_then(|root| self.free(root));
        Headroom::new("disk for the image".to_owned(), needed, basis.to_owned(), free, 0)
    }

    fn copy(&self, subject: &Subject) -> Option<Headroom> {
        if subject.data.is_empty() {
            return None;
        }
        let (needed, basis) = sizes(&subject.data);
        let free = self.free(&self.state.scratch());
        Some(Headroom::new(
            "disk for the copy of the data".to_owned(),
            needed,
            basis,
            free,
            0,
        ))
    }

    /// One set after the other is staged, and cleared when it is stored: the largest counts.
    fn staging(&self, subject: &Subject, plan: &Plan<ReleaseStep>) -> Option<Headroom> {
        let steps = plan.forward.iter().filter_map(|step| step.of(&subject.service));
        let sets = steps.filter_map(|step| match step {
            ReleaseStep::Backup { set } => Some(set),
            _ => None,
        });
        let staged: Vec<(Option<u64>, String)> = sets
            .map(|set| {
                let (needed, basis) = sizes(&self.databases(set));
                (needed, format!("{set}: {basis}"))
            })
            .collect();
        let basis: Vec<String> = staged.iter().map(|(_, basis)| basis.clone()).collect();
        let needed = match staged.iter().any(|(needed, _)| needed.is_none()) {
            true => None,
            false => staged.iter().filter_map(|(needed, _)| *needed).max(),
        };
        let free = self.free(&self.state.scratch());
        let of = "disk for staging the backup, besides what the store takes".to_owned();
        (!staged.is_empty()).then(|| Headroom::new(of, needed, basis.join("; "), free, 0))
    }

    /// Only databases are staged; files go straight into the store.
    fn databases(&self, set: &str) -> Vec<PathBuf> {
        let sources = self
            .config
            .backups
            .iter()
            .flat_map(|b| b.sources_of(set).unwrap_or_default());
        let databases = sources.filter_map(|source| match source {
            Source::Sqlite { sqlite, .. } => Some(self.config.folder.join(sqlite)),
            _ => None,
        });
        databases.collect()
    }

    fn local(&self) -> bool {
        self.engine.info().host.starts_with("unix://")
    }

    fn free(&self, path: &Path) -> Option<u64> {
        self.machine.disk_free(path).ok()
    }
}

/// What databases take with what lies beside them.
fn sizes(databases: &[PathBuf]) -> (Option<u64>, String) {
    let mut sum = 0u64;
    for database in databases {
        match fs::metadata(database) {
            Ok(found) => sum = sum.saturating_add(found.len()),
            Err(error) => return (None, format!("{}: {error}", database.display())),
        }
        for suffix in SQLITE_SIDES {
            let mut side = database.as_os_str().to_owned();
            side.push(suffix);
            sum = sum.saturating_add(fs::metadata(side).map_or(0, |found| found.len()));
        }
    }
    match databases.len() {
        1 => (Some(sum), "one database".to_owned()),
        count => (Some(sum), format!("{count} databases")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(needed: Option<u64>, free: Option<u64>, given_back: u64) -> Headroom {
        Headroom::new("memory for green".into(), needed, "its limit".into(), free, given_back)
    }

    #[test]
    fn what_is_unknown_is_never_said_to_fit() {
        for (needed, free) in [(None, Some(1 << 40)), (Some(1), None), (None, None)] {
            let unknown = room(needed, free, 1 << 40);
            assert_eq!((unknown.fits, unknown.refusal()), (None, None));
            assert!(unknown.to_string().ends_with("not known whether it fits"), "{unknown}");
        }
    }

    #[test]
    fn what_is_given_back_before_counts_and_figures_are_told() {
        assert_eq!(room(Some(10), Some(10), 0).fits, Some(true));
        assert_eq!(room(Some(11), Some(10), 1).fits, Some(true));
        assert_eq!(room(Some(0), None, 0).fits, Some(true), "nothing always fits");
        let short = room(Some(3 << 30), Some(1 << 30), 1 << 29);
        assert_eq!(
            short.refusal().as_deref(),
            Some(
                "there is no room: memory for green: 3.0 GiB needed (its limit), 1.0 GiB free and 512.0 MiB given back \
                 before: does not fit"
            )
        );
    }

    #[test]
    fn databases_count_with_what_lies_beside_them_and_a_missing_one_is_unknown() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("a.db");
        fs::write(&database, [0; 100]).expect("written");
        fs::write(folder.path().join("a.db-wal"), [0; 11]).expect("written");
        assert_eq!(sizes(&[database]), (Some(111), "one database".into()));
        let (needed, basis) = sizes(&[folder.path().join("b.db")]);
        assert!(needed.is_none() && basis.contains("b.db"), "{basis}");
    }
}
