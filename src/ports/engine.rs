use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::model::{ContainerId, ProjectName, Reference, Timestamp};
use crate::plan::{Container, ContainerSpec, NetworkSpec, Observed, ObservedNetwork, ObservedVolume, VolumeSpec};

use super::ByteStream;

/// A Docker or Podman engine on this host.
///
/// Every change is idempotent in effect: creating what exists with the same name is [`EngineError::Conflict`], removing
/// or stopping what is gone or stopped is success. Nothing here branches on an engine's status code alone: after a
/// refusal the object is inspected again (the codes differ between engines).
#[async_trait]
pub trait Engine: Send + Sync {
    fn info(&self) -> &EngineInfo;

    /// Everything that carries the project's label, running or not.
    async fn observe(&self, project: &ProjectName) -> Result<Observed, EngineError>;
    /// `None` when there is no such container; takes a name or an id.
    async fn container(&self, name_or_id: &str) -> Result<Option<Container>, EngineError>;
    /// Containers with this label (`key=value` or `key`), running or not; filtered again on our side.
    async fn containers_labelled(&self, label: &str) -> Result<Vec<Container>, EngineError>;

    /// Created, not started, attached to all its networks.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError>;
    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Sends the container's stop signal and kills after `grace` (`None`: the container's own, else 10 s).
    async fn stop_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError>;
    /// Kills if running; anonymous volumes go with it.
    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// The same, and anonymous volumes stay.
    async fn remove_container_alone(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove_container(id).await
    }
    /// Volumes the engine made for this container because nobody named one.
    async fn anonymous_volumes(&self, _id: &ContainerId) -> Result<Vec<AnonymousVolume>, EngineError> {
        Ok(Vec::new())
    }
    /// Waits until it is not running; the exit code.
    async fn wait_exit(&self, id: &ContainerId) -> Result<i64, EngineError>;
    /// Where the engine does not run health checks by itself (Podman without systemd), runs the container's once; else nothing.
    async fn poke_health(&self, id: &ContainerId) -> Result<(), EngineError>;
    /// Runs a command inside a running container; output is cut at 1 MiB a stream. Killed on our side after `timeout`.
    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput, EngineError>;
    /// Starts a program inside a running container whose output may be of any size.
    ///
    /// The stream ends without an error only after the program has exited with 0; every other end is an error, with
    /// [`ProgramFailed`] inside where the program itself failed. Dropping the stream kills the program, and so does an
    /// error in its input: it is never left to take a part for the whole.
    async fn stream_exec(&self, _id: &ContainerId, program: InnerProgram) -> Result<ByteStream, EngineError> {
        Err(EngineError::Unsupported {
            what: format!("run `{}` in a container and stream its output", program.name()),
            why: "it is not an engine of containers".into(),
        })
    }
    /// A file or folder at an absolute path of a container, running or not, as a tar archive; volumes mounted there are in
    /// it. The path's own entry comes first, and the other names begin with its name (`data`, `data/a`): on Podman only where
    /// the container runs, else with `/`. Not for files that change: Docker leaves out what it cannot read, Podman all after
    /// a file that grew, and neither says so. [`EngineError::NotFound`] when nothing is there.
    async fn read_path(&self, _id: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        Err(EngineError::Unsupported {
            what: format!("read {path} of a container"),
            why: "it is not an engine of containers".into(),
        })
    }
    /// The newest `tail` lines of both streams, at most 10,000 and cut at 256 KiB.
    async fn logs(&self, id: &ContainerId, tail: usize) -> Result<String, EngineError>;
    /// Both streams as they come, each line prefixed by nothing; ends with the container unless `follow` is off.
    async fn follow_logs(&self, id: &ContainerId, tail: usize, follow: bool) -> Result<ByteStream, EngineError>;

    async fn network(&self, name: &str) -> Result<Option<ObservedNetwork>, EngineError>;
    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError>;
    async fn remove_network(&self, name: &str) -> Result<(), EngineError>;
    /// Networks with this label (`key=value` or `key`); filtered again on our side.
    async fn networks_labelled(&self, label: &str) -> Result<Vec<ObservedNetwork>, EngineError>;
    async fn connect(
        &self,
        network: &str,
        id: &ContainerId,
        aliases: &[String],
        ip: Option<&str>,
    ) -> Result<(), EngineError>;
    async fn disconnect(&self, network: &str, id: &ContainerId) -> Result<(), EngineError>;

    async fn volume(&self, name: &str) -> Result<Option<ObservedVolume>, EngineError>;
    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError>;
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;
    /// Volumes with this label (`key=value` or `key`); filtered again on our side.
    async fn volumes_labelled(&self, label: &str) -> Result<Vec<ObservedVolume>, EngineError>;
    /// Where the volume's files lie on this host; `None` for drivers that keep them elsewhere.
    async fn volume_path(&self, name: &str) -> Result<Option<PathBuf>, EngineError>;

    /// `None` when the image is not on this host.
    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError>;
    /// With the login of this host for its registry, looked up at every pull; [`EngineError::Pull`] says what is wrong
    /// with the registry, the login or the name.
    async fn pull(&self, reference: &str, progress: &(dyn Fn(PullProgress) + Send + Sync)) -> Result<(), EngineError>;
    /// `sha256:…` as the registry has the name now; `None` where it does not have it. Not every engine can ask.
    async fn registry_digest(&self, reference: &str) -> Result<Option<String>, EngineError>;
    /// Every image of this host, whoever's; layers that only other images are made of are left out.
    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError>;
    /// The ids of images that containers of this host were made from, running or not, whoever's, with their names.
    async fn images_in_use(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError>;
    /// Gives an image another name, so that the engine's own pruning leaves it.
    async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError>;
    /// The image as a tar archive in Docker's format, layers included.
    async fn export_image(&self, reference: &str) -> Result<ByteStream, EngineError>;
    async fn import_image(&self, archive: ByteStream) -> Result<(), EngineError>;

    /// Removes an image and its names; what is gone is success, one that a container uses is refused.
    async fn remove_image(&self, reference: &str) -> Result<(), EngineError>;

    /// Bytes of memory a running container uses now; `None` where the engine does not say.
    async fn memory_use(&self, _id: &ContainerId) -> Result<Option<u64>, EngineError> {
        Ok(None)
    }

    /// What a running container uses, measured over about a second; [`EngineError::NotFound`] for one that is gone,
    /// [`EngineError::Refused`] for one that does not run.
    async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError>;

    /// Wakes whenever a container of the project was started, by whomever; ends with the connection.
    async fn starts(&self, _project: &ProjectName) -> Result<BoxStream<'static, ()>, EngineError> {
        Err(EngineError::Unsupported {
            what: "tell of starts".into(),
            why: "it has no events".into(),
        })
    }

    /// How many API calls that change something this connection has made.
    fn writes(&self) -> u64;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Docker,
    Podman,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    pub kind: EngineKind,
    /// `20.10.24`
    pub version: String,
    /// `1.41`
    pub api_version: String,
    /// `unix:///run/docker.sock`
    pub host: String,
    pub rootless: bool,
    /// `amd64`, `arm64`, as image manifests name it.
    pub architecture: String,
    /// Bytes of memory of the engine's host.
    pub memory: u64,
    pub cpus: u32,
    pub cgroup_version: String,
    pub root_dir: Option<PathBuf>,
    /// Which limits of containers this host's cgroups carry out.
    #[serde(default)]
    pub enforces: Enforces,
    /// Names of its logging drivers; empty where it does not say.
    #[serde(default)]
    pub log_drivers: Vec<String>,
}

