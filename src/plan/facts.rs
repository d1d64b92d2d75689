use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::model::{ServiceName, Timestamp};

use super::{Arrangement, ObservedNetwork, Route};

/// What a plan needs to know beyond the project's own objects, looked up beforehand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Image ids by reference; `None`: not on this host.
    pub images: BTreeMap<String, Option<String>>,
    /// Networks that exist under a name the project wants, whoever made them.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Names of volumes the project wants that exist, whoever made them.
    pub volumes: BTreeSet<String>,
    /// Paths services mount, and whether they exist; one that is left out counts as existing (a distant engine's).
    pub paths: BTreeMap<PathBuf, bool>,
    /// Files made from secrets and configs.
    pub files: BTreeMap<PathBuf, FileFact>,
    /// The routes the router was last given.
    pub routes: Vec<Route>,
    pub arrangement: Arrangement,
    /// The router's doors that have no connection any more.
    pub idle: BTreeSet<u32>,
    /// Services whose serving colour the router has and does not find healthy.
    pub down: BTreeSet<ServiceName>,
    /// Services with a release that has no end yet.
    pub moving: BTreeSet<ServiceName>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FileFact {
    Missing,
    /// It says something else than it should.
    Outdated,
    Current {
        written: Option<Timestamp>,
    },
    /// What it should say cannot be had; for a person.
    Unreadable(String),
}
