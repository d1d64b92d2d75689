use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, StopContainerOptions,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::model::ContainerId;
use crate::plan::{Container, ContainerSpec, ContainerState};
use crate::ports::{AnonymousVolume, EngineError};

use super::body::{self, Dialect};
use super::bollard::Bollard;
use super::error::{call, refused};
use super::lenient;
use super::limits;
use super::podman;
use super::wire;

/// Inspections under way at once.
const AT_ONCE: usize = 8;

impl Bollard {
    pub(super) async fn containers_with(&self, label: &str) -> Result<Vec<Container>, EngineError> {
        let filters = json!({ "label": [label] }).to_string();
        let list = self.list("/containers/json", &filters, true).await?;
        let ids: Vec<String> = lenient::items(&list)
            .iter()
            .map(|entry| lenient::text(entry, "/Id").to_owned())
            .filter(|id| !id.is_empty())
            .collect();
        // One that is gone by the time it is inspected was never there.
        let inspections = ids
            .into_iter()
            .map(|id| async move { self.inspect_container(&id).await });
        let found: Vec<Option<Container>> = stream::iter(inspections)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut containers: Vec<Container> = found
            .into_iter()
            .flatten()
            .filter(|container| matches_label(&container.labels, label))
            .collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }

    /// Without the cache of files it has read, which the kernel gives back when somebody needs the room.
    pub(super) async fn memory_used(&self, id: &ContainerId) -> Result<Option<u64>, EngineError> {
        let id = wire::escape(id.as_str());
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        Ok(self
            .get(&path, limits::READ)
            .await?
            .as_ref()
            .and_then(lenient::memory_use))
    }

    pub(super) async fn inspect_container(&self, name_or_id: &str) -> Result<Option<Container>, EngineError> {
        let inspected = self.inspection(name_or_id).await?;
        Ok(inspected.as_ref().and_then(lenient::container))
    }

    /// The engines also find a container by the first digits of its id; a name of hexadecimal digits is not taken so.
    pub(super) async fn inspection(&self, name_or_id: &str) -> Result<Option<Value>, EngineError> {
        if !wire::askable(name_or_id) {
            return Ok(None);
        }
        let path = format!("/containers/{}/json", wire::escape(name_or_id));
        let found = self.get(&path, limits::READ).await?;
        Ok(found.filter(|value| {
            let id = lenient::text(value, "/Id");
            lenient::text(value, "/Name").trim_start_matches('/') == name_or_id
                || name_or_id.len() >= 12 && id.starts_with(name_or_id)
        }))
    }

    async fn sure(&self, id: &ContainerId) -> Result<Container, EngineError> {
        self.inspect_container(id.as_str())
            .await?
            .ok_or_else(|| EngineError::NotFound {
                what: format!("container {id}"),
            })
    }

