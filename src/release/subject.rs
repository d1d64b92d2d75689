use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Swap;
use crate::model::{Colour, ProjectName, ServiceName, Span};
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
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// For the new colour to become healthy.
    pub healthy: Span,
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
    pub replicas: u32,
    /// The network whose addresses the router is given.
    pub network: String,
    pub limits: Limits,
    /// Files put back when a held swap fails: the SQLite databases of the sets in `before`, absolute.
    pub data: Vec<PathBuf>,
    pub reason: Option<String>,
}

impl Image {
    /// For a person: the reference, and the beginning of the id.
    pub fn short(&self) -> String {
        match &self.id {
            Some(id) => format!("{} ({})", self.reference, short_id(id)),
            None => self.reference.clone(),
        }
    }
}

impl Subject {
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