/// Which limits of a container take effect; `None` where the engine does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforces {
    pub memory: Option<bool>,
    pub swap: Option<bool>,
    pub cpus: Option<bool>,
    pub cpu_shares: Option<bool>,
    pub cpuset: Option<bool>,
    pub pids: Option<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// `sha256:…`: the configuration's digest, the same on both engines.
    pub id: String,
    /// `name@sha256:…` as a registry knows it; empty for an image built here.
    pub repo_digests: Vec<String>,
    pub repo_tags: Vec<String>,
    pub architecture: String,
    pub size: u64,
    /// The image's own `CMD`, `ENTRYPOINT` and `USER`.
    pub command: Vec<String>,
    pub entrypoint: Vec<String>,
    pub user: String,
    pub has_healthcheck: bool,
    /// `3000/tcp`
    pub exposed: Vec<String>,
    pub labels: BTreeMap<String, String>,
}

impl ImageInfo {
    /// `sha256:…` as the registry of `reference` knows this image; `None` for one that was built here. Podman also gives
    /// one to an image that was built here under a registry's name, and nothing tells the two apart.
    pub fn digest_of(&self, reference: &Reference) -> Option<&str> {
        if reference.registry == "localhost" {
            // Podman also makes digests up for names that were only ever given here.
            return None;
        }
        let named = self.repo_digests.iter().find(|name| reference.is_of(name))?;
        named.split_once('@').map(|(_, digest)| digest)
    }
}

