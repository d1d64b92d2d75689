use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{Config, Release, Swap};
use crate::model::{Colour, ServiceName, Timestamp};
use crate::plan::{Container, Observed, Plan, labels};
use crate::ports::{Engine, EngineError, EngineInfo, EngineKind, ImageInfo, Machine};
use crate::stack::{Mount, Service, Stack};
use crate::state::ProjectFolder;

use super::{Finding, Severity, Subject};

/// What there is to look at.
pub struct Scene<'a> {
    pub stack: &'a Stack,
    pub config: &'a Config,
    pub folder: &'a ProjectFolder,
    pub machine: &'a dyn Machine,
    pub now: Timestamp,
    /// `None` where no engine answers.
    pub engine: Option<&'a EngineView>,
    /// What `up` would do; `None` where that could not be found out.
    pub plan: Option<&'a Plan>,
}

/// What the engine says, asked once.
#[derive(Clone, Debug)]
pub struct EngineView {
    pub info: EngineInfo,
    /// `None` where that could not be asked.
    pub observed: Option<Observed>,
    /// By key in the Compose file: the volumes both colours of a service would write.
    pub volumes: BTreeMap<String, VolumePlace>,
    /// By the reference asked for; `None`: not on the engine's host. One that could not be asked about is left out.
    pub images: BTreeMap<String, Option<ImageInfo>>,
    /// Bytes of memory by container name, where the engine says.
    pub memory: BTreeMap<String, u64>,
}

/// Where the files of a volume lie.
#[derive(Clone, Debug, PartialEq)]
pub enum VolumePlace {
    /// There is no such volume yet.
    Missing,
    At(PathBuf),
    /// With a driver that keeps them where they cannot be looked at.
    Elsewhere,
    /// The engine did not say, for this reason.
    Unknown(String),
}

impl VolumePlace {
    async fn of(engine: &dyn Engine, name: &str) -> Self {
        match engine.volume_path(name).await {
            Ok(Some(path)) => VolumePlace::At(path),
            Ok(None) => VolumePlace::Elsewhere,
            Err(EngineError::NotFound { .. }) => VolumePlace::Missing,
            Err(error) => VolumePlace::Unknown(error.to_string()),
        }
    }
}

impl EngineView {
    /// Asks for everything of a project; what does not answer is a finding.
    pub async fn ask(engine: &dyn Engine, stack: &Stack, config: &Config) -> (Self, Vec<Finding>) {
        let mut found = Vec::new();
        let mut silent = |what: String, error: EngineError| {
            found.push(Finding::unchecked(
                Severity::Warning,
                "engine-silent",
                Subject::Engine,
                what,
                format!("the engine did not say: {error}"),
                "look at the engine's own log, then check again",
            ));
        };
        let observed = match engine.observe(&stack.name).await {
            Ok(observed) => Some(observed),
            Err(error) => {
                silent("the project's containers and what depends on them".into(), error);
                None
            }
        };
        let router = config.routed().next().is_some().then_some(&config.router.image);
        let wanted = stack.services.values().filter_map(|service| service.image.as_ref());
        let mut images = BTreeMap::new();
        for reference in wanted.chain(router).collect::<BTreeSet<_>>() {
            match engine.image(reference).await {
                Ok(image) => {
                    images.insert(reference.clone(), image);
                }
                Err(error) => silent(format!("the image {reference}"), error),
            }
        }
        let mut memory = BTreeMap::new();
        let containers = observed.iter().flat_map(|observed| &observed.containers);
        let running = containers.filter(|container| container.running());
        for container in running.filter(|c| {
            c.label(labels::SERVICE)
                .is_some_and(|name| unlimited(stack, config, name))
        }) {
            match engine.memory_use(&container.id).await {
                Ok(Some(bytes)) => {
                    memory.insert(container.name.clone(), bytes);
                }
                Ok(None) => {}
                Err(error) => silent(format!("the memory {} uses", container.name), error),
            }
        }
        let mut volumes = BTreeMap::new();
        for key in written_by_two(stack, config) {
            if let Some(volume) = stack.volumes.get(key) {
                volumes.insert(key.clone(), VolumePlace::of(engine, &volume.name).await);
            }
        }
        let view = EngineView {
            info: engine.info().clone(),
            observed,
            volumes,
            images,
            memory,
        };
        (view, found)
    }

