use std::path::Path;

use crate::stack::{Condition, Healthcheck, Mount, NetworkMode, Service};

use super::scene::Scene;
use super::{Finding, Severity, Subject};

/// What the Compose file says of each service.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    scene
        .services()
        .flat_map(|service| {
            let one = [image(service), restart(service), reservation(service), ports(service)];
            one.into_iter()
                .flatten()
                .chain(waits(scene, service))
                .chain(sockets(service))
        })
        .collect()
}

fn image(service: &Service) -> Option<Finding> {
    let name = &service.name;
    let remedy = match &service.build {
        _ if service.image.is_some() => return None,
        Some(build) => format!(
            "give it a name with `image:`, and build it under that name (`docker build -t NAME {}`)",
            build.context.display()
        ),
        None => "give it an `image`".into(),
    };
    Some(Finding::new(
        Severity::Error,
        "no-image",
        Subject::service(name),
        format!("{name} has no `image`"),
        "arkwright builds nothing itself, so there is nothing to run",
        remedy,
    ))
}

fn restart(service: &Service) -> Option<Finding> {
    let name = &service.name;
    (!service.restart_unenforced.is_empty()).then(|| {
        Finding::new(
            Severity::Note,
            "restart-unenforced",
            Subject::service(name),
            format!(
                "{name}: no engine carries out `{}` of its restart policy",
                service.restart_unenforced.join("`, `")
            ),
            "an engine restarts with pauses of its own, and counts attempts under `on-failure` only",
            "nothing, if restarting without them is good enough; else `condition: on-failure` with `max_attempts`",
        )
    })
}

fn reservation(service: &Service) -> Option<Finding> {
    let (name, cpus) = (&service.name, service.resources.cpus_reserved?);
    Some(Finding::new(
        Severity::Note,
        "reservation-unenforced",
        Subject::service(name),
        format!("{name}: no engine keeps a reservation of {cpus} CPUs"),
        "a single host shares its CPUs by weight, it sets none aside",
        "nothing, or `cpu_shares` to weigh it against the others",
    ))
}

fn ports(service: &Service) -> Option<Finding> {
    let name = &service.name;
    let ignored = matches!(&service.network_mode, Some(mode) if !matches!(mode, NetworkMode::Bridge));
    (ignored && !service.ports.is_empty()).then(|| {
        Finding::new(
            Severity::Warning,
            "ports-ignored",
            Subject::service(name),
            format!("{name} publishes ports and has a `network_mode`"),
            "engines ignore the ports of such a container",
            "publish them at the service whose network it shares, or remove `network_mode`",
        )
    })
}

fn waits(scene: &Scene<'_>, service: &Service) -> Vec<Finding> {
    let name = &service.name;
    let healthy = service
        .depends_on
        .iter()
        .filter(|(_, dependency)| dependency.condition == Condition::Healthy);
    let checks = healthy.filter_map(|(on, _)| Some((on, scene.stack.services.get(on)?)));
    checks
        .filter_map(|(on, other)| {
            let what = if switched_off(other.healthcheck.as_ref()) {
                format!("{name} waits for {on} to be healthy, whose health check is switched off")
            } else if unchecked(scene, other)? {
                format!("{name} waits for {on} to be healthy, which has no health check, nor has its image")
            } else {
                return None;
            };
            Some(Finding::new(
                Severity::Error,
                "health-check-missing",
                Subject::service(on),
                what,
                "it would wait for ever, so `up` gives up at once",
                format!("give {on} a `healthcheck`, or wait for `service_started`"),
            ))
        })
        .collect()
}

/// Whether nothing checks this service's health; `None` where that is for an image to say that nobody has seen.
fn unchecked(scene: &Scene<'_>, service: &Service) -> Option<bool> {
    if service.healthcheck.as_ref().is_some_and(|check| !check.test.is_empty()) {
        return Some(false);
    }
    let image = scene.engine?.images.get(service.image.as_ref()?)?;
    image.as_ref().map(|image| !image.has_healthcheck)
}

pub fn switched_off(check: Option<&Healthcheck>) -> bool {
    check.is_some_and(|check| check.test.first().is_some_and(|word| word == "NONE"))
}

fn sockets(service: &Service) -> Option<Finding> {
    let name = &service.name;
    let engine = |path: &Path| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        matches!(file, "docker.sock" | "podman.sock" | "containerd.sock")
    };
    let source = service.mounts.iter().find_map(|mount| match mount {
        Mount::Bind { source, .. } if engine(source) => Some(source),
        _ => None,
    })?;
    Some(Finding::new(
        Severity::Warning,
        "engine-socket-mounted",
        Subject::service(name),
        format!("{name} mounts {}", source.display()),
        "whoever gets into that container has the engine, and with it this host; `:ro` does not change that",
        "remove the mount, or put a proxy before the socket that lets through only what the service needs",
    ))
}
