use crate::model::Size;
use crate::run::headroom::memory_of;
use crate::stack::Service;

use super::scene::{EngineView, Scene, list};
use super::{Finding, Severity, Subject};

/// Memory for a second colour of every service whose colours run side by side; a warm one is kept for hours, so they
/// add up.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(engine) = scene.local_engine() else {
        return Vec::new();
    };
    let (mut needed, mut known, mut unknown) = (0u64, Vec::new(), Vec::new());
    for service in scene.doubled().filter(|service| !engine.in_two_colours(service)) {
        let name = service.name.as_str();
        match need(engine, service) {
            Some(bytes) => {
                needed = needed.saturating_add(bytes.saturating_mul(u64::from(service.replicas)));
                known.push(name);
            }
            None => unknown.push(name),
        }
    }
    let mut found = Vec::new();
    if !known.is_empty() {
        found.extend(room(scene, needed, &list(&known)));
    }
    if !unknown.is_empty() {
        let names = list(&unknown);
        found.push(Finding::unchecked(
            Severity::Note,
            "memory-unknown",
            Subject::Host,
            format!("whether there is memory for a second colour of {names}"),
            "there is neither a limit in the Compose file nor a running container to go by",
            "set `deploy.resources.limits.memory`, or check again once it runs",
        ));
    }
    found
}

/// What one replica may take.
fn need(engine: &EngineView, service: &Service) -> Option<u64> {
    let used = || {
        engine
            .running(service)
            .filter_map(|c| engine.memory.get(&c.name))
            .max()
            .copied()
    };
    memory_of(service, used).map(|(bytes, _)| bytes)
}

fn room(scene: &Scene<'_>, needed: u64, names: &str) -> Option<Finding> {
    match scene.machine.memory_free() {
        Ok(free) if free >= needed => None,
        Ok(free) => Some(Finding::new(
            Severity::Warning,
            "memory-two-colours",
            Subject::Host,
            format!(
                "a second colour of {names} may take {}, and {} are free",
                Size(needed),
                Size(free)
            ),
            "during a release both colours run, and the old one is kept warm; without room the kernel ends processes",
            "lower `deploy.resources.limits.memory`, free memory, or `swap: hold`, which runs one at a time",
        )),
        Err(error) => Some(Finding::unchecked(
            Severity::Note,
            "memory-unchecked",
            Subject::Host,
            format!("whether there is memory for a second colour of {names}"),
            error,
            "`free -h` shows what is available",
        )),
    }
}
