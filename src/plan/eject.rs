use crate::model::ServiceName;
use crate::stack::{Condition, Restart};

use super::desired::ROUTER;
use super::diff::by_service;
use super::{Action, Change, Container, ContainerSpec, Desired, DesiredService, Observed, Plan, Route, labels};

/// Every released service back under its own name and ports, as Compose itself would have made it; the router and the
/// colours gone. Networks, volumes and what is not released stay as they are.
///
/// `plain` is the project with nothing released, each service with the image that serves. The new containers are made
/// beside what serves; from the router's end to their start nobody answers. One change after the other, so that what is
/// cut off anywhere is finished by the plan made from there.
pub fn eject(plain: &Desired, observed: &Observed, routes: &[Route]) -> Plan {
    let mut plan = Plan::empty(plain.project.clone());
    let containers = by_service(observed);
    let of = |service: &str| containers.get(service).cloned().unwrap_or_default();
    let mut takeover = Vec::new();
    for service in &plain.services {
        let (colours, own): (Vec<&Container>, Vec<&Container>) =
            of(service.name.as_str()).into_iter().partition(|c| coloured(c));
        let routed = routes.iter().any(|route| route.service == service.name);
        if colours.is_empty() && !routed {
            continue;
        }
        if let Some(why) = crowded(service) {
            plan.blocked.push(why);
        }
        for colour in &colours {
            takeover.push(remove(
                service,
                colour,
                "its service runs as a plain container from here on",
            ));
        }
        for spec in &service.containers {
            let found = own.iter().find(|c| c.name == spec.name).copied();
            match found {
                None => plan.push(
                    Action::CreateContainer {
                        service: service.name.to_string(),
                        spec: Box::new(spec.clone()),
                    },
                    "it takes the place of the colour that serves",
                ),
                // With the colours gone it was made from what they were.
                Some(old) if colours.is_empty() || same(old, spec) => {}
                Some(old) => takeover.push(Change::new(
                    Action::RecreateContainer {
                        service: service.name.to_string(),
                        id: old.id.clone(),
                        grace: spec.stop_grace,
                        spec: Box::new(spec.clone()),
                    },
                    "it is not what serves",
                )),
            }
            let runs = found.is_some_and(|c| c.running() && (colours.is_empty() || same(c, spec)));
            if !runs {
                takeover.push(Change::new(
                    Action::StartContainer {
                        service: service.name.to_string(),
                        name: spec.name.clone(),
                    },
                    "it answers under the service's own name and ports",
                ));
                takeover.push(wait(service, spec));
            }
        }
    }
    for router in of(ROUTER) {
        let change = Action::RemoveContainer {
            service: ROUTER.to_owned(),
            id: router.id.clone(),
            name: router.name.clone(),
            grace: None,
            volumes: false,
        };
        plan.push(change, "from here on nobody answers, until the plain containers do");
    }
    // Nobody is kept away by how long another one takes to get healthy.
    takeover.sort_by_key(|change| matches!(change.action, Action::WaitFor { .. }));
    plan.changes.append(&mut takeover);
    // What was released has other addresses now, and a proxy looked up what it calls when it started.
    let moved = |name: &ServiceName| routes.iter().any(|route| route.service == *name);
    for service in plain.services.iter().filter(|service| !moved(&service.name)) {
        let Some(called) = service.depends_on.keys().find(|name| moved(name)) else {
            continue;
        };
        // One that is stopped was cut off between its stop and its start.
        let runs = service
            .containers
            .first()
            .is_some_and(|spec| spec.restart != Restart::No);
        for container in of(service.name.as_str()).into_iter().filter(|c| c.running() || runs) {
            let action = Action::restart(service, container);
            plan.push(action, format!("it calls {called}, which has another address now"));
        }
    }
    if !routes.is_empty() {
        plan.push(
            Action::RenderRoutes { routes: Vec::new() },
            "the router has nothing to serve any more",
        );
    }
    for (at, change) in plan.changes.iter_mut().enumerate().skip(1) {
        change.after = vec![at - 1];
    }
    plan
}

fn coloured(container: &Container) -> bool {
    container.label(labels::COLOUR).is_some()
}

fn same(container: &Container, spec: &ContainerSpec) -> bool {
    container.label(labels::SPEC_HASH) == spec.labels.get(labels::SPEC_HASH).map(String::as_str)
}

/// Behind the router replicas share a port; side by side on the host they cannot.
fn crowded(service: &DesiredService) -> Option<String> {
    let first = service.containers.first()?;
    let fixed = first.ports.iter().find(|port| port.published.parse::<u16>().is_ok())?;
    (service.containers.len() > 1).then(|| {
        format!(
            "{} has {} replicas behind one published port, {}, which only the router can give them; set one replica",
            service.name,
            service.containers.len(),
            fixed.published
        )
    })
}

fn remove(service: &DesiredService, container: &Container, reason: &str) -> Change {
    let action = Action::remove(service, container);
    Change::new(action, reason)
}

fn wait(service: &DesiredService, spec: &ContainerSpec) -> Change {
    let action = Action::WaitFor {
        service: service.name.clone(),
        condition: if spec.checked() {
            Condition::Healthy
        } else {
            Condition::Started
        },
        containers: vec![spec.name.clone()],
    };
    Change::new(action, "the interruption is over once it is")
}
