//! The router's containers beside its first one: see [`super::Arrangement`].

use crate::stack::Port;

use super::desired::{ROUTER, seal};
use super::{Container, ContainerSpec, labels, numbered};

/// Counting from 1.
pub(super) fn number(container: &Container) -> u32 {
    let label = container.label(labels::NUMBER);
    label.and_then(|label| label.parse().ok()).unwrap_or(1)
}

/// The router's container with this number: on every network of the first one, under those of its names and with those
/// of its published ports that none of `others` has.
pub(super) fn beside(first: &ContainerSpec, number: u32, others: &[&Container]) -> ContainerSpec {
    let mut spec = first.clone();
    let project = spec.labels.get(labels::PROJECT).cloned().unwrap_or_default();
    spec.name = format!("{project}-{ROUTER}-{number}");
    spec.labels.insert(labels::NUMBER.into(), number.to_string());
    for word in spec.command.iter_mut().flatten() {
        for (stem, ending) in [("master", "sock"), ("haproxy", "cfg")] {
            *word = word.replace(&numbered(stem, 1, ending), &numbered(stem, number, ending));
        }
    }
    for attachment in &mut spec.networks {
        let network = attachment.network.clone();
        attachment
            .aliases
            .retain(|alias| !others.iter().any(|other| answers(other, &network, alias)));
        if others.iter().any(|other| other.networks.contains_key(&network)) {
            (attachment.ipv4, attachment.ipv6) = (None, None);
        }
    }
    spec.ports
        .retain(|port| !others.iter().any(|other| publishes(other, port)));
    seal(&mut spec);
    spec
}

pub(super) fn answers(container: &Container, network: &str, alias: &str) -> bool {
    let endpoint = container.networks.get(network);
    endpoint.is_some_and(|endpoint| endpoint.aliases.iter().any(|own| own == alias))
}

fn publishes(container: &Container, port: &Port) -> bool {
    container.ports.iter().any(|held| is(held, port))
}

/// What the first router should have and none of these has; for a person.
pub(super) fn lacking(first: &ContainerSpec, serving: &Container, all: &[&Container]) -> Option<String> {
    for attachment in &first.networks {
        let network = &attachment.network;
        if !serving.networks.contains_key(network) {
            return Some(format!("it is not on the network {network}"));
        }
        let mut aliases = attachment.aliases.iter();
        if let Some(name) = aliases.find(|alias| !all.iter().any(|one| answers(one, network, alias))) {
            return Some(format!("it does not answer to `{name}` on {network}"));
        }
    }
    let port = first
        .ports
        .iter()
        .find(|port| !all.iter().any(|one| publishes(one, port)))?;
    Some(format!("its port {} is not published", port.target))
}

/// A name or port that one of these has and the first router should not have any more; for a person.
pub(super) fn surplus(first: &ContainerSpec, all: &[&Container]) -> Option<String> {
    for container in all {
        for (network, endpoint) in &container.networks {
            let attachment = first.networks.iter().find(|wanted| wanted.network == *network);
            let wanted = |alias: &String| attachment.is_some_and(|a| a.aliases.contains(alias));
            // Engines add the container's own name and the beginning of its id.
            let own = |alias: &String| container.id.as_str().starts_with(alias.as_str()) || *alias == container.name;
            if let Some(alias) = endpoint.aliases.iter().find(|alias| !wanted(alias) && !own(alias)) {
                return Some(format!("it still answers to `{alias}` on {network}"));
            }
        }
        if let Some(held) = container
            .ports
            .iter()
            .find(|held| !first.ports.iter().any(|port| is(held, port)))
        {
            return Some(format!("it still publishes {held}"));
        }
    }
    None
}

/// Whether anybody comes to this container by one of the first router's names or ports.
pub(super) fn wanted(first: &ContainerSpec, container: &Container) -> bool {
    let named = first
        .networks
        .iter()
        .any(|a| a.aliases.iter().any(|alias| answers(container, &a.network, alias)));
    named || first.ports.iter().any(|port| publishes(container, port))
}

/// Whether `0.0.0.0:8080->80/tcp` is this port.
fn is(held: &str, port: &Port) -> bool {
    let Some((host, target)) = held.split_once("->") else {
        return false;
    };
    let (ip, number) = host.rsplit_once(':').unwrap_or(("", host));
    let (first, last) = port
        .published
        .split_once('-')
        .unwrap_or((&port.published, &port.published));
    let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
    let inside = range.is_none_or(|(first, last)| number.parse().is_ok_and(|n| (first..=last).contains(&n)));
    let ip = ip.trim_matches(['[', ']']);
    let everywhere = ["", "0.0.0.0", "::"];
    let at = port.host_ip.trim_matches(['[', ']']);
    target == format!("{}/{}", port.target, port.protocol)
        && inside
        && (ip == at || everywhere.contains(&at) && everywhere.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_port_is_known_again_as_engines_write_it() {
        let port = |host_ip: &str, published: &str| Port {
            host_ip: host_ip.into(),
            published: published.into(),
            target: 80,
            protocol: "tcp".into(),
        };
        for (held, wanted, same) in [
            ("0.0.0.0:8080->80/tcp", port("", "8080"), true),
            ("[::]:8080->80/tcp", port("0.0.0.0", "8080"), true),
            (":8080->80/tcp", port("", "8080"), true),
            ("127.0.0.1:8080->80/tcp", port("127.0.0.1", "8080"), true),
            ("127.0.0.1:8080->80/tcp", port("", "8080"), false),
            ("0.0.0.0:8080->80/tcp", port("", "8081"), false),
            ("0.0.0.0:8080->80/udp", port("", "8080"), false),
            ("0.0.0.0:8085->80/tcp", port("", "8080-8090"), true),
            ("0.0.0.0:49153->80/tcp", port("", ""), true),
            ("80/tcp", port("", ""), false),
        ] {
            assert_eq!(is(held, &wanted), same, "{held} {wanted:?}");
        }
    }
}
