use std::collections::BTreeSet;

use crate::plan::desired::ROUTER;
use crate::plan::doors::{answers, beside, lacking, number, surplus, wanted};
use crate::plan::{Action, Arrangement, Container, ContainerSpec, Notice, Route, Slot, labels};

use super::Differ;

impl<'a> Differ<'a> {
    pub(super) fn router(&mut self) {
        let Some(first) = &self.desired.router else { return };
        let mut all = self.containers(ROUTER);
        all.sort_by_key(|container| number(container));
        if all.is_empty() && !self.left_alone.is_empty() {
            return;
        }
        let routes = self.routes();
        if !same(&routes, &self.facts.routes) {
            self.step(Action::RenderRoutes { routes }, "what the router has to serve changed");
        }
        if all.is_empty() {
            self.create_router(first.clone(), "it is not there");
            self.begin_router(&first.name, Arrangement::default(), "it was just created");
            return;
        }
        // While a service waits for its adoption the router lacks that service's names and ports, which is no news.
        let whole = self.left_alone.is_empty();
        let stopped: Vec<&Container> = all.iter().copied().filter(|c| c.stopped()).collect();
        let gone = stopped.iter().find_map(|c| self.detached(first, c)).filter(|_| whole);
        if let Some(reason) = gone {
            self.one_router(first, &all, &reason);
            return;
        }
        let serving = self.facts.arrangement.serving;
        let others: Vec<&Container> = all.iter().copied().filter(|c| number(c) != serving).collect();
        let doors: BTreeSet<u32> = others.iter().map(|c| number(c)).collect();
        let Some(router) = all.iter().copied().find(|c| number(c) == serving) else {
            let spec = beside(first, serving, &others);
            let name = spec.name.clone();
            self.create_router(spec, "it is not there");
            self.begin_router(&name, Arrangement { serving, doors }, "it was just created");
            return;
        };
        let changed = self.router_changed(first, router, &others, &all);
        let more = surplus(first, &all).filter(|_| whole);
        if self.wishes.recreate_router && (changed.is_some() || more.is_some() || !others.is_empty()) {
            let reason = changed.or(more);
            self.one_router(first, &all, &reason.unwrap_or_else(|| "it has doors".into()));
            return;
        }
        if let Some(more) = more {
            let what = format!("{more}; `arkwright up --recreate-router` ends that, and cuts the connections it has");
            self.plan.drift.push(Notice {
                subject: "the router".into(),
                what,
            });
        }
        if !stopped.is_empty() {
            for container in stopped {
                self.start_router(&container.name, "it is stopped");
            }
        } else if let Some(reason) = changed {
            let serving = all.iter().map(|c| number(c)).max().unwrap_or_default() + 1;
            let spec = beside(first, serving, &all);
            let name = spec.name.clone();
            let doors = all.iter().map(|c| number(c)).collect();
            self.create_router(spec, &reason);
            let to = Arrangement { serving, doors };
            self.hand_over(
                &name,
                to,
                "it takes over, and those before it pass on what still comes to them",
            );
        } else {
            self.close_doors(first, router, &others);
        }
    }

    /// Why the container that serves is not what should serve.
    fn router_changed(
        &self,
        first: &ContainerSpec,
        router: &Container,
        others: &[&Container],
        all: &[&Container],
    ) -> Option<String> {
        let expected = beside(first, number(router), others);
        let same = expected.labels.get(labels::SPEC_HASH).map(String::as_str) == router.label(labels::SPEC_HASH);
        if same {
            return self.image_moved(first, router);
        }
        if !self.left_alone.is_empty() {
            return None;
        }
        let own = || {
            // A name that is not wanted any more takes nothing that could be given by another container.
            let more = surplus(first, all).is_some();
            (!more).then(|| "its specification changed".to_owned())
        };
        lacking(first, router, all)
            .or_else(|| self.image_moved(first, router))
            .or_else(own)
    }

    /// Removes the doors that nobody comes to any more.
    fn close_doors(&mut self, first: &ContainerSpec, router: &Container, others: &[&Container]) {
        let useless = |c: &&&Container| !wanted(first, c) && self.facts.idle.contains(&number(c));
        let closed: Vec<&Container> = others.iter().filter(useless).copied().collect();
        let doors = others.iter().filter(|c| !closed.iter().any(|closed| closed.id == c.id));
        let to = Arrangement {
            serving: self.facts.arrangement.serving,
            doors: doors.map(|c| number(c)).collect(),
        };
        for container in closed {
            self.remove_router(container, "nobody comes to it any more");
        }
        if to != self.facts.arrangement {
            self.hand_over(&router.name, to, "the containers beside it are others");
        }
    }

    /// Puts a single container in the place of all of them, which cuts the connections they have.
    fn one_router(&mut self, first: &ContainerSpec, all: &[&Container], reason: &str) {
        for container in all.iter().filter(|c| number(c) != 1) {
            self.remove_router(container, reason);
        }
        match all.iter().find(|c| number(c) == 1) {
            None => self.create_router(first.clone(), reason),
            Some(old) => self.step(
                Action::RecreateContainer {
                    service: ROUTER.into(),
                    id: old.id.clone(),
                    grace: first.stop_grace,
                    spec: Box::new(first.clone()),
                },
                reason,
            ),
        }
        self.begin_router(&first.name, Arrangement::default(), "it was just created");
    }

