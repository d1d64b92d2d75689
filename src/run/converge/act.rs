use std::path::Path;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::ContainerId;
use crate::model::Span;
use crate::plan::desired::ROUTER;
use crate::plan::{Action, Change, Container, ContainerSpec, NetworkAttachment, Plan, SpecMount, labels, standby};
use crate::ports::{AnonymousVolume, EngineError, Router};
use crate::run::facts::text_of;
use crate::run::pull;
use crate::state::{forget, make_folder, write_atomic};

use super::Converge;
use super::error::{ConvergeError, Trouble, Unready, host};
use super::wait::patiently;

/// Uid and gid inside [`crate::plan::desired::ROUTER_USER`].
const ROUTER_ID: u32 = 99;

impl Converge<'_> {
    /// `over` ends what only waits.
    pub(super) async fn act(
        &self,
        plan: &Plan,
        change: &Change,
        over: &CancellationToken,
    ) -> Result<(), ConvergeError> {
        let action = &change.action;
        let change = || format!("{} {}", action.kind(), action.subject());
        let failed = |source| ConvergeError::Engine {
            change: change(),
            source,
        };
        let project = plan.project.as_str();
        match action {
            Action::CreateNetwork { spec } => match self.engine.create_network(spec).await {
                Err(EngineError::Conflict { what }) => {
                    // Made by an attempt that was cut off; anyone else's is not taken.
                    let found = self.engine.network(&spec.name).await.map_err(failed)?;
                    let ours =
                        found.is_some_and(|n| n.labels.get(labels::PROJECT).map(String::as_str) == Some(project));
                    ours.then_some(()).ok_or_else(|| failed(EngineError::Conflict { what }))
                }
                result => result.map_err(failed),
            },
            Action::CreateVolume { spec } => match self.engine.create_volume(spec).await {
                Err(EngineError::Conflict { what }) => {
                    let found = self.engine.volume(&spec.name).await.map_err(failed)?;
                    let ours =
                        found.is_some_and(|v| v.labels.get(labels::PROJECT).map(String::as_str) == Some(project));
                    ours.then_some(()).ok_or_else(|| failed(EngineError::Conflict { what }))
                }
                result => result.map_err(failed),
            },
            Action::CreateFolder { path } => {
                std::fs::create_dir_all(path).map_err(|source| host("create", path, source))
            }
            Action::WriteFile { path, from } => {
                let text = text_of(from, self.environment)
                    .map_err(|why| ConvergeError::Impossible { change: change(), why })?;
                let folder = path.parent().unwrap_or(Path::new("/"));
                make_folder(folder, 0o700).map_err(|source| host("create", folder, source))?;
                // Whoever the container runs as reads it; on this host the folder keeps others out.
                write_atomic(path, text.as_bytes(), 0o444).map_err(|source| host("write", path, source))
            }
            Action::PullImage { reference } => pull(self.engine, reference, self.progress).await.map_err(failed),
            Action::RenderRoutes { routes } => {
                self.router_folders()?;
                let router = self.router(&change())?;
                let applied = router.apply(routes).await;
                applied.map_err(|source| ConvergeError::Router {
                    change: change(),
                    source,
                })
            }
            Action::CreateContainer { service, spec } => self.create(service, spec).await.map_err(|e| e.or(failed)),
            Action::StartContainer { name, .. } => {
                let container = self.named(name).await.map_err(failed)?;
                self.engine.start_container(&container.id).await.map_err(failed)
            }
            Action::HandOver { name, to } => {
                let router = self.router(&change())?;
                let refused = |source| ConvergeError::Router {
                    change: change(),
                    source,
                };
                router.succeed(to.serving).await.map_err(refused)?;
                let container = self.named(name).await.map_err(failed)?;
                if !container.running() {
                    self.engine.start_container(&container.id).await.map_err(failed)?;
                }
                router.hand_over(to).await.map_err(refused)
            }
            Action::RecreateContainer {
                service,
                id,
                grace,
                spec,
            } => {
                let kept = self.engine.anonymous_volumes(id).await.map_err(failed)?;
                self.remove(id, *grace, false).await.map_err(failed)?;
                let spec = with_volumes(spec, kept);
                self.create(service, &spec).await.map_err(|e| e.or(failed))
            }
            Action::RestartContainer { id, grace, .. } => {
                self.engine
                    .stop_container(id, grace.map(Span::std))
                    .await
                    .map_err(failed)?;
                self.engine.start_container(id).await.map_err(failed)
            }
            Action::RemoveContainer { id, grace, volumes, .. } => {
                self.remove(id, *grace, *volumes).await.map_err(failed)
            }
            Action::WaitFor {
                service,
                condition,
                containers,
            } => {
                for name in containers {
                    self.wait(service.as_str(), name, *condition)
                        .await
                        .map_err(|e| e.or(failed))?;
                }
                Ok(())
            }
            Action::Point {
                service,
                colour,
                network,
                containers,
            } => {
                let mut addresses = Vec::new();
                for name in containers {
                    addresses.push(self.address(name, network).await.map_err(failed)?);
                }
                let router = self.router(&change())?;
                let refused = |source| ConvergeError::Router {
                    change: change(),
                    source,
                };
                let deadline = Instant::now() + self.patience.router;
                patiently(deadline, || router.point(service, *colour, &addresses))
                    .await
                    .map_err(refused)?;
                let served = tokio::select! {
                    served = self.serves(router, service, *colour, containers) => served,
                    () = over.cancelled() => return Err(ConvergeError::LeftOff),
                };
                served.map_err(|trouble| match trouble {
                    Unready::Router(source) => refused(source),
                    Unready::Other(trouble) => trouble.or(failed),
                })
            }
            Action::RemoveNetwork { name } => self.engine.remove_network(name).await.map_err(failed),
            Action::RemoveVolume { name } => self.engine.remove_volume(name).await.map_err(failed),
        }
    }

    fn router(&self, change: &str) -> Result<&dyn Router, ConvergeError> {
        self.router.ok_or_else(|| ConvergeError::Impossible {
            change: change.to_owned(),
            why: "no router is connected; only a project with a released service has one".into(),
        })
    }

    /// The folders the router's container is given, owned by its user.
    fn router_folders(&self) -> Result<(), ConvergeError> {
        for (folder, mode) in [(&self.folders.router_config, 0o755), (&self.folders.router_run, 0o770)] {
            make_folder(folder, mode).map_err(|source| host("create", folder, source))?;
            std::os::unix::fs::chown(folder, Some(ROUTER_ID), Some(ROUTER_ID))
                .map_err(|source| host("give the router", folder, source))?;
        }
        Ok(())
    }

    async fn create(&self, service: &str, spec: &ContainerSpec) -> Result<(), Trouble> {
        if service == ROUTER {
            self.router_folders()?;
        }
        // What is made here is what serves, and a mark from before would have it stand by.
        if let Some(mark) = standby::mark_of(spec) {
            forget(&mark).map_err(|source| host("remove", &mark, source))?;
        }
        match self.engine.create_container(spec).await {
            Ok(_) => Ok(()),
            Err(EngineError::Conflict { what }) => {
                let made_before = |container: &Container| {
                    [labels::PROJECT, labels::SPEC_HASH]
                        .iter()
                        .all(|key| container.label(key) == spec.labels.get(*key).map(String::as_str))
                };
                match self.engine.container(&spec.name).await? {
                    Some(container) if made_before(&container) => self.attach(&container, spec).await,
                    _ => Err(EngineError::Conflict { what }.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whoever made the container may have been cut off before its last network.
    async fn attach(&self, container: &Container, spec: &ContainerSpec) -> Result<(), Trouble> {
        let missing = |wanted: &&NetworkAttachment| !container.networks.contains_key(&wanted.network);
        for wanted in spec.networks.iter().filter(missing) {
            let ip = wanted.ipv4.as_deref().or(wanted.ipv6.as_deref());
            self.engine
                .connect(&wanted.network, &container.id, &wanted.aliases, ip)
                .await?;
        }
        Ok(())
    }

    async fn remove(&self, id: &ContainerId, grace: Option<Span>, volumes: bool) -> Result<(), EngineError> {
        self.engine.stop_container(id, grace.map(Span::std)).await?;
        match volumes {
            true => self.engine.remove_container(id).await,
            false => self.engine.remove_container_alone(id).await,
        }
    }
}

/// The data in volumes that nobody named goes over into the container that takes the old one's place, as with Compose.
pub(in crate::run) fn with_volumes(spec: &ContainerSpec, kept: Vec<AnonymousVolume>) -> ContainerSpec {
    let mut spec = spec.clone();
    for volume in kept {
        let place = spec.mounts.iter().position(|mount| mount.target() == volume.target);
        match place.map(|at| &mut spec.mounts[at]) {
            Some(SpecMount::Volume { source, .. }) if source.is_none() => *source = Some(volume.name),
            // Something else is wanted there now.
            Some(_) => {}
            None => spec.mounts.push(SpecMount::Volume {
                source: Some(volume.name),
                target: volume.target,
                read_only: false,
                nocopy: true,
            }),
        }
    }
    spec
}
