use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, Span};
use crate::stack::{Healthcheck, Logging, Port, Resources, Restart, Subnet, Ulimit};

/// Everything an engine needs to create one container; what is not said is the image's or the engine's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub name: String,
    /// A reference or an image id.
    pub image: String,
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub environment: BTreeMap<String, String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub restart: Restart,
    pub ports: Vec<Port>,
    /// `3000/tcp`
    pub expose: Vec<String>,
    pub mounts: Vec<SpecMount>,
    /// The first is attached at creation, the others right after, before the start.
    pub networks: Vec<NetworkAttachment>,
    /// `none`, `host`, `bridge` or `container:<id>`; with it `networks` is empty.
    pub network_mode: Option<String>,
    pub healthcheck: Option<Healthcheck>,
    pub logging: Option<Logging>,
    pub resources: Resources,
    pub stop_signal: Option<String>,
    pub stop_grace: Option<Span>,
    pub init: Option<bool>,
    pub privileged: bool,
    pub read_only: bool,
    pub tty: bool,
    pub stdin_open: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub devices: Vec<String>,
    pub group_add: Vec<String>,
    pub shm_size: Option<u64>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub userns_mode: Option<String>,
    pub platform: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum SpecMount {
    /// `source` exists when the container is created (made by us where Compose says so).
    Bind {
        source: PathBuf,
        target: String,
        read_only: bool,
        propagation: Option<String>,
        selinux: Option<String>,
    },
    /// `source` is the engine's name; `None`: anonymous.
    Volume {
        source: Option<String>,
        target: String,
        read_only: bool,
        nocopy: bool,
    },
    Tmpfs {
        target: String,
        size: Option<u64>,
        mode: Option<u32>,
    },
}

impl SpecMount {
    pub fn target(&self) -> &str {
        match self {
            SpecMount::Bind { target, .. } | SpecMount::Volume { target, .. } | SpecMount::Tmpfs { target, .. } => {
                target
            }
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkAttachment {
    /// The engine's name of the network.
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    pub name: String,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub ipv6: bool,
    /// Podman: no name server on the network.
    pub dns_disabled: bool,
    pub subnets: Vec<Subnet>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub name: String,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// Whether it has a health check of its own, that is not switched off.
    pub fn checked(&self) -> bool {
        let test = self.healthcheck.as_ref().and_then(|check| check.test.first());
        test.is_some_and(|word| word != "NONE")
    }

    /// Changes whenever anything a person could have changed in the Compose file changes the container; the name and
    /// the labels that only say where it came from do not count.
    pub fn hash(&self) -> Digest {
        let mut essence = self.clone();
        essence.name.clear();
        let origins = ["com.docker.compose.", "io.podman.compose.", "arkwright."];
        essence
            .labels
            .retain(|key, _| !origins.iter().any(|origin| key.starts_with(origin)));
        let json = serde_json::to_vec(&essence).unwrap_or_else(|e| format!("unwritable: {e}").into_bytes());
        Digest::of(&json)
    }
}
