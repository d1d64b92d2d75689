//! A machine and an engine in memory, in good health until a test says otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::config::{self, Config};
use crate::model::{ContainerId, Health, Timestamp};
use crate::plan::{Container, ContainerState, Observed, Plan, labels};
use crate::ports::*;
use crate::run::check::{EngineView, Finding, Scene};
use crate::stack::{self, LoadRequest, Stack, Unread};
use crate::state::ProjectFolder;

pub const FOLDER: &str = "/srv/ark";

pub struct World {
    pub stack: Stack,
    pub config: Config,
    pub folder: ProjectFolder,
    pub machine: Fake,
    pub engine: Option<EngineView>,
    pub plan: Option<Plan>,
}

struct Texts(BTreeMap<PathBuf, String>);

impl stack::Files for Texts {
    fn read(&self, path: &Path, _limit: usize) -> Result<String, Unread> {
        self.0.get(path).cloned().ok_or(Unread::Missing)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

impl World {
    /// A project of these two files, all of whose images and mounted folders are here, on Docker.
    pub fn of(compose: &str, arkwright: &str) -> Self {
        let folder = PathBuf::from(FOLDER);
        let file = folder.join("compose.yaml");
        let request = LoadRequest {
            files: vec![file.clone()],
            project_name: Some("ark".into()),
            env: BTreeMap::new(),
            env_files: Vec::new(),
            profiles: Vec::new(),
            project_directory: None,
            current_dir: folder.clone(),
        };
        let loaded = stack::load(&request, &Texts([(file, compose.to_owned())].into())).expect("a Compose file");
        let stack = loaded.stack;
        let services = stack.services.keys().cloned().collect();
        let config = config::load(&folder.join("arkwright.yaml"), arkwright, &services).expect("an arkwright.yaml");
        let mut machine = Fake::default();
        machine.folder("/");
        machine.folder(FOLDER);
        machine.folder("/var/lib/docker");
        for service in stack.services.values() {
            for mount in &service.mounts {
                if let stack::Mount::Bind { source, .. } = mount {
                    machine.folder(source);
                }
            }
        }
        let references = stack.services.values().filter_map(|service| service.image.clone());
        let images = references.chain([config.router.image.clone()]);
        let engine = EngineView {
            info: info(),
            observed: Some(Observed::default()),
            volumes: BTreeMap::new(),
            images: images.map(|reference| (reference, Some(image()))).collect(),
            memory: BTreeMap::new(),
        };
        World {
            plan: Some(Plan::empty(stack.name.clone())),
            folder: ProjectFolder::named(Path::new("/state"), &stack.name),
            stack,
            config,
            machine,
            engine: Some(engine),
        }
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene {
            stack: &self.stack,
            config: &self.config,
            folder: &self.folder,
            machine: &self.machine,
            now: Timestamp::UNIX_EPOCH,
            engine: self.engine.as_ref(),
            plan: self.plan.as_ref(),
        }
    }

    pub fn engine(&mut self) -> &mut EngineView {
        self.engine.as_mut().expect("an engine")
    }

    pub fn podman(mut self) -> Self {
        let info = &mut self.engine().info;
        (info.kind, info.version) = (EngineKind::Podman, "4.3.1".into());
        self
    }

    /// A container of a service that runs.
    pub fn runs(&mut self, service: &str, name: &str, ports: &[&str]) -> &mut Container {
        let labels = [(labels::PROJECT, "ark"), (labels::SERVICE, service)];
        let observed = self.engine().observed.as_mut().expect("observed");
        observed.containers.push(Container {
            id: ContainerId::new(name),
            name: name.to_owned(),
            image: "i".into(),
            image_id: "sha256:0".into(),
            state: ContainerState::Running,
            exit_code: None,
            health: Health::Unchecked,
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            created: None,
            started: None,
            networks: BTreeMap::new(),
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
            restart_count: 0,
            oom_killed: false,
        });
        observed.containers.last_mut().expect("pushed")
    }
}

/// `code subject` of each finding, subjects by name.
pub fn codes(findings: &[Finding]) -> Vec<String> {
    let name = |finding: &Finding| {
        let json = serde_json::to_value(&finding.subject).expect("JSON");
        let name = json["name"].as_str().or(json["kind"].as_str()).unwrap_or_default();
        format!("{} {name}", finding.code)
    };
    findings.iter().map(name).collect()
}

fn info() -> EngineInfo {
    EngineInfo {
        kind: EngineKind::Docker,
        version: "28.0.1".into(),
        api_version: "1.48".into(),
        host: "unix:///run/docker.sock".into(),
        rootless: false,
        architecture: "amd64".into(),
        memory: 8 << 30,
        cpus: 2,
        cgroup_version: "2".into(),
        root_dir: Some("/var/lib/docker".into()),
        enforces: Enforces {
            memory: Some(true),
            swap: Some(true),
            cpus: Some(true),
            cpu_shares: Some(true),
            cpuset: Some(true),
            pids: Some(true),
        },
        log_drivers: vec!["json-file".into(), "journald".into(), "local".into()],
    }
}

pub fn image() -> ImageInfo {
    ImageInfo {
        id: "sha256:0".into(),
        repo_digests: Vec::new(),
        repo_tags: Vec::new(),
        architecture: "amd64".into(),
        size: 100 << 20,
        command: Vec::new(),
        entrypoint: Vec::new(),
        user: String::new(),
        has_healthcheck: false,
        exposed: Vec::new(),
        labels: BTreeMap::new(),
    }
}

#[derive(Clone)]
pub struct Thing {
    pub place: Place,
    pub readable: bool,
    pub writable: bool,
    pub text: String,
    pub modified: Timestamp,
}

pub struct Fake {
    pub user: User,
    pub limits: Option<ProcessLimits>,
    pub memory: Option<u64>,
    pub disks: BTreeMap<u64, DiskSpace>,
    pub things: BTreeMap<PathBuf, Thing>,
    pub taken: BTreeSet<(IpAddr, u16)>,
    pub cut: bool,
    pub clock: ClockState,
    pub firewall: Firewall,
    pub unresolved: bool,
}

impl Default for Fake {
    fn default() -> Self {
        let limit = Limit {
            soft: Some(1 << 20),
            hard: Some(1 << 20),
        };
        Fake {
            user: User {
                uid: 0,
                name: Some("root".into()),
                home: Some("/root".into()),
            },
            limits: Some(ProcessLimits {
                files: limit,
                processes: limit,
                may_raise: true,
            }),
            memory: Some(4 << 30),
            disks: [(1, disk(1))].into(),
            things: BTreeMap::new(),
            taken: BTreeSet::new(),
            cut: false,
            clock: ClockState::Synchronised,
            firewall: Firewall::Off,
            unresolved: false,
        }
    }
}

pub fn disk(id: u64) -> DiskSpace {
    DiskSpace {
        id,
        free: 60 << 30,
        total: 100 << 30,
        inodes_free: 900,
        inodes: 1000,
    }
}

impl Fake {
    pub fn folder(&mut self, path: impl AsRef<Path>) -> &mut Thing {
        self.thing(path, PlaceKind::Folder, "")
    }

    pub fn file(&mut self, path: impl AsRef<Path>, text: &str) -> &mut Thing {
        self.thing(path, PlaceKind::File, text)
    }

    fn thing(&mut self, path: impl AsRef<Path>, kind: PlaceKind, text: &str) -> &mut Thing {
        let place = Place {
            kind,
            mode: 0o700,
            disk: 1,
        };
        let thing = Thing {
            place,
            readable: true,
            writable: true,
            text: text.to_owned(),
            modified: Timestamp::UNIX_EPOCH,
        };
        self.things.insert(path.as_ref().to_path_buf(), thing);
        self.things.get_mut(path.as_ref()).expect("inserted")
    }

    fn find(&self, path: &Path) -> io::Result<&Thing> {
        self.things.get(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn allowed(is: bool) -> io::Result<()> {
    match is {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn silent() -> io::Error {
    io::Error::other("it does not say")
}

#[async_trait]
impl Machine for Fake {
    fn user(&self) -> User {
        self.user.clone()
    }

    fn limits(&self) -> io::Result<ProcessLimits> {
        self.limits.ok_or_else(silent)
    }

    fn memory_free(&self) -> io::Result<u64> {
        self.memory.ok_or_else(silent)
    }

    fn disk(&self, path: &Path) -> io::Result<DiskSpace> {
        let id = self.find(path)?.place.disk;
        self.disks.get(&id).copied().ok_or_else(silent)
    }

    fn look(&self, path: &Path) -> io::Result<Place> {
        Ok(self.find(path)?.place)
    }

    fn readable(&self, path: &Path) -> io::Result<()> {
        allowed(self.find(path)?.readable)
    }

    fn writable(&self, path: &Path) -> io::Result<()> {
        allowed(self.find(path)?.writable)
    }

    fn text(&self, path: &Path) -> io::Result<String> {
        let thing = self.find(path)?;
        allowed(thing.readable)?;
        Ok(thing.text.clone())
    }

    fn files(&self, folder: &Path) -> io::Result<Files> {
        self.readable(folder)?;
        let inside = self
            .things
            .iter()
            .filter(|(path, thing)| thing.place.kind == PlaceKind::File && path.starts_with(folder));
        Ok(Files {
            found: inside.map(|(path, thing)| (path.clone(), thing.modified)).collect(),
            cut: self.cut,
        })
    }

    fn begins_with(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        Ok(self.text(path)?.as_bytes().starts_with(bytes))
    }

    fn listen(&self, address: IpAddr, port: u16, _protocol: Protocol) -> io::Result<()> {
        match self.taken.contains(&(address, port)) {
            true => Err(io::ErrorKind::AddrInUse.into()),
            false => Ok(()),
        }
    }

    async fn clock(&self) -> ClockState {
        self.clock.clone()
    }

    async fn firewall(&self) -> Firewall {
        self.firewall.clone()
    }

    async fn resolve(&self, _name: &str) -> io::Result<()> {
        match self.unresolved {
            true => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 3 s")),
            false => Ok(()),
        }
    }
}
