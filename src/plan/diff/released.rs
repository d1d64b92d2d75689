use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::model::Colour;
use crate::plan::desired::ROUTER;
use crate::plan::{
    Action, Adoption, Container, ContainerSpec, DesiredService, Leftover, Notice, Released, SlotState, labels,
};
use crate::stack::Condition;

use super::{Differ, Touch};

impl<'a> Differ<'a> {
    /// Which released services still run as plain containers. Until they are adopted the router cannot take their names
    /// and ports, so where it is not there yet no released service gets behind it.
    pub(super) fn adoptions(&mut self) {
        let router_there = self.by_service.contains_key(ROUTER);
        let released: Vec<&DesiredService> = self.desired.services.iter().filter(|s| s.released.is_some()).collect();
        for service in &released {
            let all = self.containers(service.name.as_str());
            let (coloured, plain): (Vec<&Container>, Vec<&Container>) =
                all.into_iter().partition(|c| c.label(labels::COLOUR).is_some());
            let routed = self.facts.routes.iter().any(|route| route.service == service.name);
            if plain.is_empty() {
                continue;
            }
            if router_there && (routed || !coloured.is_empty()) {
                for container in plain {
                    self.plan.strays.push(Leftover {
                        container: container.name.clone(),
                        id: container.id.clone(),
                        service: service.name.to_string(),
                        what: format!(
                            "it answers to `{}` beside the router (did someone run `docker compose up`?), so requests reach \
                             it past the release; stop and remove it",
                            service.name
                        ),
                    });
                }
            } else if self.wishes.adopt {
                for container in plain {
                    let remove = Action::remove(service, container);
                    self.step(remove, "the router takes over its name and port");
                }
            } else {
                self.plan.adoption.push(Adoption {
                    service: service.name.clone(),
                    containers: plain.iter().map(|container| container.name.clone()).collect(),
                });
                self.left_alone.insert(service.name.clone());
            }
        }
        if !router_there && !self.left_alone.is_empty() {
            for service in released {
                if self.left_alone.insert(service.name.clone()) {
                    self.plan.adoption.push(Adoption {
                        service: service.name.clone(),
                        containers: Vec::new(),
                    });
                }
            }
        }
    }

    /// The colours of a released service: what is missing or stopped is put back, what differs is told.
    pub(super) fn colours(&mut self, service: &'a DesiredService, released: &'a Released) {
        let all = self.containers(service.name.as_str());
        let of = |colour: Colour| -> Vec<&'a Container> {
            let label = colour.as_str();
            all.iter()
                .filter(|c| c.label(labels::COLOUR) == Some(label))
                .copied()
                .collect()
        };
        let observed = of(released.colour);
        let serves = format!("the {} colour serves and ", released.colour);
        self.as_released(service, &observed, &serves, released.compose_image.as_ref());
        for colour in Colour::BOTH {
            self.point(service, released, colour, &of(colour));
        }
    }

    /// What was released and is missing or stopped is put back, what differs is told. `serves` begins the reasons.
    pub(super) fn as_released(
        &mut self,
        service: &'a DesiredService,
        observed: &[&'a Container],
        serves: &str,
        compose_image: Option<&String>,
    ) {
        let find = |name: &str| observed.iter().find(|c| c.name == name).copied();
        if service
            .containers
            .iter()
            .any(|spec| find(&spec.name).is_none_or(Container::stopped))
        {
            self.waits(service);
        }
        let mut told = BTreeSet::new();
        for spec in &service.containers {
            let Some(container) = find(&spec.name) else {
                self.create(service, spec, format!("{serves}it is not there"));
                continue;
            };
            let hash = spec.labels.get(labels::SPEC_HASH).map(String::as_str);
            let differs = match container.label(labels::SPEC_HASH) == hash {
                false => Some("its specification changed".to_owned()),
                true => self.image_moved(spec, container),
            };
            if let Some(differs) = differs
                && told.insert(differs.clone())
            {
                self.drift(
                    service,
                    format!("{differs}; `arkwright deploy {}` takes it", service.name),
                );
            }
            if let Some(reason) = self.detached(spec, container).filter(|_| container.stopped()) {
                self.recreate(service, spec, container, reason);
            } else if container.stopped() {
                self.start(service, spec, format!("{serves}it is stopped"));
            }
        }
        self.image_drift(service, compose_image);
        if observed.len() > service.containers.len() {
            self.drift(
                service,
                format!(
                    "it has {} replicas and {} are asked for",
                    observed.len(),
                    service.containers.len()
                ),
            );
        }
    }

    /// Told where the Compose file names another image than the one that serves.
    fn image_drift(&mut self, service: &DesiredService, compose_image: Option<&String>) {
        let serving = service.containers.first().map(|spec| &spec.image);
        if let (Some(wanted), Some(serving)) = (compose_image, serving)
            && wanted != serving
        {
            self.drift(
                service,
                format!(
                    "it serves {serving} and the Compose file says {wanted}; write what serves into the Compose file, or \
                     `arkwright deploy {}` releases what it says",
                    service.name
                ),
            );
        }
    }

    fn drift(&mut self, service: &DesiredService, what: String) {
        self.plan.drift.push(Notice {
            subject: service.name.to_string(),
            what,
        });
    }

    /// Gives the router a colour's addresses where it has others: they change with every start on some engines.
    fn point(&mut self, service: &DesiredService, released: &Released, colour: Colour, observed: &[&'a Container]) {
        let serving = colour == released.colour;
        let known = self.facts.routes.iter().find(|route| route.service == service.name);
        let slot = known.and_then(|route| route.slots.iter().find(|slot| slot.colour == colour));
        let in_use = slot.is_some_and(|slot| slot.state != SlotState::Maint);
        if !serving && !in_use {
            return;
        }
        let running = observed.iter().filter(|c| c.running());
        let now: BTreeSet<IpAddr> = running
            .clone()
            .filter_map(|c| c.networks.get(&released.network)?.ip)
            .collect();
        let given: BTreeSet<IpAddr> = slot.iter().flat_map(|slot| slot.addresses.iter().copied()).collect();
        let touched = serving && self.touched.contains_key(&service.name);
        let served = !serving || !self.facts.down.contains(&service.name);
        if !touched && now == given && !self.router_begins() && served {
            return;
        }
        let names: Vec<String> = match serving {
            true => service.containers.iter().map(|spec| spec.name.clone()).collect(),
            false => running.map(|c| c.name.clone()).collect(),
        };
        if touched {
            let checked = service.containers.iter().any(ContainerSpec::checked);
            self.step(
                Action::WaitFor {
                    service: service.name.clone(),
                    condition: if checked {
                        Condition::Healthy
                    } else {
                        Condition::Started
                    },
                    containers: names.clone(),
                },
                "the router is given it next",
            );
        }
        self.step(
            Action::Point {
                service: service.name.clone(),
                colour,
                network: released.network.clone(),
                containers: names,
            },
            match touched {
                true => "it was just started",
                false if self.router_begins() => "the router was just started",
                false if now == given => "the router does not find it healthy",
                false => "its addresses are not what the router has",
            },
        );
        if touched {
            self.touch(&service.name, Touch::Started);
        }
    }
}
