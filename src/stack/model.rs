use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::model::{ProjectName, ServiceName, Span};

/// A Compose project after interpolation, merge and normalisation: every short form is gone, every path absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    pub name: ProjectName,
    /// The folder relative paths were read against.
    pub folder: PathBuf,
    /// The Compose files, in the order given.
    pub files: Vec<PathBuf>,
    /// Every other file the model was read from (`.env`, env_file, extended files): a backup carries these too.
    pub read_files: Vec<PathBuf>,
    /// Services whose profiles are on.
    pub services: BTreeMap<ServiceName, Service>,
    /// Services left out because none of their profiles is on.
    pub disabled: BTreeMap<ServiceName, Service>,
    pub networks: BTreeMap<String, Network>,
    pub volumes: BTreeMap<String, Volume>,
    pub secrets: BTreeMap<String, FileObject>,
    pub configs: BTreeMap<String, FileObject>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    pub image: Option<String>,
    pub build: Option<Build>,
    pub container_name: Option<String>,
    /// `None`: the image's own; an empty list clears it.
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the key was given without a value and the project's environment has none either.
    pub environment: BTreeMap<String, Option<String>>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub restart: Restart,
    /// What `deploy.restart_policy` asks beyond what an engine's restart policy can say; `check` reports it.
    pub restart_unenforced: Vec<String>,
    pub ports: Vec<Port>,
    pub expose: Vec<String>,
    pub mounts: Vec<Mount>,
    pub networks: BTreeMap<String, Attachment>,
    pub network_mode: Option<NetworkMode>,
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    pub healthcheck: Option<Healthcheck>,
    pub logging: Option<Logging>,
    pub resources: Resources,
    pub replicas: u32,
    pub labels: BTreeMap<String, String>,
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
    /// `name:address`, normalised.
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `host:container:permissions`.
    pub devices: Vec<String>,
    pub group_add: Vec<String>,
    pub shm_size: Option<u64>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub userns_mode: Option<String>,
    pub secrets: Vec<FileGrant>,
    pub configs: Vec<FileGrant>,
    pub profiles: Vec<String>,
    pub platform: Option<String>,
    pub pull_policy: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    pub context: PathBuf,
    pub dockerfile: String,
    pub target: Option<String>,
    pub args: BTreeMap<String, Option<String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure {
        attempts: Option<u32>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Port {
    /// Empty: all addresses.
    pub host_ip: String,
    /// Host port or range (`9090-9091`); empty: the engine chooses.
    pub published: String,
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Mount {
    Bind {
        source: PathBuf,
        target: String,
        read_only: bool,
        create_host_path: bool,
        propagation: Option<String>,
        selinux: Option<String>,
    },
    /// `source` is a key of [`Stack::volumes`]; `None` asks for an anonymous volume.
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

/// A service's place on one network of [`Stack::networks`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    pub aliases: Vec<String>,
    pub ipv4: Option<String>,
    pub ipv6: Option<String>,
    pub priority: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum NetworkMode {
    None,
    Host,
    Bridge,
    Service(ServiceName),
    Container(String),
    /// A network of the engine's own, under its own name.
    Named(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Dependency {
    pub condition: Condition,
    pub required: bool,
    pub restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Condition {
    #[serde(rename = "service_started")]
    Started,
    #[serde(rename = "service_healthy")]
    Healthy,
    #[serde(rename = "service_completed_successfully")]
    Completed,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Healthcheck {
    /// As the engine takes it: `["CMD", …]`, `["CMD-SHELL", …]`, `["NONE"]`; empty keeps the image's own.
    pub test: Vec<String>,
    pub interval: Option<Span>,
    pub timeout: Option<Span>,
    pub start_period: Option<Span>,
    pub start_interval: Option<Span>,
    pub retries: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    pub cpus: Option<f64>,
    /// Bytes.
    pub memory: Option<u64>,
    pub cpus_reserved: Option<f64>,
    pub memory_reserved: Option<u64>,
    pub memory_swap: Option<i64>,
    pub pids: Option<i64>,
    pub cpu_shares: Option<i64>,
    pub cpuset: Option<String>,
    pub oom_score_adj: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

/// A `secrets` or `configs` entry a service asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct FileGrant {
    /// A key of [`Stack::secrets`] or [`Stack::configs`].
    pub source: String,
    /// Absolute path inside the container.
    pub target: String,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub mode: Option<u32>,
}

/// Where a secret's or config's bytes come from.
#[derive(Clone, Debug, PartialEq)]
pub struct FileObject {
    /// The name the engine or another tool knows it by.
    pub name: String,
    pub from: FileSource,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSource {
    File(PathBuf),
    Environment(String),
    Content(String),
    External,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The engine's name: `{project}_{key}` unless `name:` says otherwise.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub ipv6: bool,
    pub subnets: Vec<Subnet>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Subnet {
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// The engine's name: `{project}_{key}` unless `name:` says otherwise.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl Service {
    /// A service that says nothing but its name, one replica of it.
    pub fn named(name: ServiceName) -> Self {
        Service {
            name,
            image: None,
            build: None,
            container_name: None,
            command: None,
            entrypoint: None,
            environment: BTreeMap::new(),
            hostname: None,
            domainname: None,
            user: None,
            working_dir: None,
            restart: Restart::No,
            restart_unenforced: Vec::new(),
            ports: Vec::new(),
            expose: Vec::new(),
            mounts: Vec::new(),
            networks: BTreeMap::new(),
            network_mode: None,
            depends_on: BTreeMap::new(),
            healthcheck: None,
            logging: None,
            resources: Resources::default(),
            replicas: 1,
            labels: BTreeMap::new(),
            stop_signal: None,
            stop_grace: None,
            init: None,
            privileged: false,
            read_only: false,
            tty: false,
            stdin_open: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_opt: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: BTreeMap::new(),
            devices: Vec::new(),
            group_add: Vec::new(),
            shm_size: None,
            pid: None,
            ipc: None,
            userns_mode: None,
            secrets: Vec::new(),
            configs: Vec::new(),
            profiles: Vec::new(),
            platform: None,
            pull_policy: None,
        }
    }
}
