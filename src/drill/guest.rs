//! A service of the stack as a sandbox can hold it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::{EntryPath, STACK};
use crate::model::{OperationId, ProjectName, ServiceName, Timestamp};
use crate::plan::desired::{self, HostFolders};
use crate::plan::{ContainerSpec, NetworkAttachment, SpecMount, labels};
use crate::stack::{Condition, Logging, NetworkMode, Restart, Service, Stack};

use super::Replacements;

/// The sandbox's own hosts file, below the drill's folder.
pub const HOSTS: &str = "hosts";
/// Where nothing answers (TEST-NET-1): the name server of a sealed network.
const NOWHERE: &str = "192.0.2.254";
/// With these a process can look at or change what is outside its container.
const DANGEROUS: [&str; 9] = [
    "ALL",
    "BPF",
    "DAC_READ_SEARCH",
    "NET_ADMIN",
    "NET_RAW",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
];
/// Files of the host a guest may read as they are.
const HARMLESS: [&str; 3] = ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];

/// What a booted service's container is made from; fixed when the drill is planned, secrets replaced already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    pub service: ServiceName,
    /// Without name, labels and networks; mounts still name production's folders.
    pub spec: ContainerSpec,
    /// The names it answers to.
    pub aliases: Vec<String>,
    /// Guests that have to be ready before it.
    pub after: Vec<ServiceName>,
    /// Another guest waits for it to end well, rather than to serve.
    pub completes: bool,
    /// Secrets and configs it is given as files, by their target.
    pub files: Vec<GuestFile>,
    /// What is different from production.
    pub deviations: Vec<String>,
    /// Why it cannot be booted in a sandbox at all.
    pub barred: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GuestFile {
    pub target: String,
    pub content: String,
}

impl Guest {
    pub fn new(
        stack: &Stack,
        service: &Service,
        replacements: &mut Replacements,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Self {
        let nowhere = HostFolders {
            files: PathBuf::from("/"),
            router_config: PathBuf::from("/"),
            router_run: PathBuf::from("/"),
            standby: PathBuf::from("/"),
        };
        let mut guest = Guest {
            service: service.name.clone(),
            spec: ContainerSpec::default(),
            aliases: names(stack, service),
            after: service.depends_on.keys().cloned().collect(),
            completes: false,
            files: Vec::new(),
            deviations: Vec::new(),
            barred: None,
        };
        match desired::container(stack, service, 1, &nowhere) {
            Ok(spec) => guest.spec = spec,
            Err(error) => guest.barred = Some(error.to_string()),
        }
        match &service.network_mode {
            Some(NetworkMode::Host) => guest.barred = Some("it uses the host's own network".into()),
            Some(NetworkMode::Service(other)) => {
                guest.barred = Some(format!(
                    "it shares the network of `{other}`, which a sandbox does not do"
                ));
            }
            Some(NetworkMode::Container(id)) => guest.barred = Some(format!("it uses the network of container {id}")),
            Some(NetworkMode::Named(network)) => guest.barred = Some(format!("it uses the network {network}")),
            _ => {}
        }
        guest.give_files(stack, service, replacements, fill);
        guest.confine();
        guest
    }

    /// Secrets become random; configs are read from the snapshot or, when written in the Compose file, from there.
    fn give_files(
        &mut self,
        stack: &Stack,
        service: &Service,
        replacements: &mut Replacements,
        fill: &mut dyn FnMut(&mut [u8]),
    ) {
        for grant in &service.secrets {
            let content = replacements.stand_in(&format!("secret {}", grant.source), fill);
            self.deviations
                .push(format!("secret `{}` is a random value", grant.source));
            self.give(&grant.target, content);
        }
        for grant in &service.configs {
            let content = match stack.configs.get(&grant.source).map(|object| &object.from) {
                Some(crate::stack::FileSource::Content(text)) => text.clone(),
                Some(crate::stack::FileSource::File(_)) | None => continue,
                Some(_) => {
                    self.deviations
                        .push(format!("config `{}` is a random value", grant.source));
                    replacements.stand_in(&format!("config {}", grant.source), fill)
                }
            };
            self.give(&grant.target, content);
        }
    }

    fn give(&mut self, target: &str, content: String) {
        let aimed = |mount: &SpecMount| matches!(mount, SpecMount::Bind { target: t, .. } if t == target);
        self.spec.mounts.retain(|mount| !aimed(mount));
        self.files.push(GuestFile {
            target: target.to_owned(),
            content,
        });
    }

    /// Takes away what reaches out of a container.
    fn confine(&mut self) {
        let spec = &mut self.spec;
        let mut without = Vec::new();
        let mut drop = |had: bool, what: &str| {
            if had {
                without.push(what.to_owned());
            }
        };
        drop(std::mem::take(&mut spec.privileged), "privileged");
        drop(!std::mem::take(&mut spec.devices).is_empty(), "devices");
        drop(spec.pid.take().is_some(), "pid");
        drop(spec.ipc.take().is_some_and(|ipc| ipc == "host"), "the host's ipc");
        drop(spec.userns_mode.take().is_some(), "userns_mode");
        drop(!std::mem::take(&mut spec.extra_hosts).is_empty(), "extra_hosts");
        drop(!std::mem::take(&mut spec.ports).is_empty(), "published ports");
        let opened = spec.security_opt.len();
        spec.security_opt
            .retain(|option| !option.ends_with("unconfined") && !option.ends_with("disable"));
        drop(spec.security_opt.len() < opened, "unconfined security options");
        let plain = |capability: &String| capability.to_uppercase().trim_start_matches("CAP_").to_owned();
        let dangerous = spec.cap_add.len();
        spec.cap_add.retain(|c| !DANGEROUS.contains(&plain(c).as_str()));
        drop(spec.cap_add.len() < dangerous, "dangerous capabilities");
        if !spec
            .cap_drop
            .iter()
            .any(|c| matches!(plain(c).as_str(), "ALL" | "NET_RAW"))
        {
            spec.cap_drop.push("NET_RAW".into());
        }
        // A log driver sends to wherever the host sends, labels make proxies route to it.
        spec.logging = Some(Logging {
            driver: Some("json-file".into()),
            options: BTreeMap::new(),
        });
        spec.labels.clear();
        spec.name.clear();
        spec.networks.clear();
        spec.network_mode = None;
        spec.restart = Restart::No;
        spec.dns = vec![NOWHERE.into()];
        spec.dns_search.clear();
        spec.dns_opt = vec!["timeout:1".into(), "attempts:1".into()];
        if !without.is_empty() {
            self.deviations.push(format!("without {}", without.join(", ")));
        }
    }
}

/// Every name other services may call it by.
fn names(stack: &Stack, service: &Service) -> Vec<String> {
    let attached = service
        .networks
        .values()
        .flat_map(|attachment| attachment.aliases.iter());
    let mut names: Vec<String> = [service.name.to_string()]
        .into_iter()
        .chain(attached.cloned())
        .collect();
    names.extend(service.container_name.clone());
    names.extend(service.hostname.clone());
    names.push(format!("{}-{}-1", stack.name, service.name));
    names.sort();
    names.dedup();
    names
}

/// Whether `service` is waited for until it has ended.
pub(super) fn completes(stack: &Stack, service: &ServiceName) -> bool {
    stack
        .services
        .values()
        .filter_map(|other| other.depends_on.get(service))
        .any(|dependency| dependency.condition == Condition::Completed)
}

/// How guests reach each other and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Shelter {
    /// Docker: a network of this name with no way out.
    Network(String),
    /// Podman: the network namespace of this container.
    Namespace(String),
}

