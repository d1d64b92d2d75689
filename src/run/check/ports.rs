use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::plan::Container;
use crate::ports::Protocol;
use crate::stack::{NetworkMode, Port, Service};

use super::scene::{EngineView, Scene};
use super::{Finding, Severity, Subject};

/// Ports of a range that are tried before it is taken for full.
const TRIED: u16 = 256;

/// Published ports: what they say about each other, and who holds them.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = twice(scene);
    found.extend(scene.services().flat_map(|service| replicas(scene, service)));
    if let Some(engine) = scene.local_engine() {
        for service in scene.services().filter(|service| publishes(service)) {
            for port in &service.ports {
                found.extend(privileged(scene, engine, service, port));
                found.extend(taken(scene, engine, service, port));
            }
        }
    }
    found
}

fn publishes(service: &Service) -> bool {
    matches!(service.network_mode, None | Some(NetworkMode::Bridge))
}

/// Host ports, both ends included; `None` where the engine chooses.
fn range(port: &Port) -> Option<(u16, u16)> {
    let (first, last) = port
        .published
        .split_once('-')
        .unwrap_or((&port.published, &port.published));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

fn single(port: &Port) -> Option<u16> {
    range(port)
        .filter(|(first, last)| first == last)
        .map(|(first, _)| first)
}

/// The addresses a mapping takes: without one, every address of both families.
fn addresses(host_ip: &str) -> Vec<IpAddr> {
    match host_ip.trim_matches(['[', ']']) {
        "" => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        ip => ip.parse().into_iter().collect(),
    }
}

fn overlap(one: &[IpAddr], other: &[IpAddr]) -> bool {
    let both =
        |a: &IpAddr, b: &IpAddr| a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified());
    one.iter().any(|a| other.iter().any(|b| both(a, b)))
}

fn subject(port: &Port) -> Subject {
    Subject::Port(format!("{}/{}", port.published, port.protocol))
}

/// Two mappings of one port of the host.
fn twice(scene: &Scene<'_>) -> Vec<Finding> {
    let mapped: Vec<(&Service, &Port, u16)> = scene
        .services()
        .filter(|service| publishes(service))
        .flat_map(|service| {
            service
                .ports
                .iter()
                .filter_map(move |port| Some((service, port, single(port)?)))
        })
        .collect();
    let mut found: Vec<Finding> = Vec::new();
    for (at, (service, port, number)) in mapped.iter().enumerate() {
        let clash = mapped[..at].iter().find(|(_, other, theirs)| {
            theirs == number
                && other.protocol == port.protocol
                && overlap(&addresses(&other.host_ip), &addresses(&port.host_ip))
        });
        if let Some((other, ..)) = clash {
            let who = match other.name == service.name {
                true => format!("{} publishes {number}/{} twice", service.name, port.protocol),
                false => format!(
                    "{} and {} both publish {number}/{}",
                    other.name, service.name, port.protocol
                ),
            };
            found.push(Finding::new(
                Severity::Error,
                "port-twice",
                subject(port),
                who,
                "only one container can have a port of the host; the second one does not start",
                "give one of them another port",
            ));
        }
    }
    found
}

/// More replicas than there are ports for them.
fn replicas(scene: &Scene<'_>, service: &Service) -> Vec<Finding> {
    // A released service's ports are the router's, which is one.
    if scene.routes(&service.name) || !publishes(service) {
        return Vec::new();
    }
    let short = service.ports.iter().filter_map(|port| {
        let (first, last) = range(port)?;
        let room = u32::from(last - first) + 1;
        (service.replicas > room).then_some((port, room))
    });
    short
        .map(|(port, room)| {
            Finding::new(
                Severity::Error,
                "port-replicas",
                subject(port),
                format!(
                    "{} has {} replicas and publishes {}",
                    service.name, service.replicas, port.published
                ),
                format!("a port of the host is for one container, so only {room} of them can start"),
                "publish a range of as many ports, one replica, or no port and a proxy in front",
            )
        })
        .collect()
}

