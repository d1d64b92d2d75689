use std::net::IpAddr;

use crate::ports::Firewall;
use crate::stack::{NetworkMode, Service};

use super::scene::Scene;
use super::{Finding, Severity, Subject};

/// Published ports that go past the host's firewall: engines rewrite their packets before it sees them.
pub async fn check(scene: &Scene<'_>) -> Vec<Finding> {
    // A rootless engine listens like any program does, and the firewall holds.
    let Some(engine) = scene.local_engine().filter(|engine| !engine.info.rootless) else {
        return Vec::new();
    };
    let open: Vec<(&Service, String)> = scene
        .services()
        .map(|service| (service, reachable(service)))
        .filter(|(_, ports)| !ports.is_empty())
        .map(|(service, ports)| (service, ports.join(", ")))
        .collect();
    if open.is_empty() {
        return Vec::new();
    }
    match scene.machine.firewall().await {
        Firewall::Off => Vec::new(),
        Firewall::On(name) => open
            .into_iter()
            .map(|(service, ports)| {
                Finding::new(
                    Severity::Warning,
                    "firewall-bypassed",
                    Subject::service(&service.name),
                    format!("{} publishes {ports} past {name}", service.name),
                    format!(
                        "{name} guards what is addressed to this host; packets for a published port are passed on to \
                         the container before it sees them, so the port is open to everybody"
                    ),
                    match engine.podman() {
                        true => "nothing, if everybody may reach it; else publish it on 127.0.0.1, or guard the FORWARD chain",
                        false => {
                            "nothing, if everybody may reach it; else publish it on 127.0.0.1, or put rules into the \
                             DOCKER-USER chain"
                        }
                    },
                )
            })
            .collect(),
        Firewall::Unknown(why) => vec![Finding::unchecked(
            Severity::Note,
            "firewall-unchecked",
            Subject::Host,
            "whether a firewall is on, which published ports would go past",
            why,
            "run this as root; and remember that ufw and firewalld do not guard published ports",
        )],
    }
}

/// Ports that are published on addresses others can reach.
fn reachable(service: &Service) -> Vec<String> {
    if !matches!(service.network_mode, None | Some(NetworkMode::Bridge)) {
        return Vec::new();
    }
    let local = |ip: &str| {
        ip.trim_matches(['[', ']'])
            .parse()
            .is_ok_and(|ip: IpAddr| ip.is_loopback())
    };
    let ports = service.ports.iter().filter(|port| !local(&port.host_ip));
    ports
        .map(|port| match port.published.as_str() {
            "" => format!("{}/{}", port.target, port.protocol),
            published => format!("{published}/{}", port.protocol),
        })
        .collect()
}
