use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::{Config, HealthConfig, Release, Swap};
use crate::model::{Colour, ProjectName, ServiceName};
use crate::stack::{Dependency, FileSource, Mount, NetworkMode, Service, Stack};

use super::desired::{self, DesiredError, HostFolders, InlineFile};
use super::order::by_dependency;
use super::{ContainerSpec, NetworkSpec, Route, Slot, SlotState, VolumeSpec, standby};

/// All that a project should consist of.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub project: ProjectName,
    pub networks: Vec<DesiredNetwork>,
    pub volumes: Vec<DesiredVolume>,
    pub files: Vec<InlineFile>,
    pub router: Option<ContainerSpec>,
    /// Dependencies before dependents.
    pub services: Vec<DesiredService>,
    /// Services whose profiles are off: what runs of them is nobody's orphan.
    pub disabled: BTreeSet<ServiceName>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DesiredNetwork {
    pub key: String,
    pub spec: NetworkSpec,
    pub external: bool,
    /// Whether a service uses it: only then it is made.
    pub used: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DesiredVolume {
    pub key: String,
    pub spec: VolumeSpec,
    pub external: bool,
    pub used: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DesiredService {
    pub name: ServiceName,
    /// One a replica; of a released service those of the serving colour.
    pub containers: Vec<ContainerSpec>,
    pub released: Option<Released>,
    pub recreated: Option<Recreated>,
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// The service whose network this one shares.
    pub network_of: Option<ServiceName>,
    pub pull_policy: Option<String>,
    pub binds: Vec<BindSource>,
    /// Files of [`Desired::files`] its containers mount.
    pub files: BTreeSet<PathBuf>,
}

/// A path on the host that a service mounts.
#[derive(Clone, Debug, PartialEq)]
pub struct BindSource {
    pub path: PathBuf,
    /// Whether Compose makes the folder where it is missing.
    pub create: bool,
}

/// Of a service that is released in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Recreated {
    /// What the Compose file names.
    pub compose_image: Option<String>,
}

/// Of a service behind the router.
#[derive(Clone, Debug, PartialEq)]
pub struct Released {
    /// The colour that serves.
    pub colour: Colour,
    /// The network whose addresses the router is given.
    pub network: String,
    /// As it is for a service the router does not know yet: all to the serving colour, no address.
    pub route: Route,
    /// What the Compose file names.
    pub compose_image: Option<String>,
}

/// Which colour of a released service serves, and its image as the journal has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Serving {
    pub colour: Colour,
    /// `None`: nothing was released yet, the Compose file's image counts.
    pub image: Option<String>,
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            colour: Colour::Blue,
            image: None,
        }
    }
}