/// Where a guest is put.
pub struct Site<'a> {
    pub operation: &'a OperationId,
    pub project: &'a ProjectName,
    pub deadline: Timestamp,
    /// Where paths in a snapshot begin.
    pub folder: &'a Path,
    /// The drill's own folder; the restored tree is `tree` in it.
    pub root: PathBuf,
    pub shelter: &'a Shelter,
}

impl Site<'_> {
    /// `{project}-drill-{short id}-{of}`: names of everything a drill makes.
    pub fn name(&self, of: &str) -> String {
        let short = self.operation.as_str().rsplit('-').next().unwrap_or_default();
        format!("{}-drill-{short}-{of}", self.project)
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        let deadline = self.deadline.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        [
            (labels::DRILL.to_owned(), self.operation.to_string()),
            (labels::DRILL_DEADLINE.to_owned(), deadline),
        ]
        .into()
    }

    pub fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// Puts a container into the shelter and under the drill's labels.
    pub fn house(&self, spec: &mut ContainerSpec, of: &str, aliases: &[String]) {
        spec.name = self.name(of);
        spec.labels.extend(self.labels());
        match self.shelter {
            Shelter::Network(network) => {
                spec.networks = vec![NetworkAttachment {
                    network: network.clone(),
                    aliases: aliases.to_vec(),
                    ..NetworkAttachment::default()
                }];
            }
            Shelter::Namespace(container) => {
                spec.network_mode = Some(format!("container:{container}"));
                // These belong to the namespace, and are refused beside it.
                spec.hostname = None;
                spec.domainname = None;
                spec.dns.clear();
                spec.dns_opt.clear();
                spec.sysctls.retain(|name, _| !name.starts_with("net."));
                spec.mounts.push(bind(self.root.join(HOSTS), "/etc/hosts", true));
            }
        }
    }
}

