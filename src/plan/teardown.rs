use std::collections::{BTreeMap, BTreeSet};

use crate::model::ServiceName;

use super::desired::ROUTER;
use super::diff::by_service;
use super::order::by_dependency;
use super::precedence::settle;
use super::{Action, Container, Desired, Leftover, Observed, Plan, labels};

/// What `down` takes beside containers and networks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TearDown {
    /// The project's own volumes, with their data.
    pub volumes: bool,
    pub orphans: bool,
}

/// Containers in reverse order of dependency, the router last, then networks; external things stay.
pub fn teardown(desired: &Desired, observed: &Observed, what: TearDown) -> Plan {
    let mut plan = Plan::empty(desired.project.clone());
    let containers = by_service(observed);
    let mut order: Vec<&str> = order(desired).into_iter().rev().collect();
    order.extend(desired.disabled.iter().map(ServiceName::as_str));
    let known: BTreeSet<&str> = order.iter().copied().chain([ROUTER]).collect();
    let orphans = containers.keys().filter(|service| !known.contains(**service)).copied();
    // Of a release that was given up: nobody comes back to it.
    let programs = observed.containers.iter().filter(|c| c.label(labels::HOOK).is_some());
    for program in programs {
        let service = program.label(labels::HOOK).and_then(|of| of.rsplit('/').next());
        let reason = "a release that was given up ran a program in it";
        remove(
            &mut plan,
            desired,
            service.unwrap_or_default(),
            program,
            what.volumes,
            reason,
        );
    }
    let mut left = false;
    for service in orphans {
        for container in &containers[service] {
            if what.orphans {
                remove(
                    &mut plan,
                    desired,
                    service,
                    container,
                    what.volumes,
                    "the Compose file does not have its service",
                );
            } else {
                left = true;
                plan.orphans.push(Leftover {
                    container: container.name.clone(),
                    id: container.id.clone(),
                    service: service.to_owned(),
                    what: format!("the Compose file has no service `{service}`; --remove-orphans removes it"),
                });
            }
        }
    }
    for service in order.into_iter().chain([ROUTER]) {
        for container in containers.get(service).into_iter().flatten() {
            remove(
                &mut plan,
                desired,
                service,
                container,
                what.volumes,
                "the project is taken down",
            );
        }
    }
    let occupied: BTreeSet<&String> = match left {
        true => plan
            .orphans
            .iter()
            .filter_map(|orphan| observed.containers.iter().find(|c| c.id == orphan.id))
            .flat_map(|container| container.networks.keys())
            .collect(),
        false => BTreeSet::new(),
    };
    let external = |name: &str| {
        desired.networks.iter().any(|n| n.external && n.spec.name == name)
            || desired.volumes.iter().any(|v| v.external && v.spec.name == name)
    };
    let networks: Vec<String> = observed
        .networks
        .iter()
        .filter(|network| !external(&network.name) && !occupied.contains(&network.name))
        .map(|network| network.name.clone())
        .collect();
    for name in networks {
        plan.push(Action::RemoveNetwork { name }, "the project is taken down");
    }
    if what.volumes {
        for volume in observed.volumes.iter().filter(|volume| !external(&volume.name)) {
            let name = volume.name.clone();
            plan.push(Action::RemoveVolume { name }, "--volumes removes it with its data");
        }
    }
    settle(&mut plan, desired, observed);
    plan
}

fn order(desired: &Desired) -> Vec<&str> {
    let needs: BTreeMap<ServiceName, BTreeSet<ServiceName>> = desired
        .services
        .iter()
        .map(|service| {
            let needs = service.depends_on.keys().chain(&service.network_of).cloned();
            (service.name.clone(), needs.collect())
        })
        .collect();
    let ordered = by_dependency(&needs);
    ordered
        .iter()
        .filter_map(|name| desired.service(name.as_str()))
        .map(|service| service.name.as_str())
        .collect()
}

fn remove(plan: &mut Plan, desired: &Desired, service: &str, container: &Container, volumes: bool, reason: &str) {
    let spec = match service {
        ROUTER => desired.router.as_ref(),
        name => desired.service(name).and_then(|service| service.containers.first()),
    };
    let reason = match container.label(labels::COLOUR) {
        Some(colour) => format!("{reason} ({colour})"),
        None => reason.to_owned(),
    };
    plan.push(
        Action::RemoveContainer {
            service: service.to_owned(),
            id: container.id.clone(),
            name: container.name.clone(),
            grace: spec.and_then(|spec| spec.stop_grace),
            volumes,
        },
        reason,
    );
}