fn privileged(scene: &Scene<'_>, engine: &EngineView, service: &Service, port: &Port) -> Option<Finding> {
    if !engine.info.rootless {
        return None;
    }
    let (first, _) = range(port)?;
    let setting = scene
        .machine
        .text("/proc/sys/net/ipv4/ip_unprivileged_port_start".as_ref());
    let start: u16 = setting.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024);
    (first < start).then(|| {
        Finding::new(
            Severity::Error,
            "port-privileged",
            subject(port),
            format!(
                "{} publishes {}, and the engine is rootless",
                service.name, port.published
            ),
            format!("ports below {start} are for root"),
            format!("publish a port from {start} on, or set net.ipv4.ip_unprivileged_port_start to {first}"),
        )
    })
}

enum State {
    Free,
    Ours,
    /// By a container of this project that nothing asks for.
    Orphan(String),
    Taken,
    NoAddress(IpAddr),
    Unknown {
        why: String,
        remedy: &'static str,
    },
}

fn taken(scene: &Scene<'_>, engine: &EngineView, service: &Service, port: &Port) -> Option<Finding> {
    let (first, last) = range(port)?;
    let protocol = match port.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let mut state = State::Free;
    for number in first..=last.min(first.saturating_add(TRIED)) {
        state = look(scene, engine, port, number, protocol);
        if matches!(state, State::Free | State::Ours) {
            return None;
        }
    }
    let what = format!("{} publishes {}/{}", service.name, port.published, port.protocol);
    let number = first;
    let (severity, code) = (Severity::Error, "port-taken");
    Some(match state {
        State::Free | State::Ours => return None,
        State::Orphan(container) => Finding::new(
            severity,
            code,
            subject(port),
            format!("{what}, which the container {container} holds"),
            "nothing in the Compose file asks for that container any more, and it keeps the port from who does",
            "`arkwright up --remove-orphans`",
        ),
        State::Taken => Finding::new(
            severity,
            code,
            subject(port),
            format!("{what}, which something else on this host holds"),
            "its container would be made and could not start",
            format!("stop what holds it (`ss -lpn 'sport = :{number}'` names it), or publish another port"),
        ),
        State::NoAddress(ip) => Finding::new(
            severity,
            "port-address",
            subject(port),
            format!("{what} on {ip}, which is not an address of this host"),
            "its container would be made and could not start",
            "correct the address, or leave it out",
        ),
        State::Unknown { why, remedy } => Finding::unchecked(
            Severity::Note,
            "port-unchecked",
            subject(port),
            format!("whether {} is free for {}", port.published, service.name),
            why,
            remedy,
        ),
    })
}

fn look(scene: &Scene<'_>, engine: &EngineView, port: &Port, number: u16, protocol: Protocol) -> State {
    let wanted = addresses(&port.host_ip);
    let containers = engine.observed.iter().flat_map(|observed| &observed.containers);
    let holder = containers.filter(|c| c.running()).find(|container| {
        held(container).any(|(ip, theirs, word)| theirs == number && word == port.protocol && overlap(&[ip], &wanted))
    });
    if let Some(holder) = holder {
        let orphan = scene
            .plan
            .is_some_and(|plan| plan.orphans.iter().any(|o| o.id == holder.id));
        return match orphan {
            true => State::Orphan(holder.name.clone()),
            false => State::Ours,
        };
    }
    for ip in wanted {
        match scene.machine.listen(ip, number, protocol) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && engine.observed.is_none() => {
                return State::Unknown {
                    why: "it is held, and the engine did not say whether by this project".into(),
                    remedy: "look at the engine's own log, then check again",
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return State::Taken,
            // A host without IPv6 publishes on IPv4 alone.
            Err(_) if port.host_ip.is_empty() && ip.is_ipv6() => {}
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => return State::NoAddress(ip),
            Err(error) => {
                return State::Unknown {
                    why: error.to_string(),
                    remedy: "run this as root",
                };
            }
        }
    }
    State::Free
}

/// From `0.0.0.0:8080->80/tcp` and `[::]:8080->80/tcp`.
fn held(container: &Container) -> impl Iterator<Item = (IpAddr, u16, &str)> {
    container.ports.iter().filter_map(|text| {
        let (host, inside) = text.split_once("->")?;
        let (ip, number) = host.rsplit_once(':')?;
        let (_, protocol) = inside.split_once('/')?;
        Some((
            ip.trim_matches(['[', ']']).parse().ok()?,
            number.parse().ok()?,
            protocol,
        ))
    })
}
