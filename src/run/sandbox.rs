//! A place on this host's engine from which nothing else can be reached.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};

use crate::drill::{Answer, CheckResult, Guest, HOSTS, Placed, Prepared, Shelter, Site, sealed};
use crate::model::{ContainerId, Health, OperationId, Span, Timestamp, chain};
use crate::plan::{
    Container, ContainerSpec, ContainerState, NetworkAttachment, NetworkSpec, SpecMount, VolumeSpec, labels,
};
use crate::ports::{Engine, EngineError, EngineKind, Host};
use crate::stack::{Healthcheck, Restart};
use crate::state::{make_folder, write_atomic};

/// Where our own program is mounted in the prober, and what it is told to listen on.
const PROGRAM: &str = "/.arkwright/arkwright";
const REST: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 46_999);
/// Outside addresses: two public name servers, where clouds keep credentials, and one over IPv6.
const OUTSIDE: [&str; 4] = [
    "1.1.1.1:443",
    "8.8.8.8:53",
    "169.254.169.254:80",
    "[2606:4700:4700::1111]:443",
];
const OUTSIDE_NAME: &str = "example.com";
/// A service without a health check is taken for ready when it has run this long.
const STEADY: Span = Span::seconds(2);

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the drill's folder {path} cannot be prepared")]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("this host's addresses cannot be read")]
    Host(#[source] std::io::Error),
    #[error("the engine still has {0} of the drill; they are removed when it answers again")]
    Left(String),
}

/// The network, or namespace, that a drill's guests share, and the prober in it.
pub struct Sandbox<'a> {
    pub engine: &'a dyn Engine,
    pub site: Site<'a>,
    /// Our own program on this host, linked statically.
    pub program: &'a Path,
}

/// The shelter this engine can seal: Docker a network without a way out, Podman a namespace without a network, since its
/// internal networks let the host and outside names through.
pub fn shelter(kind: EngineKind, name: impl Fn(&str) -> String) -> Shelter {
    match kind {
        EngineKind::Docker => Shelter::Network(name("net")),
        EngineKind::Podman => Shelter::Namespace(name(PROBER)),
    }
}

const PROBER: &str = "arkwright";

