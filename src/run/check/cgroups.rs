use crate::ports::Enforces;
use crate::stack::Service;

use super::scene::Scene;
use super::{Finding, Severity, Subject};

type Limited = (&'static str, fn(&Service) -> bool, fn(&Enforces) -> Option<bool>);

/// What a service may be limited in, by its key in a Compose file.
const LIMITS: [Limited; 7] = [
    ("memory", |s| s.resources.memory.is_some(), |e| e.memory),
    (
        "memory reservation",
        |s| s.resources.memory_reserved.is_some(),
        |e| e.memory,
    ),
    ("memswap_limit", |s| s.resources.memory_swap.is_some(), |e| e.swap),
    ("cpus", |s| s.resources.cpus.is_some(), |e| e.cpus),
    ("cpu_shares", |s| s.resources.cpu_shares.is_some(), |e| e.cpu_shares),
    ("cpuset", |s| s.resources.cpuset.is_some(), |e| e.cpuset),
    ("pids", |s| s.resources.pids.is_some(), |e| e.pids),
];

/// Limits the stack asks for and the engine's cgroups do not carry out.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(engine) = scene.engine else { return Vec::new() };
    let mut found = Vec::new();
    for service in scene.services() {
        for (key, asked, carried_out) in LIMITS {
            if !asked(service) {
                continue;
            }
            let name = &service.name;
            match carried_out(&engine.info.enforces) {
                Some(true) => {}
                Some(false) => found.push(Finding::new(
                    Severity::Warning,
                    "limit-unenforced",
                    Subject::service(name),
                    format!("{name}: the limit on `{key}` will not be carried out"),
                    format!(
                        "{} says that its cgroups (version {}) cannot; the container runs without it, or is refused",
                        engine.title(),
                        engine.info.cgroup_version
                    ),
                    match engine.info.rootless {
                        true => "cgroup v2 with the controllers delegated to this user, or a rootful engine",
                        false => {
                            "switch the controller on (kernel parameters `cgroup_enable=memory swapaccount=1`), or \
                             remove the limit"
                        }
                    },
                )),
                None => found.push(Finding::unchecked(
                    Severity::Note,
                    "limit-unchecked",
                    Subject::service(name),
                    format!("whether the limit on `{key}` of {name} is carried out"),
                    format!("{} does not say", engine.title()),
                    "nothing, or look at the container's cgroup once it runs",
                )),
            }
        }
    }
    found
}
