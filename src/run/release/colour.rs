use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Swap;
use crate::model::{Colour, Span};
use crate::ports::{Container, ContainerSpec, ContainerState, Engine, EngineError};
use crate::release::{Finding, Goal, Subject};
use crate::run::StepFailed;

use super::perform::Work;
use crate::plan::labels;

/// How long a started container may take to have an address.
const ADDRESS: Duration = Duration::from_secs(10);

/// Over which the WebSockets of a warm colour are closed when its time is over.
const SPREAD: Span = Span::seconds(30);

impl Work<'_> {
    /// Removes a colour and all that is left of it. Refused for one that has traffic.
    pub async fn clear(&self, colour: Colour) -> Result<Finding, StepFailed> {
        let route = self.route().await?;
        if route.slots.iter().any(|slot| slot.colour == colour && slot.weight > 0) {
            return Err(StepFailed::because(format!(
                "{colour} has traffic, so it is not removed"
            )));
        }
        let cut = self.unpoint(colour).await?;
        self.stop(colour, None).await?;
        for container in self.containers(colour).await? {
            self.engine.remove_container(&container.id).await?;
        }
        self.mark(colour, false).await?;
        Ok(cut)
    }

    pub async fn create(&self, colour: Colour) -> Result<Finding, StepFailed> {
        let wanted = self.image_id();
        for spec in &self.subject.containers {
            let hash = spec.labels.get(labels::SPEC_HASH).map(String::as_str);
            let made = |c: &Container| c.label(labels::SPEC_HASH) == hash && Some(c.image_id.as_str()) == wanted;
            match self.engine.container(&spec.name).await? {
                Some(container) if made(&container) => continue,
                // Of our colour, made from something else by an attempt that was cut off.
                Some(container) if container.label(labels::COLOUR) == Some(colour.as_str()) => {
                    self.engine.remove_container(&container.id).await?;
                }
                Some(container) => {
                    let what = format!("container {}", container.name);
                    return Err(EngineError::Conflict { what }.into());
                }
                None => {}
            }
            // By its id: the name may mean another image by now.
            let by_id = wanted.map(|id| ContainerSpec {
                image: id.to_owned(),
                ..spec.clone()
            });
            let id = self.engine.create_container(by_id.as_ref().unwrap_or(spec)).await?;
            let container = self.engine.container(id.as_str()).await?;
            if !container.as_ref().is_some_and(made) {
                return Err(StepFailed::because(format!(
                    "{} was created from another image than {}; deploy again",
                    spec.name,
                    wanted.unwrap_or("the one planned")
                )));
            }
        }
        Ok(Finding::Nothing)
    }

    pub async fn start(&self, colour: Colour) -> Result<Finding, StepFailed> {
        let containers = self.containers(colour).await?;
        if containers.len() != self.subject.replicas as usize {
            return Err(StepFailed::because(format!(
                "{colour} has {} containers and should have {}",
                containers.len(),
                self.subject.replicas
            )));
        }
        for container in containers.iter().filter(|c| !c.running()) {
            self.engine.start_container(&container.id).await?;
        }
        Ok(Finding::Nothing)
    }

    /// `None`: with the containers' own grace.
    pub async fn stop(&self, colour: Colour, grace: Option<Duration>) -> Result<Finding, StepFailed> {
        let containers = self.containers(colour).await?;
        let resting = |c: &&Container| {
            matches!(
                c.state,
                ContainerState::Created | ContainerState::Exited | ContainerState::Dead
            )
        };
        let all = containers
            .iter()
            .filter(|c| !resting(c))
            .map(|container| self.engine.stop_container(&container.id, grace));
        for stopped in futures_util::future::join_all(all).await {
            stopped?;
        }
        Ok(Finding::Nothing)
    }

    pub async fn point(&self, colour: Colour) -> Result<Finding, StepFailed> {
        let begun = Instant::now();
        loop {
            let containers = self.containers(colour).await?;
            let addresses: Vec<IpAddr> = containers
                .iter()
                .filter_map(|c| address(c, &self.subject.network))
                .collect();
            if addresses.len() == self.subject.replicas as usize {
                self.router.point(&self.subject.service, colour, &addresses).await?;
                // Behind the gate there is nothing to look at before everybody does.
                if colour == self.subject.to && self.subject.swap == Swap::Overlap {
                    self.router.preview(&self.subject.service, Some(colour)).await?;
                }
                return Ok(Finding::Nothing);
            }
            // A container that ends at once has no address: what it said is worth more than that.
            if begun.elapsed() > ADDRESS || containers.iter().any(|c| c.state == ContainerState::Exited) {
                let why = format!("{colour} has no address on the network {}", self.subject.network);
                return Err(self.with_logs(why, &containers).await);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Out of the router; requests it is answering are let finish, then its WebSockets are closed.
    pub async fn unpoint(&self, colour: Colour) -> Result<Finding, StepFailed> {
        // What is written down of it comes first: that holds also where no router answers.
        self.router.point(&self.subject.service, colour, &[]).await?;
        self.router.preview(&self.subject.service, None).await?;
        if let Err(busy) = self.drained(colour).await {
            self.progress.say(&busy.to_string());
        }
        // Clients of a colour that was kept warm are not all sent away in one moment.
        let over = match self.subject.goal {
            Goal::Retire => SPREAD,
            Goal::Deploy | Goal::Rollback => Span::ZERO,
        };
        let shut = self.router.shut_sessions(&self.subject.service, colour, over);
        let sessions = shut.await?;
        Ok(Finding::Cut { sessions })
    }
}

/// A colour's containers, by name. Only the service is asked for, not the whole project: whoever rolls back waits for it.
pub(super) async fn containers_of(
    engine: &dyn Engine,
    subject: &Subject,
    colour: Colour,
) -> Result<Vec<Container>, EngineError> {
    let label = format!("{}={}", labels::SERVICE, subject.service);
    let mut containers = engine.containers_labelled(&label).await?;
    containers.retain(|container| {
        container.label(labels::PROJECT) == Some(subject.project.as_str())
            && container.label(labels::COLOUR) == Some(colour.as_str())
    });
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(containers)
}

/// The container's address on a network, once it runs.
pub(super) fn address(container: &Container, network: &str) -> Option<IpAddr> {
    container.networks.get(network).filter(|_| container.running())?.ip
}
