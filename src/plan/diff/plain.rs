use crate::model::{ServiceName, Timestamp};
use crate::plan::{
    Action, Container, ContainerSpec, ContainerState, DesiredService, FileFact, Notice, ObservedNetwork, labels,
};
use crate::stack::{Condition, Restart};

use super::{Differ, Touch};

enum Verdict {
    Keep,
    Start(String),
    Recreate(String),
    /// Left as it is, and said.
    Notice(String),
}

impl<'a> Differ<'a> {
    /// A service that is not released: its containers are replaced in place.
    pub(super) fn plain(&mut self, service: &'a DesiredService) {
        let mut observed = self.containers(service.name.as_str());
        if let Some(colour) = observed.iter().find(|c| c.label(labels::COLOUR).is_some()) {
            self.plan.blocked.push(format!(
                "{} runs behind the router ({}), and arkwright.yaml releases it no more; `arkwright eject` gives it back \
                 its own name and port, or put its `release` back",
                service.name, colour.name
            ));
            return;
        }
        let mut todo: Vec<(&'a ContainerSpec, Option<&'a Container>, Verdict)> = Vec::new();
        for spec in &service.containers {
            let number = spec.labels.get(labels::NUMBER).map(String::as_str);
            let at = observed
                .iter()
                .position(|c| c.name == spec.name)
                .or_else(|| observed.iter().position(|c| c.label(labels::NUMBER) == number));
            match at.map(|at| observed.remove(at)) {
                None => todo.push((spec, None, Verdict::Keep)),
                Some(container) => todo.push((spec, Some(container), self.verdict(service, spec, container))),
            }
        }
        for container in observed {
            self.step(
                Action::remove(service, container),
                format!("{} has {} replicas", service.name, service.containers.len()),
            );
        }
        if todo.iter().any(|(_, container, verdict)| {
            container.is_none() || matches!(verdict, Verdict::Start(_) | Verdict::Recreate(_))
        }) {
            self.waits(service);
        }
        if todo
            .iter()
            .any(|(_, _, verdict)| matches!(verdict, Verdict::Recreate(_)))
        {
            self.sharers(service);
        }
        for (spec, container, verdict) in todo {
            match (container, verdict) {
                (None, _) => self.create(service, spec, "it is not there".into()),
                (Some(_), Verdict::Start(reason)) => self.start(service, spec, reason),
                (Some(container), Verdict::Recreate(reason)) => self.recreate(service, spec, container, reason),
                (Some(_), Verdict::Keep) => {}
                (Some(container), Verdict::Notice(what)) => self.plan.drift.push(Notice {
                    subject: container.name.clone(),
                    what,
                }),
            }
        }
        self.restart_with(service);
    }

    pub(super) fn create(&mut self, service: &'a DesiredService, spec: &'a ContainerSpec, reason: String) {
        self.needed.push((service, spec, true));
        self.touch(&service.name, Touch::Recreated);
        self.step(
            Action::CreateContainer {
                service: service.name.to_string(),
                spec: Box::new(spec.clone()),
            },
            reason,
        );
        self.started(service, spec, "it was just created");
    }

    pub(super) fn start(&mut self, service: &'a DesiredService, spec: &'a ContainerSpec, reason: String) {
        self.needed.push((service, spec, false));
        self.touch(&service.name, Touch::Started);
        self.started(service, spec, &reason);
    }

    pub(super) fn recreate(
        &mut self,
        service: &'a DesiredService,
        spec: &'a ContainerSpec,
        old: &Container,
        reason: String,
    ) {
        self.needed.push((service, spec, true));
        self.touch(&service.name, Touch::Recreated);
        self.step(
            Action::RecreateContainer {
                service: service.name.to_string(),
                id: old.id.clone(),
                grace: spec.stop_grace,
                spec: Box::new(spec.clone()),
            },
            reason,
        );
        self.started(service, spec, "it was just created");
    }

    fn started(&mut self, service: &DesiredService, spec: &ContainerSpec, reason: &str) {
        self.step(
            Action::StartContainer {
                service: service.name.to_string(),
                name: spec.name.clone(),
            },
            reason,
        );
    }

    fn verdict(&self, service: &DesiredService, spec: &ContainerSpec, container: &Container) -> Verdict {
        if let Some(reason) = self.outdated(service, spec, container) {
            return Verdict::Recreate(reason);
        }
        match container.state {
            ContainerState::Running => Verdict::Keep,
            ContainerState::Restarting => Verdict::Notice(format!(
                "it ends again and again and the engine restarts it; `arkwright logs {}` tells why",
                service.name
            )),
            ContainerState::Paused => {
                Verdict::Notice("it is paused; unpause it with the engine's own tools, or remove it".into())
            }
            ContainerState::Removing | ContainerState::Dead => Verdict::Recreate("the engine is removing it".into()),
            ContainerState::Created => Verdict::Start("it was created and never started".into()),
            ContainerState::Exited if self.job_done(service, spec, container) => Verdict::Keep,
            ContainerState::Exited => Verdict::Start(match container.exit_code {
                Some(code) => format!("it is stopped (exit code {code})"),
                None => "it is stopped".into(),
            }),
        }
    }