    fn create_router(&mut self, spec: ContainerSpec, reason: &str) {
        let action = Action::CreateContainer {
            service: ROUTER.into(),
            spec: Box::new(spec),
        };
        self.step(action, reason);
    }

    fn remove_router(&mut self, container: &Container, reason: &str) {
        let action = Action::RemoveContainer {
            service: ROUTER.into(),
            id: container.id.clone(),
            name: container.name.clone(),
            grace: None,
            volumes: false,
        };
        self.step(action, reason);
    }

    fn start_router(&mut self, name: &str, reason: &str) {
        let action = Action::StartContainer {
            service: ROUTER.into(),
            name: name.to_owned(),
        };
        self.step(action, reason);
    }

    fn hand_over(&mut self, name: &str, to: Arrangement, reason: &str) {
        let action = Action::HandOver {
            name: name.to_owned(),
            to,
        };
        self.step(action, reason);
    }

    /// Starts what was created to serve; where another one was to serve so far, that is told to the router.
    fn begin_router(&mut self, name: &str, to: Arrangement, reason: &str) {
        match to == self.facts.arrangement {
            true => self.start_router(name, reason),
            false => self.hand_over(name, to, reason),
        }
    }

    /// Whether a container of the router is begun by this plan that was not there, and so knows only what its file says.
    pub(super) fn router_begins(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::StartContainer { service, .. } => service == ROUTER,
            Action::HandOver { name, .. } => self.begun(name),
            _ => false,
        })
    }

    /// Whether this plan makes or starts a container of the router.
    fn begun(&self, name: &str) -> bool {
        let begins = |action: &Action| {
            matches!(
                action,
                Action::CreateContainer { .. } | Action::RecreateContainer { .. } | Action::StartContainer { .. }
            )
        };
        let mut steps = self.steps.iter().map(|step| &step.action);
        steps.any(|action| begins(action) && action.service() == Some(ROUTER) && action.container() == Some(name))
    }

    /// Whether a container is made by this plan that answers to the service's name for the router.
    fn name_begins(&self, service: &str) -> bool {
        self.steps.iter().any(|step| match &step.action {
            Action::CreateContainer { service: of, spec } | Action::RecreateContainer { service: of, spec, .. } => {
                let named = |alias: &String| alias == service;
                of == ROUTER && spec.networks.iter().any(|network| network.aliases.iter().any(named))
            }
            _ => false,
        })
    }

    /// A router that begins has another address than whoever answered before. A proxy looks up what it calls when it
    /// starts, so those that say they call a released service are started anew, once that one answers.
    pub(super) fn callers(&mut self) {
        let routers = self.containers(ROUTER);
        for service in &self.desired.services {
            let called = service.depends_on.keys().find(|name| {
                let released = self
                    .desired
                    .service(name.as_str())
                    .is_some_and(|s| s.released.is_some());
                released && !self.left_alone.contains(*name)
            });
            let Some(called) = called else { continue };
            if service.released.is_some() || self.touched.contains_key(&service.name) || !self.wanted(&service.name) {
                continue;
            }
            let named = |c: &&&Container| c.networks.keys().any(|network| answers(c, network, called.as_str()));
            let holder = routers.iter().find(named);
            let begins = self.name_begins(called.as_str()) || holder.is_some_and(|holder| self.begun(&holder.name));
            // One that started before the router did may have looked up who answered before.
            let since = holder.and_then(|holder| holder.started);
            let stale =
                |caller: &Container| begins || since.zip(caller.started).is_some_and(|(router, own)| own < router);
            let running = self
                .containers(service.name.as_str())
                .into_iter()
                .filter(|c| c.running());
            for container in running.filter(|c| stale(c)) {
                self.step(
                    Action::restart(service, container),
                    format!("it calls {called}, whose address is that of the router, which is newer"),
                );
            }
        }
    }

    /// For a service the router knows: what the Compose file and arkwright.yaml say, with the slots as they are.
    fn routes(&self) -> Vec<Route> {
        let released = self
            .desired
            .services
            .iter()
            .filter(|s| !self.left_alone.contains(&s.name));
        released
            .filter_map(|service| service.released.as_ref())
            .map(|released| {
                let known = self
                    .facts
                    .routes
                    .iter()
                    .find(|route| route.service == released.route.service);
                Route {
                    slots: known.map_or_else(
                        || released.route.slots.clone(),
                        |route| match self.facts.moving.contains(&route.service) {
                            true => route.slots.clone(),
                            false => settled(&route.slots),
                        },
                    ),
                    ..released.route.clone()
                }
            })
            .collect()
    }
}

/// What a release left between two colours that nobody takes further: the one with more of the traffic has all of it.
fn settled(slots: &[Slot; 2]) -> [Slot; 2] {
    let mut slots = slots.clone();
    let first = slots[0].weight >= slots[1].weight;
    slots[0].weight = if first { 100 } else { 0 };
    slots[1].weight = 100 - slots[0].weight;
    slots
}

/// The order of routes says nothing.
fn same(a: &[Route], b: &[Route]) -> bool {
    a.len() == b.len() && a.iter().all(|route| b.contains(route))
}
