use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use arkwright::model::{ContainerId, ProjectName};
use arkwright::plan::{Container, ContainerSpec, NetworkSpec, Observed, ObservedNetwork, ObservedVolume, VolumeSpec};
use arkwright::ports::{
    ByteStream, Engine, EngineError, EngineInfo, EngineKind, ExecOutput, ImageInfo, ImageSummary, PullProgress, Stats,
};
use async_trait::async_trait;

/// An engine that has nothing and can make nothing: for drills that boot no service.
pub struct IdleEngine(EngineInfo);

impl IdleEngine {
    /// Its own folder, where it says which.
    pub fn new(root_dir: Option<PathBuf>) -> Self {
        IdleEngine(EngineInfo {
            kind: EngineKind::Docker,
            version: "0".into(),
            api_version: "0".into(),
            host: "unix:///nowhere".into(),
            rootless: false,
            architecture: "amd64".into(),
            memory: 0,
            cpus: 0,
            cgroup_version: "1".into(),
            root_dir,
            enforces: arkwright::ports::Enforces::default(),
            log_drivers: Vec::new(),
        })
    }
}

fn cannot<T>() -> Result<T, EngineError> {
    Err(EngineError::Unsupported {
        what: "do anything".into(),
        why: "this engine is idle".into(),
    })
}

#[async_trait]
impl Engine for IdleEngine {
    fn info(&self) -> &EngineInfo {
        &self.0
    }
    async fn observe(&self, _: &ProjectName) -> Result<Observed, EngineError> {
        Ok(Observed::default())
    }
    async fn container(&self, _: &str) -> Result<Option<Container>, EngineError> {
        Ok(None)
    }
    async fn containers_labelled(&self, _: &str) -> Result<Vec<Container>, EngineError> {
        Ok(Vec::new())
    }
    async fn create_container(&self, _: &ContainerSpec) -> Result<ContainerId, EngineError> {
        cannot()
    }
    async fn start_container(&self, _: &ContainerId) -> Result<(), EngineError> {
        cannot()
    }
    async fn stop_container(&self, _: &ContainerId, _: Option<Duration>) -> Result<(), EngineError> {
        cannot()
    }
    async fn remove_container(&self, _: &ContainerId) -> Result<(), EngineError> {
        Ok(())
    }
    async fn wait_exit(&self, _: &ContainerId) -> Result<i64, EngineError> {
        cannot()
    }
    async fn poke_health(&self, _: &ContainerId) -> Result<(), EngineError> {
        cannot()
    }
    async fn exec(&self, _: &ContainerId, _: &[String], _: Duration) -> Result<ExecOutput, EngineError> {
        cannot()
    }
    async fn logs(&self, _: &ContainerId, _: usize) -> Result<String, EngineError> {
        cannot()
    }
    async fn follow_logs(&self, _: &ContainerId, _: usize, _: bool) -> Result<ByteStream, EngineError> {
        cannot()
    }
    async fn network(&self, _: &str) -> Result<Option<ObservedNetwork>, EngineError> {
        Ok(None)
    }
    async fn create_network(&self, _: &NetworkSpec) -> Result<(), EngineError> {
        cannot()
    }
    async fn remove_network(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn networks_labelled(&self, _: &str) -> Result<Vec<ObservedNetwork>, EngineError> {
        Ok(Vec::new())
    }
    async fn connect(&self, _: &str, _: &ContainerId, _: &[String], _: Option<&str>) -> Result<(), EngineError> {
        cannot()
    }
    async fn disconnect(&self, _: &str, _: &ContainerId) -> Result<(), EngineError> {
        cannot()
    }
    async fn volume(&self, _: &str) -> Result<Option<ObservedVolume>, EngineError> {
        Ok(None)
    }
    async fn create_volume(&self, _: &VolumeSpec) -> Result<(), EngineError> {
        cannot()
    }
    async fn remove_volume(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn volumes_labelled(&self, _: &str) -> Result<Vec<ObservedVolume>, EngineError> {
        Ok(Vec::new())
    }
    async fn volume_path(&self, _: &str) -> Result<Option<PathBuf>, EngineError> {
        Ok(None)
    }
    async fn image(&self, _: &str) -> Result<Option<ImageInfo>, EngineError> {
        Ok(None)
    }
    async fn pull(&self, _: &str, _: &(dyn Fn(PullProgress) + Send + Sync)) -> Result<(), EngineError> {
        cannot()
    }
    async fn tag(&self, _: &str, _: &str, _: &str) -> Result<(), EngineError> {
        cannot()
    }
    async fn registry_digest(&self, _: &str) -> Result<Option<String>, EngineError> {
        cannot()
    }
    async fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        cannot()
    }
    async fn images_in_use(&self) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        cannot()
    }
    async fn export_image(&self, _: &str) -> Result<ByteStream, EngineError> {
        cannot()
    }
    async fn import_image(&self, _: ByteStream) -> Result<(), EngineError> {
        cannot()
    }
    async fn remove_image(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }
    async fn stats(&self, _: &ContainerId) -> Result<Stats, EngineError> {
        cannot()
    }
    fn writes(&self) -> u64 {
        0
    }
}
