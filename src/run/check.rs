use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::plan::{Observed, Plan};
use crate::ports::{Engine, EngineInfo, EngineKind};
use crate::stack::{Healthcheck, Port, Restart, Service, Stack};

use super::facts::local;

/// Something about the configuration or the host that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, and not in every way one might expect.
    Note,
    Warning,
    /// `up` or `deploy` will fail.
    Error,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            severity,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// What can be said from the files alone.
pub fn check_stack(stack: &Stack, config: Option<&Config>) -> Vec<Finding> {
    let mut found = Vec::new();
    for service in stack.services.values() {
        let name = &service.name;
        if !service.restart_unenforced.is_empty() {
            found.push(Finding::new(
                Severity::Note,
                format!(
                    "{name}: an engine's restart policy has no {}",
                    service.restart_unenforced.join(", ")
                ),
                "nothing to do, if restarting without them is good enough",
            ));
        }
        if service.image.is_none() {
            found.push(Finding::new(
                Severity::Error,
                format!("{name} has no `image`"),
                "build it and name it; arkwright builds nothing itself",
            ));
        }
        let waits = service
            .depends_on
            .iter()
            .filter(|(_, d)| d.condition == crate::stack::Condition::Healthy);
        for (on, _) in waits {
            let unchecked = stack.services.get(on).is_some_and(|s| off(s.healthcheck.as_ref()));
            if unchecked {
                found.push(Finding::new(
                    Severity::Error,
                    format!("{name} waits for {on} to be healthy, whose health check is switched off"),
                    "switch it on, or wait for `service_started`",
                ));
            }
        }
        if service.network_mode.is_some() && !service.ports.is_empty() && !bridged(service) {
            found.push(Finding::new(
                Severity::Warning,
                format!("{name} publishes ports and has a `network_mode`, with which engines ignore them"),
                "publish them at the service whose network it shares, or remove `network_mode`",
            ));
        }
        if config.is_some_and(|c| c.services.contains_key(name)) {
            released(service, &mut found);
        }
    }
    twice(stack, &mut found);
    found
}

fn off(check: Option<&Healthcheck>) -> bool {
    check.is_some_and(|check| check.test.first().is_some_and(|word| word == "NONE"))
}

fn bridged(service: &Service) -> bool {
    matches!(service.network_mode, Some(crate::stack::NetworkMode::Bridge))
}

fn released(service: &Service, found: &mut Vec<Finding>) {
    let name = &service.name;
    if service.network_mode.is_some() {
        found.push(Finding::new(
            Severity::Error,
            format!("{name} is released behind the router and has a `network_mode`"),
            "put it on a network, or take its `release` out of arkwright.yaml",
        ));
    }
    if service.networks.values().any(|n| n.ipv4.is_some() || n.ipv6.is_some()) {
        found.push(Finding::new(
            Severity::Note,
            format!("{name} has a fixed address; the router takes it over, and the colours get others"),
            "nothing to do",
        ));
    }
    if service.ports.iter().any(|port| port.protocol != "tcp") {
        found.push(Finding::new(
            Severity::Error,
            format!("{name} is released and publishes a port that is not TCP, which the router cannot serve"),
            "move that port to a service that is not released",
        ));
    }
}

/// Two services that publish the same port of the host.
fn twice(stack: &Stack, found: &mut Vec<Finding>) {
    let mut taken: BTreeMap<(String, u16), Vec<(String, String)>> = BTreeMap::new();
    for service in stack.services.values() {
        for port in &service.ports {
            if let Some(number) = numbers(port) {
                taken
                    .entry((port.protocol.clone(), number))
                    .or_default()
                    .push((port.host_ip.clone(), service.name.to_string()));
            }
        }
    }
    for ((protocol, number), users) in taken {
        let clash = users.iter().enumerate().find_map(|(at, (ip, name))| {
            let other = users[..at]
                .iter()
                .find(|(other, _)| any(other) || any(ip) || other == ip)?;
            Some((other.1.clone(), name.clone()))
        });
        if let Some((first, second)) = clash
            && first != second
        {
            found.push(Finding::new(
                Severity::Error,
                format!("{first} and {second} both publish port {number}/{protocol}"),
                "give one of them another port",
            ));
        }
    }
}

fn any(ip: &str) -> bool {
    matches!(ip, "" | "0.0.0.0" | "::")
}

/// The single host port a mapping takes; of a range the engine takes whichever is free.
fn numbers(port: &Port) -> Option<u16> {
    port.published.parse().ok().filter(|number| *number > 0)
}

/// What has to be looked up: the engine, images, paths and ports. `plan` is what `up` would do now.
pub fn check_host(
    engine: &dyn Engine,
    stack: &Stack,
    config: Option<&Config>,
    observed: &Observed,
    plan: &Plan,
) -> Vec<Finding> {
    let info = engine.info();
    let mut found = Vec::new();
    version(info, &mut found);
    if info.kind == EngineKind::Podman {
        podman(info, stack, config, &mut found);
    }
    for why in &plan.blocked {
        found.push(Finding::new(
            Severity::Error,
            why.clone(),
            "`up` refuses until this is mended",
        ));
    }
    for change in &plan.changes {
        if let crate::plan::Action::PullImage { reference } = &change.action {
            found.push(Finding::new(
                Severity::Note,
                format!("the image {reference} is not on this host"),
                "`up` pulls it; to see now whether that works, pull it yourself",
            ));
        }
    }
    for stray in &plan.strays {
        found.push(Finding::new(
            Severity::Warning,
            format!("{}: {}", stray.container, stray.what),
            "remove it",
        ));
    }
    if local(engine) {
        let mut looked = BTreeSet::new();
        for service in stack.services.values() {
            for mount in &service.mounts {
                if let crate::stack::Mount::Bind { source, .. } = mount
                    && looked.insert(source)
                {
                    readable(service, source, &mut found);
                }
            }
            for port in &service.ports {
                taken(info, service, port, observed, &mut found);
            }
        }
    }
    found
}

