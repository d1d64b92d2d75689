use crate::ports::{EngineInfo, EngineKind};

use super::scene::{EngineView, Scene, list, those};
use super::{Finding, Severity, Subject};

/// The engine itself: its version, and what it lacks of what this stack asks.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(engine) = scene.engine else { return Vec::new() };
    let found = [
        elsewhere(engine),
        old(&engine.info),
        gaps(scene, engine),
        rootless(scene, engine),
        logging(scene, engine),
    ];
    found.into_iter().flatten().collect()
}

fn elsewhere(engine: &EngineView) -> Option<Finding> {
    (!engine.local()).then(|| {
        Finding::unchecked(
            Severity::Warning,
            "engine-elsewhere",
            Subject::Engine,
            "ports, mounts, disks and memory of the engine's host",
            format!("{} is on another machine", engine.info.host),
            "run `arkwright check` there",
        )
    })
}

/// Major and minor; what is no number counts as 0.
pub fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn old(info: &EngineInfo) -> Option<Finding> {
    let (name, least) = match info.kind {
        EngineKind::Docker => ("Docker", (20, 10)),
        EngineKind::Podman => ("Podman", (4, 3)),
    };
    (version(&info.version) < least).then(|| {
        Finding::new(
            Severity::Warning,
            "engine-old",
            Subject::Engine,
            format!("{name} {} is older than {}.{}", info.version, least.0, least.1),
            "that is the oldest this was tried with",
            "upgrade the engine",
        )
    })
}

/// What this engine cannot do and arkwright does in its place.
fn gaps(scene: &Scene<'_>, engine: &EngineView) -> Option<Finding> {
    let mut around = Vec::new();
    if !engine.podman()
        && version(&engine.info.api_version) < (1, 44)
        && let Some(names) = those(scene, |service| service.networks.len() > 1)
    {
        around.push(format!("{names} start on one network and are connected to the others"));
    }
    if engine.podman()
        && version(&engine.info.version) < (4, 7)
        && let Some(names) = those(scene, |s| {
            s.extra_hosts.iter().any(|host| host.ends_with(":host-gateway"))
        })
    {
        around.push(format!(
            "`host-gateway` of {names} is looked up and written as an address"
        ));
    }
    (!around.is_empty()).then(|| {
        Finding::new(
            Severity::Note,
            "engine-gaps",
            Subject::Engine,
            format!(
                "{} lacks something this stack asks, and arkwright does it instead",
                engine.title()
            ),
            around.join("; "),
            "nothing; a newer engine does it by itself",
        )
    })
}

fn rootless(scene: &Scene<'_>, engine: &EngineView) -> Option<Finding> {
    let names: Vec<&str> = scene.released().map(|(service, _)| service.name.as_str()).collect();
    (engine.info.rootless && !names.is_empty()).then(|| {
        Finding::new(
            Severity::Error,
            "rootless-releases",
            Subject::Engine,
            format!("a rootless engine cannot release {}", list(&names)),
            "the router is given the containers' addresses, which reach nothing outside a rootless engine's networks",
            "use a rootful engine, or take `services` out of arkwright.yaml; stack, backups and drills work",
        )
    })
}

fn logging(scene: &Scene<'_>, engine: &EngineView) -> Option<Finding> {
    let podman = ["json-file", "k8s-file", "journald", "none", "passthrough"];
    let knows = |driver: &str| match engine.podman() {
        true => podman.contains(&driver),
        // A driver that is a plugin has a tag.
        false => {
            driver == "none" || driver.contains(':') || engine.info.log_drivers.iter().any(|known| known == driver)
        }
    };
    let driver = |service: &crate::stack::Service| service.logging.as_ref().and_then(|logging| logging.driver.clone());
    if !engine.podman() && engine.info.log_drivers.is_empty() {
        return None;
    }
    let names = those(scene, |service| driver(service).is_some_and(|driver| !knows(&driver)))?;
    Some(Finding::new(
        Severity::Error,
        "log-driver-missing",
        Subject::Engine,
        format!("{} does not have the logging driver of {names}", engine.title()),
        "it refuses to make their containers",
        "use json-file or journald",
    ))
}
