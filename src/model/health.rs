use serde::{Deserialize, Serialize};

/// What a container's health check says, on either engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The container declares no check: running is all that is known.
    Unchecked,
    Starting,
    Healthy,
    Unhealthy,
}