    fn outdated(&self, service: &DesiredService, spec: &ContainerSpec, container: &Container) -> Option<String> {
        match container.label(labels::SPEC_HASH) {
            None => return Some("arkwright did not create it, so what it was made from cannot be compared".into()),
            Some(hash) if spec.labels.get(labels::SPEC_HASH).map(String::as_str) != Some(hash) => {
                return Some("its specification changed".into());
            }
            Some(_) => {}
        }
        if self.wishes.recreate.contains(&service.name) {
            return Some("it was asked for".into());
        }
        if container.name != spec.name {
            return Some(format!("its name was {}", container.name));
        }
        if let Some(reason) = self
            .image_moved(spec, container)
            .or_else(|| self.detached(spec, container))
        {
            return Some(reason);
        }
        for file in &service.files {
            let stale = match self.facts.files.get(file) {
                Some(FileFact::Outdated | FileFact::Missing) => true,
                // Written, and the container not made anew since: an `up` was cut off in between.
                Some(FileFact::Current { written: Some(at) }) => {
                    container.started.or(container.created).is_some_and(|since| since < *at)
                }
                _ => false,
            };
            if stale {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                return Some(format!("the text of {name} changed since it was started"));
            }
        }
        let host = service.network_of.as_ref()?;
        if self.touched.contains_key(host) {
            return Some(format!("it shares the network of {host}, which begins anew"));
        }
        // An `up` that was cut off in between, or somebody else, left it in a network that is no more.
        let host = self.containers(host.as_str()).first().copied()?;
        let newer =
            |host: Option<Timestamp>, own: Option<Timestamp>| host.zip(own).is_some_and(|(host, own)| host > own);
        (newer(host.created, container.created) || container.running() && newer(host.started, container.started))
            .then(|| format!("{}, whose network it shares, was made or started since", host.name))
    }

    /// Podman keeps a container whose network another one shares, so those go first, and are created anew after it.
    fn sharers(&mut self, service: &DesiredService) {
        let shares = |other: &&DesiredService| other.network_of.as_ref() == Some(&service.name);
        for sharer in self.desired.services.iter().filter(shares) {
            if !self.wanted(&sharer.name) {
                continue;
            }
            for container in self.containers(sharer.name.as_str()) {
                let remove = Action::remove(sharer, container);
                self.step(
                    remove,
                    format!("it shares the network of {}, which is recreated", service.name),
                );
                self.removed.insert(container.id.clone());
            }
        }
    }

    pub(super) fn image_moved(&self, spec: &ContainerSpec, container: &Container) -> Option<String> {
        let now = self.facts.images.get(&spec.image)?.as_ref()?;
        (*now != container.image_id && !container.image_id.is_empty()).then(|| {
            format!(
                "{} is now {} and it runs {}",
                spec.image,
                short(now),
                short(&container.image_id)
            )
        })
    }

    /// Whether somebody took the container off a network, or the network away: such a container is started no more.
    pub(super) fn detached(&self, spec: &ContainerSpec, container: &Container) -> Option<String> {
        spec.networks.iter().find_map(|attachment| {
            let name = &attachment.network;
            let Some(endpoint) = container.networks.get(name) else {
                return Some(format!("it is not on the network {name}"));
            };
            let same = |now: &ObservedNetwork| [&now.id, &now.name, ""].contains(&endpoint.network_id.as_str());
            let there = self.facts.networks.get(name).is_some_and(same);
            (!there).then(|| format!("the network {name} it was on is gone"))
        })
    }

    /// A job that others wait for to complete, and that has: running it again is not what an unchanged stack needs.
    fn job_done(&self, service: &DesiredService, spec: &ContainerSpec, container: &Container) -> bool {
        let awaited = |name: &ServiceName| {
            self.desired.services.iter().any(|other| {
                other
                    .depends_on
                    .get(name)
                    .is_some_and(|d| d.condition == Condition::Completed)
            })
        };
        container.exit_code == Some(0)
            && matches!(spec.restart, Restart::No | Restart::OnFailure { .. })
            && awaited(&service.name)
    }

    /// `depends_on: { x: { restart: true } }`: started anew when what it depends on was.
    pub(super) fn restart_with(&mut self, service: &'a DesiredService) {
        if self.touched.contains_key(&service.name) {
            return;
        }
        let cause = service
            .depends_on
            .iter()
            .find(|(name, dependency)| dependency.restart && self.touched.get(*name) == Some(&Touch::Recreated));
        let Some((cause, _)) = cause else { return };
        let running: Vec<&Container> = self.serving(service).into_iter().filter(|c| c.running()).collect();
        if running.is_empty() {
            return;
        }
        self.waits(service);
        for container in running {
            self.step(
                Action::restart(service, container),
                format!("{cause} is recreated, and it asks to be restarted with it"),
            );
        }
        self.touch(&service.name, Touch::Started);
    }
}

fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}
