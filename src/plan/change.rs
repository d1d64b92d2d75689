use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Colour, ContainerId, ProjectName, ServiceName, Span};
use crate::stack::{Condition, FileSource};

use super::desired::ROUTER;
use super::{Arrangement, Container, ContainerSpec, DesiredService, NetworkSpec, Route, VolumeSpec};

/// Everything that will be done, in an order that works one by one, and everything that was noticed and will not be.
///
/// It holds the containers' environment, secrets included: for a person or a log it is to be shown by its
/// [`Change`]s' reasons and [`Action::kind`] and [`Action::subject`], never as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub project: ProjectName,
    pub changes: Vec<Change>,
    /// Why it cannot be performed; empty when it can.
    pub blocked: Vec<String>,
    /// Containers of the project that nothing in the Compose file asks for; removed only when asked.
    pub orphans: Vec<Leftover>,
    /// What differs and is left as it is: released services change by `deploy`.
    pub drift: Vec<Notice>,
    /// Released services that still run as plain containers: `up --adopt` puts the router in front of them.
    pub adoption: Vec<Adoption>,
    /// Containers that answer to a released service's name beside the router.
    pub strays: Vec<Leftover>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    /// For a person: `redis: its specification changed`.
    pub reason: String,
    /// Indexes of the earlier changes that have to be done before it.
    pub after: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    CreateNetwork {
        spec: NetworkSpec,
    },
    CreateVolume {
        spec: VolumeSpec,
    },
    /// A folder a service mounts and Compose says is to be made.
    CreateFolder {
        path: PathBuf,
    },
    /// A secret or config whose text comes from the Compose file or the environment.
    WriteFile {
        path: PathBuf,
        from: FileSource,
    },
    PullImage {
        reference: String,
    },
    RenderRoutes {
        routes: Vec<Route>,
    },
    /// Created, not started.
    CreateContainer {
        service: String,
        spec: Box<ContainerSpec>,
    },
    StartContainer {
        service: String,
        name: String,
    },
    /// The old one stopped and removed, the new one created, not started.
    RecreateContainer {
        service: String,
        id: ContainerId,
        grace: Option<Span>,
        spec: Box<ContainerSpec>,
    },
    RestartContainer {
        service: String,
        id: ContainerId,
        name: String,
        grace: Option<Span>,
    },
    /// Stopped with its grace, then removed.
    RemoveContainer {
        service: String,
        id: ContainerId,
        name: String,
        grace: Option<Span>,
        /// Anonymous volumes go with it.
        volumes: bool,
    },
    /// Has one of the router's containers, started where it is not, serve from now on; these others pass on to it.
    HandOver {
        name: String,
        to: Arrangement,
    },
    WaitFor {
        service: ServiceName,
        condition: Condition,
        containers: Vec<String>,
    },
    /// Gives the router the addresses these containers have on `network`.
    Point {
        service: ServiceName,
        colour: Colour,
        network: String,
        containers: Vec<String>,
    },
    RemoveNetwork {
        name: String,
    },
    RemoveVolume {
        name: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leftover {
    pub container: String,
    pub id: ContainerId,
    pub service: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// `line-service`, `network default`.
    pub subject: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    pub service: ServiceName,
    /// The plain containers that serve it now; empty for one that waits for another's adoption.
    pub containers: Vec<String>,
}

impl Plan {
    pub fn empty(project: ProjectName) -> Self {
        Plan {
            project,
            changes: Vec::new(),
            blocked: Vec::new(),
            orphans: Vec::new(),
            drift: Vec::new(),
            adoption: Vec::new(),
            strays: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, action: Action, reason: impl Into<String>) {
        self.changes.push(Change::new(action, reason));
    }
}

impl Change {
    pub(super) fn new(action: Action, reason: impl Into<String>) -> Self {
        Change {
            action,
            reason: reason.into(),
            after: Vec::new(),
        }
    }
}

impl Action {
    pub(super) fn restart(service: &DesiredService, container: &Container) -> Self {
        Action::RestartContainer {
            service: service.name.to_string(),
            id: container.id.clone(),
            name: container.name.clone(),
            grace: service.containers.first().and_then(|spec| spec.stop_grace),
        }
    }

    /// Anonymous volumes stay.
    pub(super) fn remove(service: &DesiredService, container: &Container) -> Self {
        Action::RemoveContainer {
            service: service.name.to_string(),
            id: container.id.clone(),
            name: container.name.clone(),
            grace: service.containers.first().and_then(|spec| spec.stop_grace),
            volumes: false,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Action::CreateNetwork { .. } => "create network",
            Action::CreateVolume { .. } => "create volume",
            Action::CreateFolder { .. } => "create folder",
            Action::WriteFile { .. } => "write file",
            Action::PullImage { .. } => "pull image",
            Action::RenderRoutes { .. } => "write routes",
            Action::CreateContainer { .. } => "create container",
            Action::StartContainer { .. } => "start container",
            Action::RecreateContainer { .. } => "recreate container",
            Action::RestartContainer { .. } => "restart container",
            Action::RemoveContainer { .. } => "remove container",
            Action::HandOver { .. } => "hand over to",
            Action::WaitFor { .. } => "wait for",
            Action::Point { .. } => "point router",
            Action::RemoveNetwork { .. } => "remove network",
            Action::RemoveVolume { .. } => "remove volume",
        }
    }

    /// What it is done to, by name; holds nothing secret.
    pub fn subject(&self) -> String {
        match self {
            Action::CreateNetwork { spec } => spec.name.clone(),
            Action::CreateVolume { spec } => spec.name.clone(),
            Action::CreateFolder { path } | Action::WriteFile { path, .. } => path.display().to_string(),
            Action::PullImage { reference } => reference.clone(),
            Action::RenderRoutes { routes } => {
                let names: Vec<&str> = routes.iter().map(|route| route.service.as_str()).collect();
                match names.is_empty() {
                    true => "to nothing".to_owned(),
                    false => names.join(", "),
                }
            }
            Action::CreateContainer { spec, .. } | Action::RecreateContainer { spec, .. } => spec.name.clone(),
            Action::StartContainer { name, .. }
            | Action::RestartContainer { name, .. }
            | Action::RemoveContainer { name, .. }
            | Action::HandOver { name, .. }
            | Action::RemoveNetwork { name }
            | Action::RemoveVolume { name } => name.clone(),
            Action::WaitFor { service, condition, .. } => {
                let state = match condition {
                    Condition::Started => "running",
                    Condition::Healthy => "healthy",
                    Condition::Completed => "done",
                };
                format!("{service} to be {state}")
            }
            Action::Point { service, colour, .. } => format!("{service} {colour}"),
        }
    }

    /// The container it creates, starts, restarts or removes, by name.
    pub fn container(&self) -> Option<&str> {
        match self {
            Action::CreateContainer { spec, .. } | Action::RecreateContainer { spec, .. } => Some(&spec.name),
            Action::StartContainer { name, .. }
            | Action::RestartContainer { name, .. }
            | Action::HandOver { name, .. }
            | Action::RemoveContainer { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The service a failure of this is told under.
    pub fn service(&self) -> Option<&str> {
        match self {
            Action::CreateContainer { service, .. }
            | Action::StartContainer { service, .. }
            | Action::RecreateContainer { service, .. }
            | Action::RestartContainer { service, .. }
            | Action::RemoveContainer { service, .. } => Some(service),
            Action::HandOver { .. } => Some(ROUTER),
            Action::WaitFor { service, .. } | Action::Point { service, .. } => Some(service.as_str()),
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.action.kind(), self.action.subject(), self.reason)
    }
}
