use serde::{Deserialize, Serialize};

use crate::model::{ContainerId, Timestamp};
use crate::plan::Container;

/// A container as it ran when a hold began: what of it changes when it is restarted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub id: ContainerId,
    pub name: String,
    pub at: Option<Timestamp>,
    pub restarts: i64,
}

impl Started {
    pub fn of(container: &Container) -> Self {
        Started {
            id: container.id.clone(),
            name: container.name.clone(),
            at: container.started,
            restarts: container.restart_count,
        }
    }

    /// Whether the container, found again, was started since.
    pub fn again(&self, now: &Container) -> bool {
        self.at != now.started || self.restarts != now.restart_count
    }
}
