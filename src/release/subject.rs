use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Background, Gate, Probe, Swap};
use crate::model::{Colour, ProjectName, Reference, ServiceName, Span};
use crate::plan::ContainerSpec;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    Deploy,
    Rollback,
    /// Removing a warm colour.
    Retire,
}

/// An image as it was named and as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub reference: String,
    /// `sha256:…`; `None`: not on this host when it was planned, and fetched by the release.
    pub id: Option<String>,
    /// `sha256:…` as its registry knows it; `None` for one that was built here, or not fetched yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// For the new colour to become healthy.
    pub healthy: Span,
    /// For a container without a check of its own to have run; where there is a router, nothing.
    #[serde(default)]
    pub steady: Span,
    /// For requests to wait at the gate.
    pub hold: Span,
    /// For running requests to end.
    pub drain: Span,
}

/// Everything a release depends on, decided when it is planned: a resumed run never re-decides.
///
/// It holds the containers' environment, secrets included, so it stays in the journal and is never shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub goal: Goal,
    pub project: ProjectName,
    pub service: ServiceName,
    pub swap: Swap,
    /// The colour that serves at the beginning.
    pub from: Colour,
    /// The colour that is to serve; of a retirement, the one that is removed.
    pub to: Colour,
    pub image: Image,
    /// What served before.
    pub previous: Image,
    /// Of the colour that is made; empty where it is there already.
    pub containers: Vec<ContainerSpec>,
    /// Of the version a service without a router ran before, to be made again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<ContainerSpec>,
    pub replicas: u32,
    /// The network whose addresses the router is given.
    pub network: String,
    pub limits: Limits,
    /// Files put back when a held swap fails: the SQLite databases of the sets in `before`, absolute.
    pub data: Vec<PathBuf>,
    pub reason: Option<String>,
    /// Programs that are run around the release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<ContainerSpec>,
    /// All must pass when a hold ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How a colour is told to take jobs or none; its port is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// Registries whose logins were given with the order. The logins are in memory only: a process that takes the
    /// release on after another has none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub logins: BTreeSet<String>,
    /// The registry is asked even where the name means an image of this host already.
    #[serde(default)]
    pub pull: bool,
}

impl Image {
    /// `name@sha256:…`, which means this image wherever a tag has gone since; `None` where no registry has it.
    pub fn pinned(&self) -> Option<String> {
        let reference: Reference = self.reference.parse().ok()?;
        Some(format!("{}@{}", reference.repository(), self.digest.as_ref()?))
    }

    /// For a person: the reference, and the beginning of the id.
    pub fn short(&self) -> String {
        match &self.id {
            Some(id) => format!("{} ({})", self.reference, short_id(id)),
            None => self.reference.clone(),
        }
    }
}

impl Subject {
    /// Whether it goes back to a process that takes the data as it is by now.
    pub fn keeps_data(&self) -> bool {
        self.swap == Swap::Hold && self.goal == Goal::Rollback
    }

    /// A repository of our own that names the image, so that the engine's own pruning leaves it.
    pub fn keep_repository(&self) -> String {
        keep_repository(&self.project, &self.service)
    }
}

/// `localhost/arkwright-keep/<project>-<service>`, in the letters a repository may have.
pub fn keep_repository(project: &ProjectName, service: &ServiceName) -> String {
    let mut name = String::new();
    for c in format!("{project}-{service}").chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_lowercase()),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    format!("localhost/arkwright-keep/{}", name.trim_matches('-'))
}

/// The first twelve digits of `sha256:…`.
pub fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}