/// One image of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageSummary {
    /// `sha256:…`
    pub id: String,
    /// Empty for an image whose names went to others.
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub created: Option<Timestamp>,
    /// Bytes, of layers it has in common with other images too.
    pub size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnonymousVolume {
    pub name: String,
    /// The path inside.
    pub target: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ExecOutput {
    pub exit_code: i64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A program whose output is not held in memory.
pub struct InnerProgram {
    /// The program and its arguments; no shell in between.
    pub words: Vec<String>,
    /// Its standard input, closed at the stream's end; without one it is empty.
    pub input: Option<ByteStream>,
    /// How long it may neither write anything nor take any of its input.
    pub silence: Duration,
}

impl InnerProgram {
    pub fn name(&self) -> &str {
        self.words.first().map_or("nothing", String::as_str)
    }
}

impl std::fmt::Debug for InnerProgram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InnerProgram")
            .field("words", &self.words)
            .field("silence", &self.silence)
            .finish_non_exhaustive()
    }
}

/// A program in a container that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{program}` exited with {exit_code}{}", said(.stderr))]
pub struct ProgramFailed {
    pub program: String,
    pub exit_code: i64,
    /// The end of what it wrote to its standard error, at most 4 KiB.
    pub stderr: String,
}

/// The last words of a program, on one line.
fn said(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => " and said nothing".into(),
        count => {
            let last = lines[count.saturating_sub(3)..].join("; ");
            let plain: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let cut = plain.chars().count().saturating_sub(600);
            format!(": {}", plain.chars().skip(cut).collect::<String>())
        }
    }
}

/// What a container uses now; `None` is what the engine does not tell, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Of the processors it may use by its own limit, of all where it has none: 1.0 is all of them.
    pub cpu: Option<f64>,
    /// Bytes, without the cache of files it has read.
    pub memory: Option<u64>,
    /// `None` where it has no limit of its own.
    pub memory_limit: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PullProgress {
    pub layer: String,
    pub status: String,
    pub current: u64,
    pub total: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("no engine answers at {tried}; start Docker or Podman, or name its socket with --host or DOCKER_HOST")]
    Unreachable { tried: String },
    #[error(
        "{what} exists already and this project did not make it; look at it with the engine's own tools, then remove or rename it"
    )]
    Conflict { what: String },
    #[error("{what} is not there")]
    NotFound { what: String },
    #[error("a host port that {what} needs is taken: {message}")]
    PortTaken { what: String, message: String },
    #[error("the engine refused {what}: {message}")]
    Refused { what: String, message: String },
    #[error(transparent)]
    Pull(Box<PullError>),
    #[error("this engine cannot {what}: {why}")]
    Unsupported { what: String, why: String },
    #[error("the engine did not finish {what} within {seconds} s")]
    Timeout { what: String, seconds: u64 },
    #[error("the connection to the engine broke during {what}; see that the engine runs, then run this again")]
    Broken {
        what: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An image that did not come from its registry.
#[derive(Debug, thiserror::Error)]
#[error("{reference} could not be pulled from {registry}: {} (the engine says: {message})", .trouble.told(.registry))]
pub struct PullError {
    pub reference: String,
    pub registry: String,
    pub trouble: PullTrouble,
    /// In the engine's own words.
    pub message: String,
}

/// Why a registry did not give an image, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullTrouble {
    Unreachable,
    /// Its certificate is not known to the engine, or it speaks plain HTTP.
    Untrusted,
    NotThere,
    /// It wants a login and none was shown; `why` is there where one was looked for and could not be read.
    LoginMissing {
        why: Option<String>,
    },
    LoginRefused {
        who: String,
        from: String,
    },
    Other,
}

impl PullTrouble {
    fn told(&self, registry: &str) -> String {
        let log_in = format!(
            "log in with `docker login {registry}` (or `podman login {registry}`) as the user arkwright runs as, or give a \
             login with --registry-auth"
        );
        match self {
            PullTrouble::Unreachable => {
                "the registry does not answer; check its address and the network, then try again".to_owned()
            }
            PullTrouble::Untrusted => "the engine does not trust the registry's certificate, or it has none; give the \
                                       engine its certificate, or name it among the engine's insecure registries"
                .to_owned(),
            PullTrouble::NotThere => "the registry has no such image or tag; check the name".to_owned(),
            PullTrouble::LoginMissing { why: None } => format!("it wants a login and this host has none; {log_in}"),
            PullTrouble::LoginMissing { why: Some(why) } => format!("it wants a login, and {why}"),
            PullTrouble::LoginRefused { who, from } => {
                format!("the login of {who} from {from} was refused, or may not see this image; {log_in}")
            }
            PullTrouble::Other => "the engine could not bring it here".to_owned(),
        }
    }
}
