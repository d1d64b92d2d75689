use std::path::PathBuf;
use std::sync::Arc;

use crate::app::{Project, foreign_store};
use crate::backup::Identities;
use crate::cli::{Failure, Global, Kind, project};
use crate::model::{Timestamp, parse_instant};
use crate::ports::Store;
use crate::run::keys;
use crate::run::snapshots::{Trust, Which};

/// Which store is read, and with which keys.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Place {
    /// A store of arkwright.yaml [default: all, or for restore the set's first]
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
    /// A store's folder or s3://BUCKET/PREFIX?region=…, without any project: for recovery on another host
    #[arg(long, value_name = "PLACE", conflicts_with = "store", requires = "public_key")]
    from: Option<String>,
    /// A bucket as it was then, from the versions it keeps, where something was replaced or removed since
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    /// File of the public keys that signatures are accepted from [default: the project's own]
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// File of an age identity that opens the backups [default: the project's drill identity]
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

/// A store that is read.
pub(super) struct Opened {
    pub name: String,
    pub store: Arc<dyn Store>,
    pub trust: Trust,
}

pub(super) struct Reading {
    pub project: Option<Project>,
    pub stores: Vec<Opened>,
    pub identities: Identities,
}

impl Place {
    /// Whether it is looked at as it was, and not as it is.
    pub(super) fn is_past(&self) -> bool {
        self.at.is_some()
    }

    /// `set`, where it is known, narrows the stores to those the set goes to.
    pub(super) fn open(&self, global: &Global, set: Option<&str>) -> Result<Reading, Failure> {
        let mut identities = Identities::none();
        for file in &self.identity {
            identities.extend(keys::identities(file).map_err(|e| Failure::new(Kind::Input, e))?);
        }
        let given = match &self.public_key {
            Some(file) => Some(keys::trusted_file(file).map_err(|e| Failure::new(Kind::Input, e))?),
            None => None,
        };
        if let (Some(place), Some(keys)) = (&self.from, given.clone()) {
            let opened = Opened {
                name: place.clone(),
                store: foreign_store(place, self.at)?,
                trust: Trust { keys, newest: None },
            };
            return Ok(Reading {
                project: None,
                stores: vec![opened],
                identities,
            });
        }
        let project = project::configured(global)?;
        let room = project.backup_room()?;
        if self.identity.is_empty() {
            identities = room.identities()?;
        }
        let named: Vec<String> = match (&self.store, set.and_then(|set| room.backups.sets.get(set))) {
            (Some(name), _) => vec![name.clone()],
            (None, Some(set)) if !set.stores.is_empty() => set.stores.clone(),
            _ => room.backups.stores.keys().cloned().collect(),
        };
        let mut stores = Vec::new();
        for name in named {
            let mut trust = match &given {
                Some(keys) => Trust {
                    keys: keys.clone(),
                    newest: None,
                },
                None => room.trust(&name)?,
            };
            if given.is_some() {
                trust.newest = room.catalogue(&name)?.head().map_err(|e| Failure::new(Kind::Host, e))?;
            }
            let store = match self.at {
                Some(at) => {
                    // What came after is not missed there.
                    trust.newest = None;
                    room.store_at(&name, at)?
                }
                None => room.store(&name)?,
            };
            stores.push(Opened { store, name, trust });
        }
        drop(room);
        Ok(Reading {
            project: Some(project),
            stores,
            identities,
        })
    }
}

fn instant(text: &str) -> Result<Timestamp, String> {
    parse_instant(text).ok_or_else(|| format!("`{text}` is no time, such as 2026-01-31T04:00:00Z"))
}

/// A snapshot by what a person types: a generation, or a set for its newest.
pub(super) fn which(text: &str) -> Which {
    match text.parse() {
        Ok(generation) => Which::Generation(generation),
        Err(_) => Which::Latest { set: text.to_owned() },
    }
}

/// The set that was typed, if it was one.
pub(super) fn set_of(which: &Which) -> Option<&str> {
    match which {
        Which::Latest { set } => Some(set),
        Which::Generation(_) => None,
    }
}