    pub(super) async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, EngineError> {
        let what = format!("container {}", spec.name);
        let Some((image, _)) = self.find_image(&spec.image).await? else {
            return Err(EngineError::NotFound {
                what: format!("image {}", spec.image),
            });
        };
        let dialect = Dialect {
            podman: self.podman(),
            spell_limits: self.spell_limits,
            image: &image,
            host_gateway: self.host_gateway(spec).await?,
            name_server: self.name_server(spec).await?,
        };
        let (ports, _choosing) = self.ports_of(spec).await?;
        let body = body::body(spec, &ports, &dialect)?;
        let options = CreateContainerOptions {
            name: Some(spec.name.clone()).filter(|name| !name.is_empty()),
            // Podman 4 takes the platform for a wish to pull.
            platform: spec.platform.clone().filter(|_| !self.podman()).unwrap_or_default(),
        };
        self.count_write();
        let created = call(&what, limits::CHANGE, self.docker.create_container(Some(options), body));
        let id = match created.await? {
            Ok(created) => ContainerId::new(created.id),
            Err(message) => {
                return Err(match self.taken(&spec.name, &message).await? {
                    true => EngineError::Conflict { what },
                    false => refused(&what, message),
                });
            }
        };
        for attachment in spec.networks.iter().skip(1) {
            let attached = self
                .attach(
                    &attachment.network,
                    &id,
                    &attachment.aliases,
                    attachment.ipv4.as_deref(),
                    attachment.ipv6.as_deref(),
                )
                .await;
            if let Err(error) = attached {
                // Half a container is none: the next attempt would find its name taken.
                if let Err(stuck) = self.remove(&id, true).await {
                    tracing::warn!(container = %spec.name, error = %stuck, "a half-made container could not be removed");
                }
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Whether a container has the name. Docker keeps a name for one that is only being made, and does not show it yet.
    async fn taken(&self, name: &str, message: &str) -> Result<bool, EngineError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            if self.inspect_container(name).await?.is_some() {
                return Ok(true);
            }
            if !message.contains("already in use") || tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What `host-gateway` stands for where Podman does not know: the gateway of the container's first network.
    async fn host_gateway(&self, spec: &ContainerSpec) -> Result<Option<String>, EngineError> {
        let asked = spec.extra_hosts.iter().any(|entry| entry.ends_with(":host-gateway"));
        if !asked || !self.podman() || podman::knows_host_gateway(&self.info.version) {
            return Ok(None);
        }
        let network = spec.networks.first().map_or("bridge", |first| first.network.as_str());
        let gateway = self.inspect_network(network).await?.and_then(|found| found.gateway);
        match gateway {
            Some(gateway) => Ok(Some(gateway.to_string())),
            None => Err(EngineError::Unsupported {
                what: format!("resolve `host-gateway` for {}", spec.name),
                why: format!("the network {network} has no gateway; write the host's address instead"),
            }),
        }
    }

    /// The name server of the container's first network, where Podman would ask only those of `dns`, and so find no
    /// service by its name.
    async fn name_server(&self, spec: &ContainerSpec) -> Result<Option<String>, EngineError> {
        let Some(first) = spec.networks.first().filter(|_| !spec.dns.is_empty()) else {
            return Ok(None);
        };
        if !self.podman() || podman::passes_dns_on(&self.info.version) {
            return Ok(None);
        }
        let gateway = self
            .inspect_network(&first.network)
            .await?
            .and_then(|found| found.gateway);
        Ok(gateway.map(|gateway| gateway.to_string()))
    }

    pub(super) async fn start(&self, id: &ContainerId) -> Result<(), EngineError> {
        let what = format!("the start of {id}");
        self.count_write();
        let mut started = call(&what, limits::CHANGE, self.docker.start_container(id.as_str(), None)).await?;
        if let Err(message) = &started
            && self.leave_one_of(message).await?
        {
            started = call(&what, limits::CHANGE, self.docker.start_container(id.as_str(), None)).await?;
        }
        match started {
            Ok(()) => Ok(()),
            Err(message) => {
                let container = self.sure(id).await?;
                match container.state {
                    ContainerState::Running | ContainerState::Restarting => Ok(()),
                    _ => Err(refused(&format!("the start of {}", container.name), message)),
                }
            }
        }
    }

    pub(super) async fn stop(&self, id: &ContainerId, grace: Option<Duration>) -> Result<(), EngineError> {
        let Some(inspected) = self.inspection(id.as_str()).await? else {
            return Ok(());
        };
        let longest = grace
            .or_else(|| lenient::stop_timeout(&inspected).map(Duration::from_secs))
            .unwrap_or(limits::USUAL_GRACE)
            .min(limits::LONGEST_GRACE);
        let seconds = longest.as_secs() + u64::from(longest.subsec_nanos() > 0);
        let options = StopContainerOptions {
            t: (grace.is_some() || self.podman()).then(|| i32::try_from(seconds).unwrap_or(i32::MAX)),
            signal: None,
        };
        let what = format!("the stop of {id}");
        self.thaw(lenient::container(&inspected).as_ref()).await?;
        self.count_write();
        let limit = longest + limits::STOP_SLACK;
        match call(&what, limit, self.docker.stop_container(id.as_str(), Some(options))).await? {
            Ok(()) => Ok(()),
            Err(message) => match self.inspect_container(id.as_str()).await? {
                Some(container) if stoppable(container.state) => {
                    Err(refused(&format!("the stop of {}", container.name), message))
                }
                _ => Ok(()),
            },
        }
    }

    /// Podman stops nothing that is paused, and a signal would wait there.
    async fn thaw(&self, container: Option<&Container>) -> Result<(), EngineError> {
        let paused = |container: &&Container| container.state == ContainerState::Paused;
        let Some(container) = container.filter(paused).filter(|_| self.podman()) else {
            return Ok(());
        };
        let what = format!("the end of the pause of {}", container.name);
        self.count_write();
        let thawed = self.docker.unpause_container(container.id.as_str());
        match call(&what, limits::CHANGE, thawed).await? {
            Ok(()) => Ok(()),
            Err(message) => match self.inspect_container(container.id.as_str()).await? {
                Some(still) if still.state == ContainerState::Paused => Err(refused(&what, message)),
                _ => Ok(()),
            },
        }
    }

    /// Anonymous volumes go with it where `volumes` says so.
    pub(super) async fn remove(&self, id: &ContainerId, volumes: bool) -> Result<(), EngineError> {
        let Some(container) = self.inspect_container(id.as_str()).await? else {
            return Ok(());
        };
        let what = format!("the removal of {}", container.name);
        self.thaw(Some(&container)).await?;
        if self.podman() && stoppable(container.state) {
            // Podman's forced removal waits out the grace before it kills. Where the kill is refused the removal, which
            // kills too, decides.
            self.count_write();
            let options = KillContainerOptions {
                signal: "SIGKILL".into(),
            };
            let killed = self.docker.kill_container(id.as_str(), Some(options));
            if let Err(message) = call(&what, limits::CHANGE, killed).await? {
                tracing::debug!(container = %container.name, message, "kill before removal refused");
            }
        }
        let options = RemoveContainerOptions {
            v: volumes,
            force: true,
            link: false,
        };
        self.count_write();
        let removed = self.docker.remove_container(id.as_str(), Some(options));
        match call(&what, limits::CHANGE, removed).await? {
            Ok(()) => Ok(()),
            Err(message) => self.gone(id, &what, message).await,
        }
    }

    pub(super) async fn anonymous(&self, id: &ContainerId) -> Result<Vec<AnonymousVolume>, EngineError> {
        let inspected = self.inspection(id.as_str()).await?;
        Ok(inspected.as_ref().map(lenient::anonymous_volumes).unwrap_or_default())
    }

    /// A removal that is under way already is refused, and done a moment later.
    async fn gone(&self, id: &ContainerId, what: &str, message: String) -> Result<(), EngineError> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            match self.inspect_container(id.as_str()).await? {
                None => return Ok(()),
                Some(_) if tokio::time::Instant::now() >= deadline => return Err(refused(what, message)),
                Some(container) if container.state != ContainerState::Removing && !message.contains("in progress") => {
                    return Err(refused(what, message));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    /// Asks again and again, at most a second apart: Podman's own waiting differs in conditions and in restarts.
    pub(super) async fn await_exit(&self, id: &ContainerId) -> Result<i64, EngineError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let container = self.sure(id).await?;
            match container.state {
                ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => {}
                ContainerState::Removing => {}
                ContainerState::Created => return Ok(0),
                ContainerState::Exited | ContainerState::Dead => {
                    return container.exit_code.ok_or_else(|| EngineError::Refused {
                        what: format!("the exit code of {}", container.name),
                        message: "the engine's answer has none".into(),
                    });
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

fn stoppable(state: ContainerState) -> bool {
    matches!(
        state,
        ContainerState::Running | ContainerState::Paused | ContainerState::Restarting
    )
}

/// `key=value` or `key`: Podman takes several label filters for alternatives, so what came back is looked at again.
pub(super) fn matches_label(labels: &std::collections::BTreeMap<String, String>, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|found| found == value),
        None => labels.contains_key(label),
    }
}
