use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::{ContainerId, ServiceName};
use crate::stack::Condition;

use super::desired::ROUTER;
use super::{Action, Container, ContainerSpec, Desired, Observed, Plan, SpecMount};

/// Writes into every change which earlier ones it comes after; the rest may be done at the same time.
pub(super) fn settle(plan: &mut Plan, desired: &Desired, observed: &Observed) {
    let world = World::of(desired, observed);
    let after: Vec<Vec<usize>> = plan
        .changes
        .iter()
        .enumerate()
        .map(|(at, later)| {
            let earlier = plan.changes[..at].iter().enumerate();
            earlier
                .filter(|(_, earlier)| world.precedes(&earlier.action, &later.action))
                .map(|(at, _)| at)
                .collect()
        })
        .collect();
    for (change, after) in plan.changes.iter_mut().zip(after) {
        change.after = after;
    }
}

/// What a container has now that no other can have.
struct Held<'a> {
    name: &'a str,
    ports: Vec<u16>,
    addresses: Vec<IpAddr>,
}

struct World<'a> {
    /// What a service needs, and in which condition.
    needs: BTreeMap<&'a str, BTreeMap<&'a str, Condition>>,
    specs: BTreeMap<&'a str, &'a ContainerSpec>,
    held: BTreeMap<&'a ContainerId, Held<'a>>,
}

impl<'a> World<'a> {
    fn of(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut needs: BTreeMap<&str, BTreeMap<&str, Condition>> = BTreeMap::new();
        // Dependencies come first, so what they need in turn is known: one between may have no container to wait for.
        for service in &desired.services {
            let shares = service
                .network_of
                .iter()
                .map(|other| (other.as_str(), Condition::Started));
            let depends = service.depends_on.iter().map(|(on, d)| (on.as_str(), d.condition));
            let direct: BTreeMap<&str, Condition> = shares.chain(depends).collect();
            let further = direct.keys().filter_map(|on| needs.get(on)).flatten();
            let mut all: BTreeMap<&str, Condition> = further.map(|(on, condition)| (*on, *condition)).collect();
            all.extend(direct);
            needs.insert(service.name.as_str(), all);
        }
        let specs = desired
            .services
            .iter()
            .flat_map(|s| &s.containers)
            .chain(&desired.router);
        World {
            needs,
            specs: specs.map(|spec| (spec.name.as_str(), spec)).collect(),
            held: observed.containers.iter().map(|c| (&c.id, Held::of(c))).collect(),
        }
    }

    fn precedes(&self, earlier: &Action, later: &Action) -> bool {
        // Nothing that serves goes before what takes its place can be made.
        if prepares(earlier) && matches!(later, Action::RemoveContainer { .. } | Action::RecreateContainer { .. }) {
            return true;
        }
        match earlier {
            Action::CreateNetwork { spec: network } => self.spec_of(later).is_some_and(|spec| {
                spec.networks
                    .iter()
                    .any(|attachment| attachment.network == network.name)
            }),
            Action::CreateVolume { spec: volume } => self.mounts(
                later,
                |mount| matches!(mount, SpecMount::Volume { source: Some(name), .. } if *name == volume.name),
            ),
            Action::CreateFolder { path } | Action::WriteFile { path, .. } => self.mounts(
                later,
                |mount| matches!(mount, SpecMount::Bind { source, .. } if source == path),
            ),
            Action::PullImage { reference } => self.spec_of(later).is_some_and(|spec| spec.image == *reference),
            Action::RenderRoutes { .. } => later.service() == Some(ROUTER) || matches!(later, Action::Point { .. }),
            Action::RemoveContainer { service, .. } => match later {
                // Whoever needs it goes first, and the router after everything it leads to.
                Action::RemoveContainer { service: other, .. } => {
                    other == ROUTER || self.need(service, other).is_some()
                }
                Action::RemoveNetwork { .. } | Action::RemoveVolume { .. } => true,
                // What it holds, names and ports, is wanted by whatever begins after it.
                _ => begins(later),
            },
            Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::RecreateContainer { .. }
            | Action::RestartContainer { .. }
            | Action::HandOver { .. } => self.step_precedes(earlier, later),
            Action::WaitFor { service, condition, .. } => match later {
                Action::Point { service: other, .. } => other == service,
                _ => begins(later) && self.needed(later, service) == Some(*condition),
            },
            Action::Point { service, .. } => match later {
                Action::WaitFor { service: other, .. } | Action::Point { service: other, .. } => other == service,
                _ => begins(later) && self.needed(later, service).is_some(),
            },
            Action::RemoveNetwork { .. } | Action::RemoveVolume { .. } => false,
        }
    }

