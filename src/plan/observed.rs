use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{ContainerId, Health, Timestamp};

/// What the engine has of a project now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub containers: Vec<Container>,
    pub networks: Vec<ObservedNetwork>,
    pub volumes: Vec<ObservedVolume>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    pub id: ContainerId,
    /// Without the leading slash.
    pub name: String,
    /// The reference it was created from, as the engine gives it back (Podman adds `localhost/` or `docker.io/`).
    pub image: String,
    /// `sha256:…`
    pub image_id: String,
    pub state: ContainerState,
    pub exit_code: Option<i64>,
    pub health: Health,
    pub labels: BTreeMap<String, String>,
    pub created: Option<Timestamp>,
    pub started: Option<Timestamp>,
    /// By the engine's name of the network.
    pub networks: BTreeMap<String, Endpoint>,
    /// Published ports as the engine reports them: `0.0.0.0:8080->80/tcp`.
    pub ports: Vec<String>,
    pub restart_count: i64,
    /// The kernel ended a process of it because its memory was used up, in this run of it.
    #[serde(default)]
    pub oom_killed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The network's id as it was when the container was attached; on Podman its name.
    #[serde(default)]
    pub network_id: String,
    pub ip: Option<IpAddr>,
    pub aliases: Vec<String>,
}

/// The engines' words folded into one set: Podman's `stopped` and `configured` are `Exited` and `Created`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Removing,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub internal: bool,
    pub labels: BTreeMap<String, String>,
    /// CIDR.
    pub subnets: Vec<String>,
    pub gateway: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedVolume {
    pub name: String,
    pub driver: String,
    pub labels: BTreeMap<String, String>,
}

impl Container {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// It does not run, and the engine does nothing about it.
    pub fn stopped(&self) -> bool {
        matches!(
            self.state,
            ContainerState::Exited | ContainerState::Created | ContainerState::Dead
        )
    }

    pub fn running(&self) -> bool {
        self.state == ContainerState::Running
    }
}
