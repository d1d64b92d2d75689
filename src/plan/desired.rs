use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{Config, Release};
use crate::model::{Colour, ServiceName};
use crate::stack::{
    FileGrant, FileObject, FileSource, Healthcheck, Mount, Network, NetworkMode, Restart, Service, Stack, Volume,
};

use super::labels;
use super::{ContainerSpec, NetworkAttachment, NetworkSpec, SpecMount, VolumeSpec};

/// The service name the router's container carries: its own, so that a foreign `up` does not take it for a surplus replica.
pub const ROUTER: &str = "arkwright-router";

/// Folders on this host that containers are given parts of.
#[derive(Clone, Debug)]
pub struct HostFolders {
    /// Where secrets and configs that are no files become files, 0700.
    pub files: PathBuf,
    /// The router's configuration (`haproxy.cfg`, `state.map`, `hold.lua`), read-only in its container.
    pub router_config: PathBuf,
    /// The router's sockets.
    pub router_run: PathBuf,
    /// A folder for each colour of a service that works a queue.
    pub standby: PathBuf,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DesiredError {
    #[error("service `{0}` has no `image`; build it and name it, arkwright builds nothing itself")]
    NoImage(ServiceName),
    #[error("service `{service}` takes `{object}`, which is external; arkwright reads secrets and configs from files")]
    ExternalFile { service: ServiceName, object: String },
    #[error("service `{0}` is released behind the router, so it needs a network of its own (no `network_mode`)")]
    NoNetwork(ServiceName),
}

/// A secret or config whose text has to be put into a file before a container can have it.
#[derive(Clone, Debug, PartialEq)]
pub struct InlineFile {
    pub path: PathBuf,
    pub from: FileSource,
}

/// The container of a service that is not released, replica `number` counting from 1.
pub fn container(
    stack: &Stack,
    service: &Service,
    number: u32,
    folders: &HostFolders,
) -> Result<ContainerSpec, DesiredError> {
    let mut spec = bare(stack, service, folders)?;
    spec.name = container_name(stack, service, number);
    spec.labels
        .extend(labels::container(stack, service.name.as_str(), number));
    seal(&mut spec);
    Ok(spec)
}

/// The same of a service that is released in place: made from the image it was released with.
pub fn recreated(
    stack: &Stack,
    service: &Service,
    number: u32,
    image: &str,
    folders: &HostFolders,
) -> Result<ContainerSpec, DesiredError> {
    let mut service = with_image(service, image);
    service.labels.insert(labels::IMAGE.into(), image.to_owned());
    container(stack, &service, number, folders)
}

/// `container_name` where there is one, else Compose's `{project}-{service}-{number}`.
fn container_name(stack: &Stack, service: &Service, number: u32) -> String {
    match (&service.container_name, number) {
        (Some(name), 1) => name.clone(),
        _ => format!("{}-{}-{number}", stack.name, service.name),
    }
}

/// One replica of one colour of a released service: no name, alias or published port of the service's own.
pub fn colour(
    stack: &Stack,
    service: &Service,
    colour: Colour,
    replica: u32,
    image: &str,
    folders: &HostFolders,
) -> Result<ContainerSpec, DesiredError> {
    if service.network_mode.is_some() || service.networks.is_empty() {
        return Err(DesiredError::NoNetwork(service.name.clone()));
    }
    let mut spec = bare(stack, &with_image(service, image), folders)?;
    spec.name = colour_name(stack, &service.name, colour, replica);
    spec.ports.clear();
    for attachment in &mut spec.networks {
        attachment.aliases = vec![colour_alias(&service.name, colour)];
        attachment.ipv4 = None;
        attachment.ipv6 = None;
    }
    let number = replica + if colour == Colour::Green { service.replicas } else { 0 };
    spec.labels
        .extend(labels::container(stack, service.name.as_str(), number));
    spec.labels.insert(labels::COLOUR.into(), colour.to_string());
    spec.labels.insert(labels::IMAGE.into(), image.to_owned());
    // A colour that was stopped stays stopped when the engine starts again: beside it another one serves.
    if spec.restart == Restart::Always {
        spec.restart = Restart::UnlessStopped;
    }
    seal(&mut spec);
    Ok(spec)
}

/// A container that runs one program around a release: as a replica of the service, without its names, its health check
/// and a place in the project's lists.
pub fn hook(
    stack: &Stack,
    service: &Service,
    at: usize,
    run: &[String],
    image: &str,
    folders: &HostFolders,
) -> Result<ContainerSpec, DesiredError> {
    let mut spec = bare(stack, &with_image(service, image), folders)?;
    spec.name = format!("{}-{}-hook-{}", stack.name, service.name, at + 1);
    spec.ports.clear();
    for attachment in &mut spec.networks {
        attachment.aliases.clear();
        attachment.ipv4 = None;
        attachment.ipv6 = None;
    }
    spec.entrypoint = Some(run.iter().take(1).cloned().collect());
    spec.command = Some(run.iter().skip(1).cloned().collect());
    spec.healthcheck = Some(Healthcheck {
        test: vec!["NONE".into()],
        ..Healthcheck::default()
    });
    spec.restart = Restart::No;
    spec.labels
        .insert(labels::HOOK.into(), format!("{}/{}", stack.name, service.name));
    seal(&mut spec);
    Ok(spec)
}

/// `{project}-{service}-{colour}-{replica}`, replicas counting from 1.
pub fn colour_name(stack: &Stack, service: &ServiceName, colour: Colour, replica: u32) -> String {
    format!("{}-{service}-{colour}-{replica}", stack.name)
}

/// What every replica of a colour answers to on the service's networks, proven or not.
pub fn colour_alias(service: &ServiceName, colour: Colour) -> String {
    format!("{service}-{colour}")
}

/// The router: on every network of every released service, under all their names, with their published ports.
pub fn router(stack: &Stack, config: &Config, folders: &HostFolders) -> Option<ContainerSpec> {
    let released: Vec<(&Service, &Release)> = config
        .routed()
        .filter_map(|(name, release)| Some((stack.services.get(name)?, release)))
        .collect();
    if released.is_empty() {
        return None;
    }
    let mut networks: BTreeMap<String, NetworkAttachment> = BTreeMap::new();
    let mut ports = Vec::new();
    for (service, _) in &released {
        for attachment in attachments(stack, service) {
            let entry = networks
                .entry(attachment.network.clone())
                .or_insert_with(|| NetworkAttachment {
                    network: attachment.network.clone(),
                    ..NetworkAttachment::default()
                });
            entry.aliases.extend(attachment.aliases);
            entry.aliases.extend(service.container_name.clone());
            entry.ipv4 = entry.ipv4.take().or(attachment.ipv4);
            entry.ipv6 = entry.ipv6.take().or(attachment.ipv6);
        }
        ports.extend(service.ports.iter().cloned());
    }
    for attachment in networks.values_mut() {
        attachment.aliases.sort();
        attachment.aliases.dedup();
    }
    let bind = |source: &Path, target: &str, read_only| SpecMount::Bind {
        source: source.to_path_buf(),
        target: target.into(),
        read_only,
        propagation: None,
        selinux: None,
    };
    // The master's socket is where a reload is asked for.
    let command = [
        "haproxy",
        "-W",
        "-db",
        "-S",
        "/run/arkwright/master.sock,mode,600",
        "-f",
        "/etc/arkwright/haproxy.cfg",
    ];
    let mut spec = ContainerSpec {
        name: format!("{}-{ROUTER}-1", stack.name),
        image: config.router.image.clone(),
        entrypoint: Some(Vec::new()),
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        user: Some(ROUTER_USER.into()),
        restart: Restart::UnlessStopped,
        ports,
        mounts: vec![
            bind(&folders.router_config, "/etc/arkwright", true),
            bind(&folders.router_run, "/run/arkwright", false),
        ],
        networks: networks.into_values().collect(),
        read_only: true,
        cap_drop: vec!["ALL".into()],
        security_opt: vec!["no-new-privileges:true".into()],
        // A router that is told to stop stops: its connections are worth nothing without it.
        stop_signal: Some("SIGTERM".into()),
        ..ContainerSpec::default()
    };
    spec.labels.extend(labels::container(stack, ROUTER, 1));
    seal(&mut spec);
    Some(spec)
}

/// Uid and gid of the router's process; its socket folder belongs to it.
pub const ROUTER_USER: &str = "99:99";

pub fn network(stack: &Stack, key: &str, network: &Network) -> NetworkSpec {
    let mut labels = network.labels.clone();
    labels.extend(labels::network(stack, key));
    NetworkSpec {
        name: network.name.clone(),
        driver: network.driver.clone(),
        driver_opts: network.driver_opts.clone(),
        internal: network.internal,
        attachable: network.attachable,
        ipv6: network.ipv6,
        dns_disabled: false,
        subnets: network.subnets.clone(),
        labels,
    }
}

pub fn volume(stack: &Stack, key: &str, volume: &Volume) -> VolumeSpec {
    let mut labels = volume.labels.clone();
    labels.extend(labels::volume(stack, key));
    VolumeSpec {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        driver_opts: volume.driver_opts.clone(),
        labels,
    }
}

/// Secrets and configs of the stack's services whose text is not in a file.
pub fn inline_files(stack: &Stack, folders: &HostFolders) -> Vec<InlineFile> {
    let kinds = [("secret", &stack.secrets), ("config", &stack.configs)];
    let objects = kinds
        .iter()
        .flat_map(|(kind, objects)| objects.iter().map(move |(key, object)| (kind, key, object)));
    objects
        .filter(|(_, _, object)| matches!(object.from, FileSource::Environment(_) | FileSource::Content(_)))
        .map(|(kind, key, object)| InlineFile {
            path: inline_path(folders, kind, key),
            from: object.from.clone(),
        })
        .collect()
}

/// Those of [`inline_files`] that this service mounts.
pub(super) fn inline_files_of(stack: &Stack, service: &Service, folders: &HostFolders) -> BTreeSet<PathBuf> {
    let granted = [
        ("secret", &service.secrets, &stack.secrets),
        ("config", &service.configs, &stack.configs),
    ];
    granted
        .iter()
        .flat_map(|(kind, grants, objects)| grants.iter().map(move |grant| (kind, grant, objects)))
        .filter(|(_, grant, objects)| {
            let from = objects.get(&grant.source).map(|object| &object.from);
            matches!(from, Some(FileSource::Environment(_) | FileSource::Content(_)))
        })
        .map(|(kind, grant, _)| inline_path(folders, kind, &grant.source))
        .collect()
}

fn inline_path(folders: &HostFolders, kind: &str, key: &str) -> PathBuf {
    folders.files.join(format!("{kind}-{key}"))
}

fn with_image(service: &Service, image: &str) -> Service {
    Service {
        image: Some(image.to_owned()),
        ..service.clone()
    }
}

/// What the Compose file says of the service, without name and without our labels.
fn bare(stack: &Stack, service: &Service, folders: &HostFolders) -> Result<ContainerSpec, DesiredError> {
    let image = service
        .image
        .clone()
        .ok_or_else(|| DesiredError::NoImage(service.name.clone()))?;
    let mut mounts: Vec<SpecMount> = service.mounts.iter().map(|m| mount(stack, m)).collect();
    for (kind, grants, objects) in [
        ("secret", &service.secrets, &stack.secrets),
        ("config", &service.configs, &stack.configs),
    ] {
        for grant in grants {
            mounts.push(file_mount(service, kind, grant, objects, folders)?);
        }
    }
    let network_mode = service.network_mode.as_ref().map(|mode| match mode {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::Service(other) => match stack.services.get(other) {
            Some(other) => format!("container:{}", container_name(stack, other, 1)),
            None => format!("container:{}-{other}-1", stack.name),
        },
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Named(network) => network.clone(),
    });
    Ok(ContainerSpec {
        name: String::new(),
        image,
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        environment: service
            .environment
            .iter()
            .filter_map(|(k, v)| Some((k.clone(), v.clone()?)))
            .collect(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        labels: service.labels.clone(),
        restart: service.restart.clone(),
        ports: service.ports.clone(),
        expose: service.expose.clone(),
        mounts,
        networks: if network_mode.is_some() {
            Vec::new()
        } else {
            attachments(stack, service)
        },
        network_mode,
        healthcheck: service.healthcheck.clone(),
        logging: service.logging.clone(),
        resources: service.resources.clone(),
        stop_signal: service.stop_signal.clone(),
        stop_grace: service.stop_grace,
        init: service.init,
        privileged: service.privileged,
        read_only: service.read_only,
        tty: service.tty,
        stdin_open: service.stdin_open,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        security_opt: service.security_opt.clone(),
        extra_hosts: service.extra_hosts.clone(),
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_opt: service.dns_opt.clone(),
        sysctls: service.sysctls.clone(),
        ulimits: service.ulimits.clone(),
        devices: service.devices.clone(),
        group_add: service.group_add.clone(),
        shm_size: service.shm_size,
        pid: service.pid.clone(),
        ipc: service.ipc.clone(),
        userns_mode: service.userns_mode.clone(),
        platform: service.platform.clone(),
    })
}

/// Highest priority first, as Compose attaches them; every one answers to the service's name.
fn attachments(stack: &Stack, service: &Service) -> Vec<NetworkAttachment> {
    let mut ordered: Vec<_> = service.networks.iter().collect();
    ordered.sort_by_key(|(key, attachment)| (-attachment.priority, (*key).clone()));
    ordered
        .into_iter()
        .map(|(key, attachment)| {
            let mut aliases = vec![service.name.to_string()];
            aliases.extend(
                attachment
                    .aliases
                    .iter()
                    .filter(|a| *a != service.name.as_str())
                    .cloned(),
            );
            NetworkAttachment {
                network: stack
                    .networks
                    .get(key)
                    .map_or_else(|| format!("{}_{key}", stack.name), |n| n.name.clone()),
                aliases,
                ipv4: attachment.ipv4.clone(),
                ipv6: attachment.ipv6.clone(),
            }
        })
        .collect()
}

fn mount(stack: &Stack, mount: &Mount) -> SpecMount {
    match mount.clone() {
        Mount::Bind {
            source,
            target,
            read_only,
            propagation,
            selinux,
            ..
        } => SpecMount::Bind {
            source,
            target,
            read_only,
            propagation,
            selinux,
        },
        Mount::Volume {
            source,
            target,
            read_only,
            nocopy,
        } => SpecMount::Volume {
            source: source.map(|key| stack.volumes.get(&key).map_or_else(|| key.clone(), |v| v.name.clone())),
            target,
            read_only,
            nocopy,
        },
        Mount::Tmpfs { target, size, mode } => SpecMount::Tmpfs { target, size, mode },
    }
}

fn file_mount(
    service: &Service,
    kind: &str,
    grant: &FileGrant,
    objects: &BTreeMap<String, FileObject>,
    folders: &HostFolders,
) -> Result<SpecMount, DesiredError> {
    let source = match objects.get(&grant.source).map(|object| &object.from) {
        Some(FileSource::File(path)) => path.clone(),
        Some(FileSource::Environment(_) | FileSource::Content(_)) => inline_path(folders, kind, &grant.source),
        Some(FileSource::External) | None => {
            return Err(DesiredError::ExternalFile {
                service: service.name.clone(),
                object: grant.source.clone(),
            });
        }
    };
    Ok(SpecMount::Bind {
        source,
        target: grant.target.clone(),
        read_only: true,
        propagation: None,
        selinux: None,
    })
}

pub(super) fn seal(spec: &mut ContainerSpec) {
    let hash = spec.hash().hex();
    spec.labels.insert(labels::SPEC_HASH.into(), hash.clone());
    spec.labels.insert(labels::CONFIG_HASH.into(), hash);
}
