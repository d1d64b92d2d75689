use std::path::PathBuf;

use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::RemoveVolumeOptions;
use serde_json::{Value, json};

use crate::plan::{ObservedVolume, VolumeSpec};
use crate::ports::EngineError;

use super::bollard::Bollard;
use super::containers::matches_label;
use super::error::{call, refused};
use super::lenient;
use super::limits;
use super::wire;

impl Bollard {
    pub(super) async fn volumes_with(&self, label: &str) -> Result<Vec<ObservedVolume>, EngineError> {
        let filters = json!({ "label": [label] }).to_string();
        let list = self.list("/volumes", &filters, false).await?;
        let mut volumes: Vec<ObservedVolume> = list
            .pointer("/Volumes")
            .map_or(&[][..], lenient::items)
            .iter()
            .filter_map(lenient::volume)
            .filter(|volume| matches_label(&volume.labels, label))
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    async fn volume_inspection(&self, name: &str) -> Result<Option<Value>, EngineError> {
        if !wire::askable(name) {
            return Ok(None);
        }
        let found = self
            .get(&format!("/volumes/{}", wire::escape(name)), limits::READ)
            .await?;
        Ok(found.filter(|value| lenient::text(value, "/Name") == name))
    }

    pub(super) async fn inspect_volume(&self, name: &str) -> Result<Option<ObservedVolume>, EngineError> {
        Ok(self.volume_inspection(name).await?.as_ref().and_then(lenient::volume))
    }

    pub(super) async fn path_of_volume(&self, name: &str) -> Result<Option<PathBuf>, EngineError> {
        match self.volume_inspection(name).await? {
            Some(value) => Ok(lenient::volume_path(&value)),
            None => Err(EngineError::NotFound {
                what: format!("volume {name}"),
            }),
        }
    }

    /// Both engines answer a second creation with the volume that is there, so the name is looked up first.
    pub(super) async fn make_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        let what = format!("volume {}", spec.name);
        if self.inspect_volume(&spec.name).await?.is_some() {
            return Err(EngineError::Conflict { what });
        }
        let request = VolumeCreateRequest {
            name: Some(spec.name.clone()),
            driver: spec.driver.clone(),
            driver_opts: Some(spec.driver_opts.clone().into_iter().collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            cluster_volume_spec: None,
        };
        self.count_write();
        // Read back rather than decoded: the answer's shape differs between engines.
        let created = call(&what, limits::CHANGE, self.docker.create_volume(request)).await;
        let message = match created {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(message)) => message,
            Err(EngineError::Broken { source, .. }) if self.inspect_volume(&spec.name).await?.is_some() => {
                tracing::debug!(volume = %spec.name, %source, "made, with an answer bollard does not read");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        Err(match self.inspect_volume(&spec.name).await? {
            Some(_) => EngineError::Conflict { what },
            None => refused(&what, message),
        })
    }

    pub(super) async fn drop_volume(&self, name: &str) -> Result<(), EngineError> {
        if self.inspect_volume(name).await?.is_none() {
            return Ok(());
        }
        let what = format!("the removal of volume {name}");
        self.count_write();
        let name_in_path = wire::escape(name);
        let removed = self.docker.remove_volume(&name_in_path, None::<RemoveVolumeOptions>);
        match call(&what, limits::CHANGE, removed).await? {
            Ok(()) => Ok(()),
            Err(message) => match self.inspect_volume(name).await? {
                Some(_) => Err(refused(&what, message)),
                None => Ok(()),
            },
        }
    }
}
