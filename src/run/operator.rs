use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::model::{Generation, Logins, NotAName, OperationId, ServiceName, Timestamp};

use super::{Petition, Receipt, Schedules, Watch};

/// What a client may ask of whoever owns the project's operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    Deploy {
        service: ServiceName,
        /// The Compose file's image where nothing is said.
        image: Option<String>,
        /// Straight to all traffic, without the steps.
        no_canary: bool,
        /// Why it begins whatever the calendar and the room on this host say.
        #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
        overriding: Option<String>,
    },
    Rollback {
        service: ServiceName,
        reason: Option<String>,
    },
    /// All of them in one release, or none.
    DeployTogether {
        services: Vec<Target>,
        no_canary: bool,
        #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
        overriding: Option<String>,
    },
    RollbackTogether {
        services: Vec<ServiceName>,
        /// Those as well that were released together with one of these, and not moved since.
        group: bool,
        reason: Option<String>,
    },
    /// Removes a warm colour.
    Retire {
        service: ServiceName,
    },
    Backup {
        set: String,
    },
    /// Removes what `keep` does not ask for from one store.
    Prune {
        store: String,
        /// Only snapshots of this set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set: Option<String>,
    },
    Drill {
        name: String,
    },
    /// Puts an earlier state of the data in place, with a version that worked.
    Emergency(Emergency),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emergency {
    pub service: ServiceName,
    /// The newest of each set where none is named.
    pub snapshot: Option<Generation>,
    /// Those that are backed up before a release of the service where none is named, or the only one.
    pub sets: Vec<String>,
    /// What served when the snapshot was taken, where none is named.
    pub image: Option<String>,
    pub reason: String,
    /// Why what is in place need not be saved in a store.
    pub without_saving: Option<String>,
    pub keep_maintenance: bool,
}

/// A service, and the image it is to move to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub service: ServiceName,
    /// The Compose file's image where nothing is said.
    pub image: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NotATarget {
    #[error("no image after `=`: write SERVICE=IMAGE, or the service alone for the Compose file's image")]
    NoImage,
    #[error(transparent)]
    Name(#[from] NotAName),
}

/// `SERVICE` or `SERVICE=IMAGE`.
impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let (service, image) = match text.split_once('=') {
            Some((_, "")) => return Err(NotATarget::NoImage),
            Some((service, image)) => (service, Some(image.to_owned())),
            None => (text, None),
        };
        let service = service.parse()?;
        Ok(Target { service, image })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.image {
            Some(image) => write!(f, "{}={image}", self.service),
            None => write!(f, "{}", self.service),
        }
    }
}

impl Order {
    /// One service alone, or several together.
    pub fn deploy(services: Vec<Target>, no_canary: bool, overriding: Option<String>) -> Self {
        match <[Target; 1]>::try_from(services) {
            Ok([Target { service, image }]) => Order::Deploy {
                service,
                image,
                no_canary,
                overriding,
            },
            Err(services) => Order::DeployTogether {
                services,
                no_canary,
                overriding,
            },
        }
    }

    /// The same of a way back; `group`: with all that were released together with one of them.
    pub fn rollback(mut services: Vec<ServiceName>, group: bool, reason: Option<String>) -> Self {
        match services.pop() {
            Some(service) if services.is_empty() && !group => Order::Rollback { service, reason },
            last => {
                services.extend(last);
                Order::RollbackTogether {
                    services,
                    group,
                    reason,
                }
            }
        }
    }

    /// Whether it is for those only who may do anything on this host: not for whoever was let near the agent's socket.
    pub fn privileged(&self) -> bool {
        matches!(
            self,
            Order::Emergency(_)
                | Order::Prune { .. }
                | Order::Deploy {
                    overriding: Some(_),
                    ..
                }
                | Order::DeployTogether {
                    overriding: Some(_),
                    ..
                }
        )
    }

    /// What a program may want to know of one that has no journal yet.
    pub fn detail(&self) -> serde_json::Value {
        let (goal, services) = match self {
            Order::Deploy { service, .. } => ("deploy", vec![service]),
            Order::Rollback { service, .. } => ("rollback", vec![service]),
            Order::Retire { service } => ("retire", vec![service]),
            Order::DeployTogether { services, .. } => ("deploy", services.iter().map(|to| &to.service).collect()),
            Order::RollbackTogether { services, .. } => ("rollback", services.iter().collect()),
            Order::Emergency(emergency) => ("emergency", vec![&emergency.service]),
            Order::Backup { .. } | Order::Prune { .. } | Order::Drill { .. } => return serde_json::Value::Null,
        };
        let only = services.first().filter(|_| services.len() == 1);
        serde_json::json!({ "goal": goal, "service": only, "services": services })
    }

