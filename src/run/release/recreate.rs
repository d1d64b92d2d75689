use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::Health;
use crate::plan::labels;
use crate::ports::{Container, ContainerSpec, EngineError};
use crate::release::{Finding, Version, plain, short_id};
use crate::run::StepFailed;

use super::health::Seen;
use super::perform::{Work, elapsed};

const LOOK: Duration = Duration::from_millis(200);

impl Work<'_> {
    /// Stops and removes the service's containers, but for those of the other version. Data in volumes that nobody
    /// named stays, and goes over into what takes their place.
    pub async fn take_down(&self, version: Version) -> Result<Finding, StepFailed> {
        if let (Version::Old, Some(id)) = (version, &self.subject.previous.id) {
            // Nothing that runs keeps it from being pruned any more.
            let tag = short_id(id);
            self.engine.tag(id, &self.subject.keep_repository(), tag).await?;
        }
        for container in self.alone().await? {
            if self.version_of(&container) == version {
                self.engine.stop_container(&container.id, None).await?;
                self.engine.remove_container_alone(&container.id).await?;
            }
        }
        Ok(Finding::Nothing)
    }

    /// Creates and starts what is missing of a version.
    pub async fn put_up(&self, version: Version) -> Result<Finding, StepFailed> {
        let (specs, image) = match version {
            Version::Old => (&self.subject.replaced, self.subject.previous.id.as_deref()),
            Version::New => (&self.subject.containers, self.image_id()),
        };
        for spec in specs {
            let id = match self.engine.container(&spec.name).await? {
                Some(found) if plain(&found) && self.version_of(&found) == version => {
                    if found.running() {
                        continue;
                    }
                    found.id
                }
                Some(found) => {
                    let what = format!("container {}", found.name);
                    return Err(EngineError::Conflict { what }.into());
                }
                None => {
                    // By its id: the name may mean another image by now.
                    let by_id = ContainerSpec {
                        image: image.unwrap_or(&spec.image).to_owned(),
                        ..spec.clone()
                    };
                    self.engine.create_container(&by_id).await?
                }
            };
            self.engine.start_container(&id).await?;
        }
        Ok(Finding::Nothing)
    }

    /// Until every container of the version is healthy by its own check, or, where it has none, has run without a
    /// restart for as long as is asked.
    pub async fn await_up(&self, version: Version) -> Result<Finding, StepFailed> {
        let begun = Instant::now();
        let (limit, steady) = (self.subject.limits.healthy.std(), self.subject.limits.steady.std());
        let mut seen = Seen::default();
        let mut runs: Option<(Vec<_>, Instant)> = None;
        loop {
            let mut containers = self.alone().await?;
            containers.retain(|c| self.version_of(c) == version);
            for container in &containers {
                if container.running() && !matches!(container.health, Health::Healthy | Health::Unchecked) {
                    self.engine.poke_health(&container.id).await?;
                }
                if let Some(why) = seen.hopeless(container) {
                    return Err(self.with_logs(why, &containers).await);
                }
            }
            let all = containers.len() == self.subject.replicas as usize && containers.iter().all(Container::running);
            // Started again it begins anew.
            let starts: Vec<_> = containers.iter().map(|c| (c.started, c.restart_count)).collect();
            let since = match runs.take() {
                Some((known, since)) if known == starts => since,
                _ => Instant::now(),
            };
            runs = Some((starts, since));
            let well = |c: &Container| match c.health {
                Health::Healthy => true,
                Health::Unchecked => since.elapsed() >= steady,
                Health::Starting | Health::Unhealthy => false,
            };
            if all && containers.iter().all(well) {
                return Ok(Finding::Healthy { after: elapsed(begun) });
            }
            if begun.elapsed() >= limit {
                let why = format!("{} was not healthy within {limit:.0?}", self.subject.service);
                return Err(self.with_logs(why, &containers).await);
            }
            sleep(LOOK).await;
        }
    }

    /// Whatever is not the new one counts as old, also where it was made from a specification of another day.
    fn version_of(&self, container: &Container) -> Version {
        let hash = container.label(labels::SPEC_HASH);
        let made = |spec: &ContainerSpec| spec.labels.get(labels::SPEC_HASH).map(String::as_str) == hash;
        let same_image = Some(container.image_id.as_str()) == self.image_id();
        match same_image && self.subject.containers.iter().any(made) {
            true => Version::New,
            false => Version::Old,
        }
    }

    /// The service's containers under its own names.
    async fn alone(&self) -> Result<Vec<Container>, StepFailed> {
        let label = format!("{}={}", labels::SERVICE, self.subject.service);
        let mut containers = self.engine.containers_labelled(&label).await?;
        containers.retain(|c| c.label(labels::PROJECT) == Some(self.subject.project.as_str()) && plain(c));
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(containers)
    }
}
