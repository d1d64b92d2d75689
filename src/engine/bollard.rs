use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::model::{ContainerId, ProjectName};
use crate::plan::{
    Container, ContainerSpec, NetworkSpec, Observed, ObservedNetwork, ObservedVolume, VolumeSpec, labels,
};
use crate::ports::{
    AnonymousVolume, ByteStream, Engine, EngineError, EngineInfo, EngineKind, ExecOutput, ImageInfo, ImageSummary,
    InnerProgram, Keyring, PullProgress, Stats,
};

use super::connect;
use super::error::refused;
use super::limits;
use super::wire::{self, Address};

/// One engine, Docker or Podman, reached through bollard.
pub struct Bollard {
    pub(super) docker: Docker,
    pub(super) address: Address,
    pub(super) info: EngineInfo,
    /// Containers get limits the engine can set without CAP_SYS_RESOURCE.
    pub(super) spell_limits: bool,
    /// Where the logins for registries are; without one, nobody is logged in anywhere.
    pub(super) keyring: Option<Arc<dyn Keyring>>,
    writes: AtomicU64,
    /// Held from the choice of a host port until the container that has it is made.
    pub(super) choosing: tokio::sync::Mutex<()>,
    /// Held while a network is made: Docker would make two of one name at once.
    pub(super) networking: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Bollard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bollard")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Bollard {
    pub(super) fn new(address: Address, info: EngineInfo) -> Result<Self, EngineError> {
        // Every call has its own limit here; bollard's would cut a long stop or import.
        let seconds = limits::LONGEST_GRACE.as_secs();
        let version = bollard::API_DEFAULT_VERSION;
        let docker = match &address {
            Address::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), seconds, version),
            Address::Tcp(authority) => Docker::connect_with_http(&format!("tcp://{authority}"), seconds, version),
        }
        .map_err(|error| EngineError::Broken {
            what: format!("the connection to {}", info.host),
            source: Box::new(error),
        })?;
        Ok(Bollard {
            spell_limits: connect::needs_limits(&info),
            docker,
            address,
            info,
            keyring: None,
            writes: AtomicU64::new(0),
            choosing: tokio::sync::Mutex::default(),
            networking: tokio::sync::Mutex::default(),
        })
    }

    /// With the logins its pulls are made with.
    pub fn with_keyring(self, keyring: Arc<dyn Keyring>) -> Self {
        Bollard {
            keyring: Some(keyring),
            ..self
        }
    }

    /// Counts one call that changes something.
    pub(super) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn podman(&self) -> bool {
        self.info.kind == EngineKind::Podman
    }

    /// `None` for a 404.
    pub(super) async fn get(&self, path_and_query: &str, limit: Duration) -> Result<Option<Value>, EngineError> {
        match wire::get(&self.address, path_and_query, limit).await? {
            Ok(value) => Ok(value),
            Err(message) => {
                let path = path_and_query.split('?').next().unwrap_or_default();
                Err(refused(&format!("GET {path}"), message))
            }
        }
    }

    pub(super) async fn list(&self, path: &str, filters: &str, all: bool) -> Result<Value, EngineError> {
        let all = if all { "all=true&" } else { "" };
        let path = format!("{path}?{all}filters={}", wire::escape(filters));
        Ok(self.get(&path, limits::READ).await?.unwrap_or(Value::Null))
    }
}

#[async_trait]
impl Engine for Bollard {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    async fn observe(&self, project: &ProjectName) -> Result<Observed, EngineError> {
        let label = format!("{}={project}", labels::PROJECT);
        let (containers, networks, volumes) = tokio::try_join!(
            self.containers_with(&label),
            self.networks_with(&label),
            self.volumes_with(&label)
        )?;
        Ok(Observed {
            containers,
            networks,
            volumes,
        })
    }

    async fn container(&self, name_or_id: &str) -> Result<Option<Container>, EngineError> {
        self.inspect_container(name_or_id).await
    }

    async fn containers_labelled(&self, label: &str) -> Result<Vec<Container>, EngineError> {
        self.containers_with(label).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        self.create(spec).await
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.start(id).await
    }