    /// Whether it moves services to other images, so that arkwright.yaml has to be as it is meant.
    pub fn moves(&self) -> bool {
        matches!(
            self,
            Order::Deploy { .. }
                | Order::Rollback { .. }
                | Order::DeployTogether { .. }
                | Order::RollbackTogether { .. }
                | Order::Emergency(_)
        )
    }

    /// Operations of one lane run one after the other: two releases, or two backups, never at once.
    pub fn lane(&self) -> &'static str {
        match self {
            Order::Deploy { .. }
            | Order::Rollback { .. }
            | Order::DeployTogether { .. }
            | Order::RollbackTogether { .. }
            | Order::Retire { .. }
            | Order::Emergency(_) => "release",
            Order::Backup { .. } | Order::Prune { .. } => "backup",
            Order::Drill { .. } => "drill",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Deploy {
                service,
                image: Some(image),
                ..
            } => write!(f, "deploy {service}={image}"),
            Order::Deploy {
                service, image: None, ..
            } => write!(f, "deploy {service}"),
            Order::Rollback { service, .. } => write!(f, "roll back {service}"),
            Order::DeployTogether { services, .. } => write!(f, "deploy {}", words(services)),
            Order::RollbackTogether { services, group, .. } => {
                let more = if *group { " and what was released with it" } else { "" };
                write!(f, "roll back {}{more}", words(services))
            }
            Order::Retire { service } => write!(f, "retire the warm colour of {service}"),
            Order::Backup { set } => write!(f, "back up {set}"),
            Order::Prune { store, set: None } => write!(f, "prune {store}"),
            Order::Prune { store, set: Some(set) } => write!(f, "prune {store} of {set}"),
            Order::Drill { name } => write!(f, "drill {name}"),
            Order::Emergency(emergency) => write!(f, "emergency of {}", emergency.service),
        }
    }
}

fn words(all: &[impl fmt::Display]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Owns a project's operations: the one implementation drives them, in the agent or in the foreground.
#[async_trait]
pub trait Operator: Send + Sync + 'static {
    /// Plans the order and writes the journal's first record; nothing is changed yet.
    ///
    /// `id` is the caller's choice, so that an order can be named and followed while it waits for its lane. `logins` are
    /// held in memory until the operation is over; of them the journal has the registries' names alone.
    async fn begin(&self, id: &OperationId, order: &Order, by: &str, logins: &Logins) -> Result<(), OperationError>;
    /// Drives an operation from where its journal stands to its end; also after a crash. A stuck one is tried again
    /// when a petition to retry is waiting. Whoever calls this tells the followers of the end; `watch` hears updates.
    async fn finish(
        &self,
        id: &OperationId,
        watch: &dyn Watch,
        petitions: mpsc::Receiver<Petition>,
    ) -> Result<Receipt, OperationError>;
    /// What became of an operation, or how far it is (`outcome` is `running` then).
    fn receipt(&self, id: &OperationId) -> Result<Receipt, OperationError>;
    /// Every operation, oldest first.
    fn history(&self) -> Result<Vec<Receipt>, OperationError>;
    /// Operations whose journal has no end, with their lane.
    fn unfinished(&self) -> Result<Vec<(OperationId, &'static str)>, OperationError>;
    /// Chores that have come due, such as removing a warm colour.
    async fn due(&self, now: Timestamp) -> Result<Vec<Order>, OperationError>;
    /// The schedules as they are now; asked again and again.
    fn scheduled(&self) -> Schedules;
}

/// Why an order was not taken or not brought to an end; made to cross a socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct OperationError {
    pub blame: Blame,
    /// The whole chain of causes.
    pub message: String,
    pub hint: Option<String>,
}

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    Failed,
    Input,
    Engine,
    Host,
    Busy,
    Damaged,
    NotFound,
    Stuck,
    /// The project's own rules, or what this host has room for: nobody is at fault, and nothing was touched.
    Refused,
}

impl OperationError {
    pub fn new(blame: Blame, error: impl std::error::Error) -> Self {
        OperationError {
            blame,
            message: crate::model::chain(&error),
            hint: None,
        }
    }

    pub fn because(blame: Blame, message: impl Into<String>) -> Self {
        OperationError {
            blame,
            message: message.into(),
            hint: None,
        }
    }

    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
