//! What has to change so that the engine has what the Compose file says, and what of it comes after what.

mod objects;
mod plain;
mod recreated;
mod released;
mod router;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContainerId, ServiceName};
use crate::stack::Condition;

use super::desired::ROUTER;
use super::precedence::settle;
use super::{
    Action, Change, Container, ContainerSpec, Desired, DesiredService, Facts, Leftover, Observed, Plan, labels,
};

/// What a person may ask for beyond the Compose file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// Services to look at; `None`: all. The others stay as they are.
    pub only: Option<BTreeSet<ServiceName>>,
    /// Services to recreate although nothing of them changed; released ones stay.
    pub recreate: BTreeSet<ServiceName>,
    pub remove_orphans: bool,
    /// Put one container in the place of all that the router has, where it has more than it needs: its connections are cut.
    pub recreate_router: bool,
    /// Put the router in front of released services that still run as plain containers: these are removed first, so
    /// that nobody answers until the colour that takes their place does.
    pub adopt: bool,
}

/// Empty when nothing has to be done. Pure: the same arguments give the same plan.
pub fn diff(desired: &Desired, observed: &Observed, facts: &Facts, wishes: Wishes) -> Plan {
    let mut differ = Differ {
        desired,
        facts,
        wishes,
        by_service: by_service(observed),
        plan: Plan::empty(desired.project.clone()),
        steps: Vec::new(),
        needed: Vec::new(),
        touched: BTreeMap::new(),
        removed: BTreeSet::new(),
        waited: BTreeSet::new(),
        left_alone: BTreeSet::new(),
    };
    differ.orphans();
    differ.adoptions();
    differ.router();
    for service in &desired.services {
        differ.service(service);
    }
    differ.callers();
    let mut plan = differ.assemble();
    settle(&mut plan, desired, observed);
    plan
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    Started,
    Recreated,
}

struct Differ<'a> {
    desired: &'a Desired,
    facts: &'a Facts,
    wishes: Wishes,
    /// Long-lived containers by their service label.
    by_service: BTreeMap<&'a str, Vec<&'a Container>>,
    plan: Plan,
    /// Changes of containers and routes, which come after those of what they need.
    steps: Vec<Change>,
    /// Specifications that will be created or started.
    needed: Vec<(&'a DesiredService, &'a ContainerSpec, bool)>,
    touched: BTreeMap<ServiceName, Touch>,
    /// Containers that are removed before what they share is recreated.
    removed: BTreeSet<ContainerId>,
    waited: BTreeSet<(ServiceName, String)>,
    /// Released services that wait for the router.
    left_alone: BTreeSet<ServiceName>,
}

/// Without one-off containers (`docker compose run`) and those of drills, which come and go by themselves.
pub(super) fn by_service(observed: &Observed) -> BTreeMap<&str, Vec<&Container>> {
    let mut map: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in &observed.containers {
        let passing = container
            .label(labels::ONEOFF)
            .is_some_and(|l| l.eq_ignore_ascii_case("true"))
            || container.label(labels::DRILL).is_some()
            || container.label(labels::HOOK).is_some();
        if !passing {
            map.entry(container.label(labels::SERVICE).unwrap_or_default())
                .or_default()
                .push(container);
        }
    }
    map
}

impl<'a> Differ<'a> {
    fn containers(&self, service: &str) -> Vec<&'a Container> {
        let all = self.by_service.get(service).into_iter().flatten().copied();
        all.filter(|container| !self.removed.contains(&container.id)).collect()
    }

    fn step(&mut self, action: Action, reason: impl Into<String>) {
        self.steps.push(Change::new(action, reason));
    }

    fn touch(&mut self, service: &ServiceName, touch: Touch) {
        let entry = self.touched.entry(service.clone()).or_insert(touch);
        *entry = (*entry).max(touch);
    }

    fn service(&mut self, service: &'a DesiredService) {
        if self.left_alone.contains(&service.name) || !self.wanted(&service.name) {
            return;
        }
        match (&service.released, &service.recreated) {
            (Some(released), _) => self.colours(service, released),
            (None, Some(recreated)) => self.recreated(service, recreated),
            (None, None) => self.plain(service),
        }
    }

    fn wanted(&self, service: &ServiceName) -> bool {
        self.wishes.only.as_ref().is_none_or(|only| only.contains(service))
    }

    /// Waits for what `service` depends on, where that is not the case already.
    fn waits(&mut self, service: &'a DesiredService) {
        for (name, dependency) in &service.depends_on {
            let Some(needed) = self.desired.service(name.as_str()).filter(|_| self.wanted(name)) else {
                continue;
            };
            let touched = self.touched.contains_key(name);
            let observed: Vec<&Container> = self.serving(needed);
            let holds = !touched
                && observed.len() >= needed.containers.len()
                && observed.iter().all(|container| match dependency.condition {
                    Condition::Started => container.running(),
                    Condition::Healthy => container.health == crate::model::Health::Healthy,
                    Condition::Completed => container.exit_code == Some(0),
                });
            let key = (name.clone(), format!("{:?}", dependency.condition));
            if holds || !self.waited.insert(key) {
                continue;
            }
            let names = match self.left_alone.contains(name) {
                true => observed.iter().map(|container| container.name.clone()).collect(),
                false => needed.containers.iter().map(|spec| spec.name.clone()).collect(),
            };
            self.step(
                Action::WaitFor {
                    service: name.clone(),
                    condition: dependency.condition,
                    containers: names,
                },
                format!("{} depends on it", service.name),
            );
        }
    }

    /// The observed containers that stand for the service: of a released one those of the serving colour.
    fn serving(&self, service: &DesiredService) -> Vec<&'a Container> {
        let all = self.containers(service.name.as_str());
        match &service.released {
            Some(released) if !self.left_alone.contains(&service.name) => all
                .into_iter()
                .filter(|c| c.label(labels::COLOUR) == Some(released.colour.as_str()))
                .collect(),
            _ => all,
        }
    }

    fn orphans(&mut self) {
        let wanted = |service: &str| {
            self.desired.service(service).is_some()
                || self.desired.disabled.contains(service)
                || service == ROUTER && self.desired.router.is_some()
        };
        let orphans: Vec<&Container> = self
            .by_service
            .iter()
            .filter(|(service, _)| !wanted(service))
            .flat_map(|(_, containers)| containers.iter().copied())
            .collect();
        for container in orphans {
            let service = container.label(labels::SERVICE).unwrap_or_default().to_owned();
            if self.wishes.remove_orphans {
                self.step(
                    Action::RemoveContainer {
                        service: service.clone(),
                        id: container.id.clone(),
                        name: container.name.clone(),
                        grace: None,
                        volumes: false,
                    },
                    format!("the Compose file has no service `{service}`"),
                );
            } else {
                self.plan.orphans.push(Leftover {
                    container: container.name.clone(),
                    id: container.id.clone(),
                    what: format!("the Compose file has no service `{service}`; --remove-orphans removes it"),
                    service,
                });
            }
        }
    }
}