pub(super) fn bind(source: PathBuf, target: &str, read_only: bool) -> SpecMount {
    SpecMount::Bind {
        source,
        target: target.to_owned(),
        read_only,
        propagation: None,
        selinux: None,
    }
}

/// A guest as it is created, and what has to be there before.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub spec: ContainerSpec,
    /// Fresh volumes, by the engine's name.
    pub volumes: Vec<String>,
    pub prepared: Vec<Prepared>,
    pub deviations: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    Folder(PathBuf),
    File(PathBuf, String),
}

/// What lies at a path of a restored tree, links not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Missing,
    File,
    Folder,
    /// A link, or below one: it may point anywhere on this host.
    Link,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Barred {
    #[error("{0}")]
    Guest(String),
    #[error("it mounts {0}, which lies outside the project's folder and is not in the snapshot")]
    Outside(PathBuf),
    #[error("it mounts {0}, which is a link in the snapshot and could point anywhere on this host")]
    Link(PathBuf),
    #[error("it mounts {0}, which is no name a snapshot can hold")]
    Unnameable(PathBuf),
}

/// Points a guest at the restored tree; `find` says what lies there.
pub fn place(
    guest: &Guest,
    site: &Site<'_>,
    image: &str,
    find: &dyn Fn(&EntryPath) -> Found,
) -> Result<Placed, Barred> {
    if let Some(why) = &guest.barred {
        return Err(Barred::Guest(why.clone()));
    }
    let mut placed = Placed {
        spec: guest.spec.clone(),
        volumes: Vec::new(),
        prepared: Vec::new(),
        deviations: guest.deviations.clone(),
    };
    placed.spec.image = image.to_owned();
    let mounts = std::mem::take(&mut placed.spec.mounts);
    for (at, mount) in mounts.into_iter().enumerate() {
        let mount = match mount {
            SpecMount::Bind {
                source,
                target,
                read_only,
                ..
            } => {
                let spot = site.root.join("empty").join(format!("{}-{at}", guest.service));
                let source = placed.resolve(site, &source, &target, read_only, spot, find)?;
                bind(source, &target, read_only)
            }
            SpecMount::Volume {
                source: Some(name),
                target,
                read_only,
                nocopy,
            } => {
                let key = name.strip_prefix(&format!("{}_", site.project)).unwrap_or(&name);
                let fresh = site.name(key);
                placed
                    .deviations
                    .push(format!("`{target}` is a fresh volume: its data is not in the snapshot"));
                placed.volumes.push(fresh.clone());
                SpecMount::Volume {
                    source: Some(fresh),
                    target,
                    read_only,
                    nocopy,
                }
            }
            other => other,
        };
        placed.spec.mounts.push(mount);
    }
    for (at, file) in guest.files.iter().enumerate() {
        let path = site.root.join("given").join(format!("{}-{at}", guest.service));
        placed.prepared.push(Prepared::File(path.clone(), file.content.clone()));
        placed.spec.mounts.push(bind(path, &file.target, true));
    }
    site.house(&mut placed.spec, guest.service.as_str(), &guest.aliases);
    Ok(placed)
}

impl Placed {
    /// Where a bind's source is in the restored tree: among the data, else among the stack's own files, else an empty
    /// folder stands for it.
    fn resolve(
        &mut self,
        site: &Site<'_>,
        source: &Path,
        target: &str,
        read_only: bool,
        spot: PathBuf,
        find: &dyn Fn(&EntryPath) -> Found,
    ) -> Result<PathBuf, Barred> {
        if read_only && HARMLESS.iter().any(|path| source == Path::new(path)) {
            return Ok(source.to_path_buf());
        }
        if source == site.folder {
            return Err(Barred::Outside(source.to_path_buf()));
        }
        let unnameable = |_| Barred::Unnameable(source.to_path_buf());
        let data = EntryPath::of_host_file(site.folder, source).map_err(unnameable)?;
        let stack = EntryPath::of_stack_file(site.folder, source).map_err(unnameable)?;
        for entry in [&data, &stack] {
            match find(entry) {
                Found::File | Found::Folder => return Ok(on_disk(&site.tree(), entry)),
                Found::Link => return Err(Barred::Link(source.to_path_buf())),
                Found::Missing => {}
            }
        }
        if data.top() == crate::backup::HOST {
            return Err(Barred::Outside(source.to_path_buf()));
        }
        self.deviations.push(format!(
            "{target} is an empty folder: {data} is not in the snapshot, nor in {STACK}"
        ));
        self.prepared.push(Prepared::Folder(spot.clone()));
        Ok(spot)
    }
}

/// The path of an entry below the tree.
pub fn on_disk(tree: &Path, entry: &EntryPath) -> PathBuf {
    let mut path = tree.to_path_buf();
    for part in entry.parts() {
        path.push(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&part));
    }
    path
}