fn version(info: &EngineInfo, found: &mut Vec<Finding>) {
    let mut parts = info.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let now = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let (name, least) = match info.kind {
        EngineKind::Docker => ("Docker", (20, 10)),
        EngineKind::Podman => ("Podman", (4, 3)),
    };
    if now < least {
        found.push(Finding::new(
            Severity::Warning,
            format!(
                "{name} {} is older than {}.{}, the oldest this was tried with",
                info.version, least.0, least.1
            ),
            "upgrade the engine",
        ));
    }
}

fn podman(info: &EngineInfo, stack: &Stack, config: Option<&Config>, found: &mut Vec<Finding>) {
    let systemd = Path::new("/run/systemd/system").exists();
    let names = |wanted: &dyn Fn(&Service) -> bool| {
        let names: Vec<&str> = stack
            .services
            .values()
            .filter(|s| wanted(s))
            .map(|s| s.name.as_str())
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if info.rootless && config.is_some_and(|c| !c.services.is_empty()) {
        found.push(Finding::new(
            Severity::Error,
            "a rootless Podman cannot run releases: the router needs addresses that reach the containers",
            "use a rootful engine, or take `services` out of arkwright.yaml; stack, backups and drills work",
        ));
    }
    if let Some(names) = names(&|s| {
        s.healthcheck
            .as_ref()
            .is_some_and(|c| !c.test.is_empty() && !off(Some(c)))
    }) && !systemd
    {
        found.push(Finding::new(
            Severity::Note,
            format!("without systemd Podman runs no health checks by itself ({names})"),
            "arkwright runs them while it waits for a service; nothing does afterwards",
        ));
    }
    let restarts = names(&|s| matches!(s.restart, Restart::Always | Restart::UnlessStopped));
    let unit = Path::new("/etc/systemd/system/default.target.wants/podman-restart.service");
    if let Some(names) = restarts
        && !info.rootless
        && !unit.exists()
    {
        found.push(Finding::new(
            Severity::Warning,
            format!("after a reboot Podman does not start {names} by itself"),
            match systemd {
                true => "systemctl enable podman-restart.service",
                false => "start them at boot, for example by `arkwright up`",
            },
        ));
    }
    let catatonit = [
        "/usr/libexec/podman/catatonit",
        "/usr/lib/podman/catatonit",
        "/usr/bin/catatonit",
    ];
    if let Some(names) = names(&|s| s.init == Some(true))
        && !catatonit.iter().any(|path| Path::new(path).exists())
    {
        found.push(Finding::new(
            Severity::Error,
            format!("`init: true` ({names}) needs catatonit, which is not where Podman looks for it"),
            "install the package catatonit, or remove `init`",
        ));
    }
    let drivers = ["json-file", "k8s-file", "journald", "none", "passthrough"];
    let odd = |s: &Service| {
        let driver = s.logging.as_ref().and_then(|logging| logging.driver.as_deref());
        driver.is_some_and(|driver| !drivers.contains(&driver))
    };
    if let Some(names) = names(&odd) {
        found.push(Finding::new(
            Severity::Error,
            format!("Podman does not have the logging driver of {names}"),
            "use json-file or journald",
        ));
    }
}

fn readable(service: &Service, source: &Path, found: &mut Vec<Finding>) {
    let looked = match source.metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::read_dir(source).map(|_| ()),
        Ok(metadata) if metadata.is_file() => std::fs::File::open(source).map(|_| ()),
        // Sockets and devices are opened by who uses them.
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = looked
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        found.push(Finding::new(
            Severity::Warning,
            format!("{} mounts {}, which cannot be read", service.name, source.display()),
            "run as root, or give yourself the right to read it: a backup of it would fail",
        ));
    }
}

fn taken(info: &EngineInfo, service: &Service, port: &Port, observed: &Observed, found: &mut Vec<Finding>) {
    let Some(number) = numbers(port) else { return };
    if info.rootless && number < 1024 {
        found.push(Finding::new(
            Severity::Warning,
            format!(
                "{} publishes port {number}, which a rootless engine may not open",
                service.name
            ),
            "publish a port from 1024 on, or lower net.ipv4.ip_unprivileged_port_start",
        ));
    }
    let published = format!(":{number}->");
    let ours = observed
        .containers
        .iter()
        .filter(|c| c.running())
        .any(|c| c.ports.iter().any(|p| p.contains(&published)));
    if ours {
        return;
    }
    let ip: IpAddr = match port.host_ip.parse() {
        Ok(ip) => ip,
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    };
    let tried = match port.protocol.as_str() {
        "udp" => UdpSocket::bind((ip, number)).map(|_| ()),
        "tcp" => TcpListener::bind((ip, number)).map(|_| ()),
        _ => Ok(()),
    };
    match tried.map_err(|error| error.kind()) {
        Err(io::ErrorKind::AddrInUse) => found.push(Finding::new(
            Severity::Error,
            format!(
                "{} publishes port {number}/{}, which something else on this host holds",
                service.name, port.protocol
            ),
            format!("stop what holds it (`ss -lptn 'sport = :{number}'` names it), or publish another port"),
        )),
        Err(io::ErrorKind::AddrNotAvailable) => found.push(Finding::new(
            Severity::Error,
            format!(
                "{} publishes on {ip}, which is not an address of this host",
                service.name
            ),
            "correct the address, or leave it out",
        )),
        _ => {}
    }
}