    /// `earlier` creates, starts or restarts a container.
    fn step_precedes(&self, earlier: &Action, later: &Action) -> bool {
        let service = earlier.service().unwrap_or_default();
        match later {
            Action::WaitFor { service: other, .. } => other.as_str() == service,
            Action::Point { service: other, .. } => other.as_str() == service || service == ROUTER,
            _ if !begins(later) => false,
            _ if earlier.container() == later.container() => true,
            _ => self.need(later.service().unwrap_or_default(), service).is_some() || self.hands_over(earlier, later),
        }
    }

    /// Whether `earlier` takes away a container that has something `later` wants.
    fn hands_over(&self, earlier: &Action, later: &Action) -> bool {
        let Action::RecreateContainer { id, .. } = earlier else {
            return false;
        };
        match (self.held.get(id), self.spec_of(later)) {
            (Some(held), Some(spec)) => held.wanted_by(spec),
            _ => false,
        }
    }

    fn need(&self, service: &str, on: &str) -> Option<Condition> {
        self.needs.get(service)?.get(on).copied()
    }

    fn needed(&self, later: &Action, on: &ServiceName) -> Option<Condition> {
        self.need(later.service()?, on.as_str())
    }

    fn mounts(&self, action: &Action, wanted: impl Fn(&SpecMount) -> bool) -> bool {
        self.spec_of(action).is_some_and(|spec| spec.mounts.iter().any(wanted))
    }

    fn spec_of<'b>(&'b self, action: &'b Action) -> Option<&'b ContainerSpec> {
        match action {
            Action::CreateContainer { spec, .. } | Action::RecreateContainer { spec, .. } => Some(spec),
            _ => self.specs.get(action.container()?).copied(),
        }
    }
}

/// Makes ready what containers are made of; what fails here has changed nothing that runs.
fn prepares(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateNetwork { .. }
            | Action::CreateVolume { .. }
            | Action::CreateFolder { .. }
            | Action::WriteFile { .. }
            | Action::PullImage { .. }
    )
}

fn begins(action: &Action) -> bool {
    matches!(
        action,
        Action::CreateContainer { .. }
            | Action::StartContainer { .. }
            | Action::RecreateContainer { .. }
            | Action::RestartContainer { .. }
            | Action::HandOver { .. }
    )
}

impl<'a> Held<'a> {
    fn of(container: &'a Container) -> Self {
        Held {
            name: &container.name,
            ports: container.ports.iter().filter_map(|port| host_port(port)).collect(),
            addresses: container.networks.values().filter_map(|endpoint| endpoint.ip).collect(),
        }
    }

    fn wanted_by(&self, spec: &ContainerSpec) -> bool {
        let port = |wanted: &str| {
            let (first, last) = wanted.split_once('-').unwrap_or((wanted, wanted));
            let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            range.is_some_and(|(first, last)| self.ports.iter().any(|held| (first..=last).contains(held)))
        };
        let address = |wanted: &Option<String>| {
            let wanted = wanted.as_deref().and_then(|ip| ip.parse().ok());
            wanted.is_some_and(|ip| self.addresses.contains(&ip))
        };
        spec.name == self.name
            || spec.ports.iter().any(|wanted| port(&wanted.published))
            || spec.networks.iter().any(|n| address(&n.ipv4) || address(&n.ipv6))
    }
}

/// 8080 of `0.0.0.0:8080->80/tcp`.
fn host_port(published: &str) -> Option<u16> {
    let (host, _) = published.split_once("->")?;
    host.rsplit_once(':').map_or(host, |(_, port)| port).parse().ok()
}