    async fn stop_container(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError> {
        self.stop(id, grace).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove(id, true).await
    }

    async fn remove_container_alone(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.remove(id, false).await
    }

    async fn anonymous_volumes(&self, id: &ContainerId) -> Result<Vec<AnonymousVolume>, EngineError> {
        self.anonymous(id).await
    }

    async fn wait_exit(&self, id: &ContainerId) -> Result<i64, EngineError> {
        self.await_exit(id).await
    }

    async fn poke_health(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.run_check(id).await
    }

    async fn exec(&self, id: &ContainerId, command: &[String], timeout: Duration) -> Result<ExecOutput, EngineError> {
        self.run_inside(id, command, timeout).await
    }

    async fn stream_exec(&self, id: &ContainerId, program: InnerProgram) -> Result<ByteStream, EngineError> {
        self.stream_inside(id, program).await
    }

    async fn read_path(&self, id: &ContainerId, path: &str) -> Result<ByteStream, EngineError> {
        self.archive_of(id, path).await
    }

    async fn logs(&self, id: &ContainerId, tail: usize) -> Result<String, EngineError> {
        self.newest_logs(id, tail).await
    }

    async fn follow_logs(&self, id: &ContainerId, tail: usize, follow: bool) -> Result<ByteStream, EngineError> {
        self.stream_logs(id, tail, follow).await
    }

    async fn network(&self, name: &str) -> Result<Option<ObservedNetwork>, EngineError> {
        self.inspect_network(name).await
    }

    async fn create_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        self.make_network(spec).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.drop_network(name).await
    }

    async fn networks_labelled(&self, label: &str) -> Result<Vec<ObservedNetwork>, EngineError> {
        self.networks_with(label).await
    }

    async fn connect(
        &self,
        network: &str,
        id: &ContainerId,
        aliases: &[String],
        ip: Option<&str>,
    ) -> Result<(), EngineError> {
        let (ipv4, ipv6) = match ip {
            Some(ip) if ip.contains(':') => (None, Some(ip)),
            ip => (ip, None),
        };
        self.attach(network, id, aliases, ipv4, ipv6).await
    }

    async fn disconnect(&self, network: &str, id: &ContainerId) -> Result<(), EngineError> {
        self.detach(network, id).await
    }

    async fn volume(&self, name: &str) -> Result<Option<ObservedVolume>, EngineError> {
        self.inspect_volume(name).await
    }

    async fn create_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        self.make_volume(spec).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.drop_volume(name).await
    }

    async fn volumes_labelled(&self, label: &str) -> Result<Vec<ObservedVolume>, EngineError> {
        self.volumes_with(label).await
    }

    async fn volume_path(&self, name: &str) -> Result<Option<PathBuf>, EngineError> {
        self.path_of_volume(name).await
    }

    async fn image(&self, reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        Ok(self.find_image(reference).await?.map(|(_, info)| info))
    }

    async fn pull(&self, reference: &str, progress: &(dyn Fn(PullProgress) + Send + Sync)) -> Result<(), EngineError> {
        self.pull_image(reference, progress).await
    }

    async fn registry_digest(&self, reference: &str) -> Result<Option<String>, EngineError> {
        self.ask_registry(reference).await
    }

    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        self.list_images().await
    }

    async fn images_in_use(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        self.used_images().await
    }

    async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        self.tag_image(image, repository, tag).await
    }

    async fn export_image(&self, reference: &str) -> Result<ByteStream, EngineError> {
        self.image_archive(reference).await
    }

    async fn import_image(&self, archive: ByteStream) -> Result<(), EngineError> {
        self.load_image(archive).await
    }

    async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        self.drop_image(reference).await
    }

    async fn memory_use(&self, id: &ContainerId) -> Result<Option<u64>, EngineError> {
        self.memory_used(id).await
    }

    async fn stats(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        self.measure(id).await
    }

    async fn starts(&self, project: &ProjectName) -> Result<BoxStream<'static, ()>, EngineError> {
        self.started(project).await
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}
