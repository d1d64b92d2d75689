//! Host ports where Podman needs them chosen for it, or refused.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};

use serde_json::Value;
use tokio::sync::MutexGuard;

use crate::plan::ContainerSpec;
use crate::ports::EngineError;
use crate::stack::Port;

use super::bollard::Bollard;
use super::lenient;
use super::wire::Address;

impl Bollard {
    /// Podman takes no range of host ports, so one of it is chosen that neither a container nor a process of this host
    /// has; whoever holds the guard is the only one of us to choose.
    pub(super) async fn ports_of<'s>(
        &self,
        spec: &'s ContainerSpec,
    ) -> Result<(Cow<'s, [Port]>, Option<MutexGuard<'_, ()>>), EngineError> {
        if !self.podman() {
            return Ok((Cow::Borrowed(&spec.ports), None));
        }
        self.reachable(spec).await?;
        if spec.ports.iter().all(|port| range(&port.published).is_none()) {
            return Ok((Cow::Borrowed(&spec.ports), None));
        }
        let choosing = self.choosing.lock().await;
        let list = self.list("/containers/json", "{}", true).await?;
        let mut taken = taken(&list);
        let here = matches!(self.address, Address::Unix(_));
        let mut ports = spec.ports.clone();
        for port in &mut ports {
            let Some((first, last)) = range(&port.published) else {
                continue;
            };
            let free = (first..=last).find(|number| {
                let held = taken.contains(&(*number, port.protocol.clone()));
                !(held || here && held_here(port, *number))
            });
            let Some(number) = free else {
                return Err(EngineError::PortTaken {
                    what: format!("container {}", spec.name),
                    message: format!("no port of {} is free", port.published),
                });
            };
            taken.insert((number, port.protocol.clone()));
            port.published = number.to_string();
        }
        Ok((Cow::Owned(ports), Some(choosing)))
    }

    /// Podman forwards IPv6 only to containers that have such an address, and says nothing where they have none.
    async fn reachable(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let six = |port: &&Port| port.host_ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
        let Some(port) = spec.ports.iter().find(six) else {
            return Ok(());
        };
        for attachment in &spec.networks {
            let network = self.inspect_network(&attachment.network).await?;
            if network.is_some_and(|network| network.subnets.iter().any(|subnet| subnet.contains(':'))) {
                return Ok(());
            }
        }
        Err(EngineError::Unsupported {
            what: format!("publish [{}]:{} of {}", port.host_ip, port.published, spec.name),
            why: "Podman forwards IPv6 only on networks that have it; give one `enable_ipv6: true` and an IPv6 subnet, or \
                  publish on an IPv4 address"
                .into(),
        })
    }
}

fn range(published: &str) -> Option<(u16, u16)> {
    let (first, last) = published.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// Host ports of all containers, running or not, with their protocols.
fn taken(list: &Value) -> BTreeSet<(u16, String)> {
    let ports = lenient::items(list).iter().filter_map(|entry| entry.get("Ports"));
    let numbered = |port: &Value| {
        let number = port.get("PublicPort")?.as_u64().and_then(|n| u16::try_from(n).ok())?;
        Some((number, lenient::text(port, "/Type").to_owned()))
    };
    ports.flat_map(lenient::items).filter_map(numbered).collect()
}

/// Whether a process of this host has the port; whatever else keeps us from trying, the engine is the one to say.
fn held_here(port: &Port, number: u16) -> bool {
    let address = if port.host_ip.is_empty() {
        "0.0.0.0"
    } else {
        &port.host_ip
    };
    let bound = match port.protocol.as_str() {
        "udp" => UdpSocket::bind((address, number)).map(drop),
        _ => TcpListener::bind((address, number)).map(drop),
    };
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        assert_eq!(range("8000-8002"), Some((8000, 8002)));
        for other in ["8000", "", "a-b", "1-99999", "-"] {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_port_in_use_is_held() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let number = listener.local_addr().expect("an address").port();
        let on = |host_ip: &str| Port {
            host_ip: host_ip.into(),
            target: 80,
            published: String::new(),
            protocol: "tcp".into(),
        };
        assert!(held_here(&on("127.0.0.1"), number));
        assert!(
            !held_here(&on("192.0.2.1"), number),
            "an address this host does not have"
        );
        drop(listener);
        assert!(!held_here(&on("127.0.0.1"), number));
    }

    #[test]
    fn what_a_list_does_not_say_is_free() {
        let list = json!([
            { "Ports": [{ "PublicPort": 80, "Type": "tcp" }, { "PrivatePort": 9 }] },
            { "Ports": null }, {}, { "Ports": [{ "PublicPort": 700_000, "Type": "tcp" }] }
        ]);
        assert_eq!(taken(&list), [(80, "tcp".to_owned())].into());
    }
}