impl Desired {
    /// `config` is `None` for a project without arkwright.yaml: then nothing is released.
    pub fn of(
        stack: &Stack,
        config: Option<&Config>,
        serving: &BTreeMap<ServiceName, Serving>,
        folders: &HostFolders,
    ) -> Result<Desired, DesiredError> {
        let release = |name: &ServiceName| config.and_then(|c| c.services.get(name)).map(|s| &s.release);
        let needs = stack
            .services
            .iter()
            .map(|(name, service)| (name.clone(), needs(service)))
            .collect();
        let services = by_dependency(&needs)
            .iter()
            .filter_map(|name| stack.services.get(name))
            .map(|service| {
                let serving = serving.get(&service.name).cloned().unwrap_or_default();
                of_service(stack, service, release(&service.name), &serving, folders)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let attached: BTreeSet<&String> = stack.services.values().flat_map(|s| s.networks.keys()).collect();
        let mounted: BTreeSet<&String> = stack.services.values().flat_map(volumes_of).collect();
        Ok(Desired {
            project: stack.name.clone(),
            networks: stack
                .networks
                .iter()
                .map(|(key, network)| DesiredNetwork {
                    key: key.clone(),
                    spec: desired::network(stack, key, network),
                    external: network.external,
                    used: attached.contains(key),
                })
                .collect(),
            volumes: stack
                .volumes
                .iter()
                .map(|(key, volume)| DesiredVolume {
                    key: key.clone(),
                    spec: desired::volume(stack, key, volume),
                    external: volume.external,
                    used: mounted.contains(key),
                })
                .collect(),
            files: desired::inline_files(stack, folders),
            router: config.and_then(|config| desired::router(stack, config, folders)),
            services,
            disabled: stack.disabled.keys().cloned().collect(),
        })
    }

    pub fn service(&self, name: &str) -> Option<&DesiredService> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }
}

/// The services it cannot do without.
pub fn needs(service: &Service) -> BTreeSet<ServiceName> {
    let mut needs: BTreeSet<ServiceName> = service.depends_on.keys().cloned().collect();
    needs.extend(network_of(service));
    needs
}

fn network_of(service: &Service) -> Option<ServiceName> {
    match &service.network_mode {
        Some(NetworkMode::Service(other)) => Some(other.clone()),
        _ => None,
    }
}

fn volumes_of(service: &Service) -> impl Iterator<Item = &String> {
    service.mounts.iter().filter_map(|mount| match mount {
        Mount::Volume { source, .. } => source.as_ref(),
        _ => None,
    })
}

fn of_service(
    stack: &Stack,
    service: &Service,
    release: Option<&Release>,
    serving: &Serving,
    folders: &HostFolders,
) -> Result<DesiredService, DesiredError> {
    let replicas = 1..=service.replicas;
    let made = release.map(|release| standby::of_colour(service, release, serving.colour, folders));
    let made = made.as_deref().unwrap_or(service);
    let mut recreated = None;
    let routed = release.and_then(|release| Some((release, release.routed()?)));
    let (containers, released) = match routed {
        None if release.is_some() => {
            let image = serving
                .image
                .as_ref()
                .or(service.image.as_ref())
                .ok_or_else(|| DesiredError::NoImage(service.name.clone()))?;
            recreated = Some(Recreated {
                compose_image: service.image.clone(),
            });
            let containers = replicas.map(|number| desired::recreated(stack, service, number, image, folders));
            (containers.collect::<Result<Vec<_>, _>>()?, None)
        }
        None => {
            let containers = replicas.map(|number| desired::container(stack, service, number, folders));
            (containers.collect::<Result<Vec<_>, _>>()?, None)
        }
        Some((release, (port, health))) => {
            let image = serving
                .image
                .as_ref()
                .or(service.image.as_ref())
                .ok_or_else(|| DesiredError::NoImage(service.name.clone()))?;
            let containers: Vec<ContainerSpec> = replicas
                .map(|replica| desired::colour(stack, made, serving.colour, replica, image, folders))
                .collect::<Result<_, _>>()?;
            let network = containers
                .first()
                .and_then(|spec| spec.networks.first())
                .ok_or_else(|| DesiredError::NoNetwork(service.name.clone()))?;
            let released = Released {
                colour: serving.colour,
                network: network.network.clone(),
                route: route(service, release, (port, health), serving.colour),
                compose_image: service.image.clone(),
            };
            (containers, Some(released))
        }
    };
    let binds = made.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind {
            source,
            create_host_path,
            ..
        } => Some(BindSource {
            path: source.clone(),
            create: *create_host_path,
        }),
        _ => None,
    });
    let granted = [(&service.secrets, &stack.secrets), (&service.configs, &stack.configs)];
    let from_files = granted.iter().flat_map(|(grants, objects)| {
        grants
            .iter()
            .filter_map(|grant| match &objects.get(&grant.source)?.from {
                FileSource::File(path) => Some(BindSource {
                    path: path.clone(),
                    create: false,
                }),
                _ => None,
            })
    });
    Ok(DesiredService {
        name: service.name.clone(),
        containers,
        released,
        recreated,
        depends_on: service.depends_on.clone(),
        network_of: network_of(service),
        pull_policy: service.pull_policy.clone(),
        binds: binds.chain(from_files).collect(),
        files: desired::inline_files_of(stack, service, folders),
    })
}

fn route(service: &Service, release: &Release, (port, health): (u16, &HealthConfig), serving: Colour) -> Route {
    let slot = |colour| Slot {
        colour,
        addresses: Vec::new(),
        weight: if colour == serving { 100 } else { 0 },
        state: if colour == serving {
            SlotState::Ready
        } else {
            SlotState::Maint
        },
    };
    Route {
        service: service.name.clone(),
        port,
        health_path: health.http.clone(),
        health_every: health.every,
        healthy_after: health.healthy_after,
        replicas: service.replicas,
        slots: Colour::BOTH.map(slot),
        preview: release.preview.as_ref().map(|p| (p.header.clone(), p.value.clone())),
        hold_limit: (release.swap == Swap::Hold).then_some(release.hold_limit),
        sticky: release.sticky,
        page: None,
    }
}