    /// Whether the engine's host is this machine, so that paths and ports mean the same.
    pub fn local(&self) -> bool {
        self.info.host.starts_with("unix://")
    }

    pub fn podman(&self) -> bool {
        self.info.kind == EngineKind::Podman
    }

    /// `Podman 4.3.1`
    pub fn title(&self) -> String {
        match self.info.kind {
            EngineKind::Docker => format!("Docker {}", self.info.version),
            EngineKind::Podman => format!("Podman {}", self.info.version),
        }
    }

    pub fn running<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Container> {
        let containers = self.observed.iter().flat_map(|observed| &observed.containers);
        containers.filter(|c| c.running() && c.label(labels::SERVICE) == Some(service.name.as_str()))
    }

    /// Whether containers of both colours run: a second one needs no more room.
    pub fn in_two_colours(&self, service: &Service) -> bool {
        let runs = |colour: Colour| {
            self.running(service)
                .any(|c| c.label(labels::COLOUR) == Some(colour.as_str()))
        };
        Colour::BOTH.into_iter().all(runs)
    }
}

/// Whether what a second colour of the service takes is to be seen from the first alone.
fn unlimited(stack: &Stack, config: &Config, service: &str) -> bool {
    let released = config.services.iter().find(|(name, _)| name.as_str() == service);
    released.is_some_and(|(name, config)| {
        let limits = stack.services.get(name).map(|service| &service.resources);
        config.release.swap == Swap::Overlap && limits.is_some_and(|r| r.memory.or(r.memory_reserved).is_none())
    })
}

/// Keys of the volumes that released services may write and do not hold.
fn written_by_two<'a>(stack: &'a Stack, config: &'a Config) -> BTreeSet<&'a String> {
    let shared = config.routed().filter(|(_, release)| release.swap != Swap::Hold);
    let services = shared.filter_map(|(name, _)| stack.services.get(name));
    services.flat_map(written).collect()
}

/// Keys of the volumes a service may write.
pub fn written(service: &Service) -> impl Iterator<Item = &String> {
    service.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume {
            source,
            read_only: false,
            ..
        } => source.as_ref(),
        _ => None,
    })
}

impl<'a> Scene<'a> {
    pub fn services(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.stack.services.values()
    }

    /// Whether the router stands in front of it.
    pub fn routes(&self, service: &ServiceName) -> bool {
        self.config.routed().any(|(name, _)| name == service)
    }

    /// Services behind the router.
    pub fn released(&self) -> impl Iterator<Item = (&'a Service, &'a Release)> + use<'a> {
        let (stack, config) = (self.stack, self.config);
        config
            .routed()
            .filter_map(move |(name, release)| Some((stack.services.get(name)?, release)))
    }

    /// Services whose two colours run side by side during a release.
    pub fn doubled(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.released()
            .filter(|(_, release)| release.swap == Swap::Overlap)
            .map(|(service, _)| service)
    }

    /// A path as a person would write it in the Compose file.
    pub fn shown(&self, path: &Path) -> String {
        match path.strip_prefix(&self.stack.folder) {
            Ok(inner) if inner.as_os_str().is_empty() => ".".to_owned(),
            Ok(inner) => format!("./{}", inner.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// The engine, where it is on this machine.
    pub fn local_engine(&self) -> Option<&'a EngineView> {
        self.engine.filter(|engine| engine.local())
    }
}

/// `a, b and c`, for a sentence; at most six are named.
pub fn list<T: AsRef<str>>(names: &[T]) -> String {
    const MOST: usize = 6;
    let shown: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    match (shown.split_last(), names.len()) {
        (None, _) => String::new(),
        (Some(_), all) if all > MOST => format!("{} and {} more", shown.join(", "), all - MOST),
        (Some((last, [])), _) => (*last).to_owned(),
        (Some((last, before)), _) => format!("{} and {last}", before.join(", ")),
    }
}

/// The names of the services of which something is true; `None` for nobody.
pub fn those(scene: &Scene<'_>, wanted: impl Fn(&Service) -> bool) -> Option<String> {
    let found = scene.services().filter(|service| wanted(service));
    let names: Vec<&str> = found.map(|service| service.name.as_str()).collect();
    (!names.is_empty()).then(|| list(&names))
}