impl Sandbox<'_> {
    /// Makes the shelter with the prober in it, and tries to get out. `images` are tried in turn: our program has to
    /// run in one of them.
    pub async fn seal(
        &self,
        guests: &[Guest],
        images: &[String],
        host: &dyn Host,
    ) -> Result<CheckResult, SandboxError> {
        self.write_hosts(guests)?;
        if let Shelter::Network(name) = self.site.shelter {
            self.make_network(name).await?;
        }
        // After the network is made: its bridge has addresses of its own.
        let (ways, _listener, listened) = self.ways_out(host).await?;
        let mut command = words(&["probe", "seal", "--control", &REST.to_string(), "--name", OUTSIDE_NAME]);
        for way in ways {
            command.extend(["--tcp".to_owned(), way.to_string()]);
        }
        let mut report = Err("no image to run the probe in".to_owned());
        for image in images {
            report = match self.start_prober(image).await {
                Ok(()) => self.probe(&command, Duration::from_secs(60)).await,
                Err(EngineError::Refused { what, message }) => Err(format!("{what}: {message}")),
                Err(error) => return Err(error.into()),
            };
            if report.is_ok() {
                break;
            }
        }
        Ok(sealed(&report, listened))
    }

    async fn make_network(&self, name: &str) -> Result<(), EngineError> {
        let spec = NetworkSpec {
            name: name.to_owned(),
            driver: Some("bridge".into()),
            driver_opts: [("com.docker.network.bridge.inhibit_ipv4".to_owned(), "true".to_owned())].into(),
            internal: true,
            labels: self.site.labels(),
            ..NetworkSpec::default()
        };
        match self.engine.create_network(&spec).await {
            Err(EngineError::Conflict { .. }) => Ok(()),
            other => other,
        }
    }

    /// Addresses to try, with a listener of ours behind those of this host; and how many of these the host itself reaches.
    async fn ways_out(&self, host: &dyn Host) -> Result<(Vec<SocketAddr>, TcpListener, usize), SandboxError> {
        let listener = match TcpListener::bind("[::]:0").await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind("0.0.0.0:0").await.map_err(SandboxError::Host)?,
        };
        let port = listener.local_addr().map_err(SandboxError::Host)?.port();
        let mut own = host.addresses().map_err(SandboxError::Host)?;
        if let Shelter::Network(name) = self.site.shelter
            && let Some(network) = self.engine.network(name).await?
        {
            own.extend(network.gateway);
        }
        let mut ways: Vec<SocketAddr> = own.into_iter().map(|address| (address, port).into()).collect();
        let mut listened = 0;
        for way in &ways {
            let answered = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(way)).await;
            listened += usize::from(matches!(answered, Ok(Ok(_))));
        }
        ways.extend(OUTSIDE.iter().filter_map(|text| text.parse::<SocketAddr>().ok()));
        Ok((ways, listener, listened))
    }

    async fn start_prober(&self, image: &str) -> Result<(), EngineError> {
        let mut spec = ContainerSpec {
            name: self.site.name(PROBER),
            image: image.to_owned(),
            entrypoint: Some(vec![PROGRAM.into()]),
            command: Some(words(&["probe", "rest", "--listen", &REST.to_string()])),
            user: Some("0:0".into()),
            working_dir: Some("/".into()),
            labels: self.site.labels(),
            restart: Restart::No,
            mounts: vec![read_only(self.program, PROGRAM)],
            healthcheck: Some(Healthcheck {
                test: vec!["NONE".into()],
                interval: None,
                timeout: None,
                start_period: None,
                start_interval: None,
                retries: None,
            }),
            stop_signal: Some("SIGKILL".into()),
            read_only: true,
            cap_drop: vec!["ALL".into()],
            security_opt: vec!["no-new-privileges".into()],
            ..ContainerSpec::default()
        };
        match self.site.shelter {
            Shelter::Network(network) => {
                spec.networks = vec![NetworkAttachment {
                    network: network.clone(),
                    ..NetworkAttachment::default()
                }];
                spec.dns = vec!["192.0.2.254".into()];
                spec.dns_opt = words(&["timeout:1", "attempts:1"]);
            }
            Shelter::Namespace(_) => {
                spec.network_mode = Some("none".into());
                spec.mounts.push(read_only(&self.site.root.join(HOSTS), "/etc/hosts"));
            }
        }
        self.fresh(&spec).await.map(|_| ())
    }

    /// Podman's guests share one address; a network's name server knows them by itself.
    fn write_hosts(&self, guests: &[Guest]) -> Result<(), SandboxError> {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for guest in guests {
            text.push_str(&format!("127.0.0.1 {}\n", guest.aliases.join(" ")));
        }
        self.write(&self.site.root.join(HOSTS), &text)
    }

    fn write(&self, path: &Path, text: &str) -> Result<(), SandboxError> {
        let folder = path.parent().unwrap_or(path);
        make_folder(folder, 0o755)
            .and_then(|()| write_atomic(path, text.as_bytes(), 0o644))
            .map_err(|source| SandboxError::Folder {
                path: path.to_path_buf(),
                source,
            })
    }

    /// Runs our own program in the prober and reads the JSON it prints; an error is why that could not be.
    async fn probe<T: DeserializeOwned>(&self, arguments: &[String], limit: Duration) -> Result<T, String> {
        let Some(prober) = self.named(PROBER).await? else {
            return Err("the probe is not there".into());
        };
        if !prober.running() {
            let said = self.engine.logs(&prober.id, 3).await.unwrap_or_default();
            return Err(format!(
                "the probe does not run in {}: {}",
                prober.image,
                last_words(&said)
            ));
        }
        let mut command = vec![PROGRAM.to_owned()];
        command.extend_from_slice(arguments);
        let output = self
            .engine
            .exec(&prober.id, &command, limit)
            .await
            .map_err(|e| chain(&e))?;
        if output.exit_code != 0 {
            let said = String::from_utf8_lossy(&output.stderr);
            let more = String::from_utf8_lossy(&output.stdout);
            return Err(format!(
                "the probe ended with {}: {}",
                output.exit_code,
                last_words(&format!("{more}\n{said}"))
            ));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| format!("the probe's answer was not understood: {e}"))
    }

    async fn named(&self, of: &str) -> Result<Option<Container>, String> {
        self.engine.container(&self.site.name(of)).await.map_err(|e| chain(&e))
    }

    /// A GET from inside; an error is why it could not be put.
    pub async fn get(&self, service: &str, port: u16, path: &str) -> Result<Answer, String> {
        let address = match self.site.shelter {
            Shelter::Namespace(_) => REST.ip(),
            Shelter::Network(network) => {
                let container = self.named(service).await?;
                let endpoint = container.as_ref().and_then(|c| c.networks.get(network));
                endpoint
                    .and_then(|endpoint| endpoint.ip)
                    .ok_or_else(|| format!("`{service}` has no address in the sandbox"))?
            }
        };
        let url = format!("http://{service}:{port}{path}");
        let connect = SocketAddr::new(address, port).to_string();
        let command = words(&["probe", "http", "--url", &url, "--connect", &connect]);
        self.probe(&command, Duration::from_secs(20)).await
    }

    /// Starts a placed guest and waits until it is ready.
    pub async fn boot(&self, guest: &Guest, placed: &Placed, within: Span) -> Result<CheckResult, SandboxError> {
        for prepared in &placed.prepared {
            match prepared {
                Prepared::File(path, text) => self.write(path, text)?,
                // Whoever the service runs as may write there; above it lies a folder only root may enter.
                Prepared::Folder(path) => make_folder(path, 0o777).map_err(|source| SandboxError::Folder {
                    path: path.clone(),
                    source,
                })?,
            }
        }
        for volume in &placed.volumes {
            let spec = VolumeSpec {
                name: volume.clone(),
                labels: self.site.labels(),
                ..VolumeSpec::default()
            };
            match self.engine.create_volume(&spec).await {
                Ok(()) | Err(EngineError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let name = format!("boot {}", guest.service);
        let expected = match guest.completes {
            true => format!("ends with 0 within {within}"),
            false => format!("ready within {within}"),
        };
        let id = match self.fresh(&placed.spec).await {
            Ok(id) => id,
            Err(error @ (EngineError::Unreachable { .. } | EngineError::Broken { .. })) => return Err(error.into()),
            Err(error) => return Ok(CheckResult::failed(name, expected, "not started", chain(&error))),
        };
        let ready = tokio::time::timeout(within.std(), self.ready(&id, guest.completes)).await;
        Ok(match ready {
            Ok(Ok(how)) => CheckResult::passed(name, expected, how),
            Ok(Err(Unready::Engine(error))) => return Err(error.into()),
            Ok(Err(Unready::Ended(how))) => {
                let said = last_words(&self.engine.logs(&id, 5).await?);
                CheckResult::failed(name, expected, how, format!("it said: {said}"))
            }
            Err(_) => {
                let said = last_words(&self.engine.logs(&id, 5).await?);
                CheckResult::failed(name, expected, "not ready in time", format!("it said: {said}"))
            }
        })
    }

    async fn ready(&self, id: &ContainerId, completes: bool) -> Result<String, Unready> {
        let began = tokio::time::Instant::now();
        loop {
            self.engine.poke_health(id).await?;
            let Some(container) = self.engine.container(id.as_str()).await? else {
                return Err(Unready::Ended("gone".into()));
            };
            match (container.state, container.health) {
                (ContainerState::Exited | ContainerState::Dead, _) => {
                    let code = container.exit_code.unwrap_or(-1);
                    return match completes && code == 0 {
                        true => Ok("ended with 0".into()),
                        false => Err(Unready::Ended(format!("ended with {code}"))),
                    };
                }
                _ if completes => {}
                (ContainerState::Running, Health::Healthy) => return Ok("healthy".into()),
                (ContainerState::Running, Health::Unchecked) if began.elapsed() >= STEADY.std() => {
                    return Ok(format!("running for {STEADY}, it has no health check"));
                }
                (ContainerState::Running, Health::Unhealthy) => return Err(Unready::Ended("unhealthy".into())),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Creates and starts, anew where it was there already.
    async fn fresh(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        if let Some(old) = self.engine.container(&spec.name).await? {
            self.engine.remove_container(&old.id).await?;
        }
        let id = self.engine.create_container(spec).await?;
        self.engine.start_container(&id).await?;
        Ok(id)
    }

    /// Removes everything of this drill from the engine; how many objects there were.
    pub async fn clear(&self) -> Result<u64, SandboxError> {
        clear(self.engine, self.site.operation).await
    }
}

enum Unready {
    Engine(EngineError),
    Ended(String),
}

impl From<EngineError> for Unready {
    fn from(error: EngineError) -> Self {
        Unready::Engine(error)
    }
}

async fn clear(engine: &dyn Engine, operation: &OperationId) -> Result<u64, SandboxError> {
    let label = format!("{}={operation}", labels::DRILL);
    let mut containers = engine.containers_labelled(&label).await?;
    // The namespace the others live in goes last.
    containers.sort_by_key(|container| container.name.ends_with(&format!("-{PROBER}")));
    for container in &containers {
        engine.remove_container(&container.id).await?;
    }
    let networks = engine.networks_labelled(&label).await?;
    for network in &networks {
        engine.remove_network(&network.name).await?;
    }
    let volumes = engine.volumes_labelled(&label).await?;
    for volume in &volumes {
        engine.remove_volume(&volume.name).await?;
    }
    let mut left: Vec<String> = engine
        .containers_labelled(&label)
        .await?
        .into_iter()
        .map(|c| c.name)
        .collect();
    left.extend(engine.networks_labelled(&label).await?.into_iter().map(|n| n.name));
    left.extend(engine.volumes_labelled(&label).await?.into_iter().map(|v| v.name));
    if left.is_empty() {
        Ok((containers.len() + networks.len() + volumes.len()) as u64)
    } else {
        Err(SandboxError::Left(left.join(", ")))
    }
}

/// Removes what drills left behind: those whose deadline has passed, and those `over` says are over. The drills cleared.
pub async fn sweep(
    engine: &dyn Engine,
    now: Timestamp,
    over: &(dyn Fn(&OperationId) -> bool + Sync),
) -> Result<Vec<OperationId>, SandboxError> {
    let mut found: BTreeMap<OperationId, bool> = BTreeMap::new();
    let mut see = |labelled: &BTreeMap<String, String>| {
        // What carries our label without an id of ours was not made by us.
        let Some(operation) = labelled
            .get(labels::DRILL)
            .and_then(|id| id.parse::<OperationId>().ok())
        else {
            return;
        };
        let deadline = labelled.get(labels::DRILL_DEADLINE);
        let deadline = deadline.and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
        let due = deadline.is_none_or(|deadline| deadline <= now) || over(&operation);
        *found.entry(operation).or_default() |= due;
    };
    engine
        .containers_labelled(labels::DRILL)
        .await?
        .iter()
        .for_each(|c| see(&c.labels));
    engine
        .networks_labelled(labels::DRILL)
        .await?
        .iter()
        .for_each(|n| see(&n.labels));
    engine
        .volumes_labelled(labels::DRILL)
        .await?
        .iter()
        .for_each(|v| see(&v.labels));
    let mut cleared = Vec::new();
    for operation in found
        .into_iter()
        .filter(|(_, due)| *due)
        .map(|(operation, _)| operation)
    {
        clear(engine, &operation).await?;
        cleared.push(operation);
    }
    Ok(cleared)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn read_only(source: &Path, target: &str) -> SpecMount {
    SpecMount::Bind {
        source: source.to_path_buf(),
        target: target.to_owned(),
        read_only: true,
        propagation: None,
        selinux: None,
    }
}

/// The end of an output on one line.
fn last_words(output: &str) -> String {
    const MOST: usize = 500;
    let one: String = output.split_whitespace().collect::<Vec<_>>().join(" ");
    let skipped = one.chars().count().saturating_sub(MOST);
    match one.is_empty() {
        true => "nothing".into(),
        false => one.chars().skip(skipped).collect(),
    }
}
