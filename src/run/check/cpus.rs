use super::scene::{Scene, those};
use super::{Finding, Severity, Subject};

/// Limits on CPUs against those the host has.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    [beyond(scene), together(scene)].into_iter().flatten().collect()
}

/// How many there are; `None` where the engine does not say.
fn host(scene: &Scene<'_>) -> Option<u32> {
    scene.engine.map(|engine| engine.info.cpus).filter(|cpus| *cpus > 0)
}

/// More than there are for one container: Docker refuses to make it.
fn beyond(scene: &Scene<'_>) -> Option<Finding> {
    let (engine, host) = (scene.engine?, host(scene)?);
    let names = those(scene, |service| {
        service.resources.cpus.is_some_and(|cpus| cpus > f64::from(host))
    })?;
    let (severity, reason) = match engine.podman() {
        true => (Severity::Warning, "that is no limit at all"),
        false => (Severity::Error, "Docker refuses to make such a container"),
    };
    Some(Finding::new(
        severity,
        "cpus-beyond-host",
        Subject::Host,
        format!("the `cpus` limit of {names} is more than the {host} CPUs of this host"),
        reason,
        format!("set it to {host} or less"),
    ))
}

/// More than there are for all of them, second colours included.
fn together(scene: &Scene<'_>) -> Option<Finding> {
    let host = host(scene)?;
    let doubled: Vec<&str> = scene.doubled().map(|service| service.name.as_str()).collect();
    let limits = scene.services().filter_map(|service| {
        let colours = if doubled.contains(&service.name.as_str()) { 2 } else { 1 };
        Some(service.resources.cpus? * f64::from(service.replicas) * f64::from(colours))
    });
    let sum: f64 = limits.sum();
    (sum > f64::from(host)).then(|| {
        Finding::new(
            Severity::Note,
            "cpus-overcommitted",
            Subject::Host,
            format!("the `cpus` limits of this stack come to {sum:.1}, and this host has {host}"),
            "containers that all work at once, as two colours may during a release, are slower than their limits let hope",
            "nothing, if they seldom all work at once",
        )
    })
}
