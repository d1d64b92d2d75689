use crate::ports::{Limit, ProcessLimits};
use crate::stack::Ulimit;

use super::scene::{EngineView, Scene, list};
use super::{Finding, Severity, Subject};

/// Open files an agent needs for itself, and for each container it follows.
const FILES: u64 = 256;
const FILES_EACH: u64 = 8;

/// Limits of processes: those services ask for, and our own.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let limits = match scene.machine.limits() {
        Ok(limits) => limits,
        Err(error) => {
            return vec![Finding::unchecked(
                Severity::Note,
                "limits-unchecked",
                Subject::Host,
                "the limits of processes on this host",
                error,
                "`ulimit -n -u` shows them",
            )];
        }
    };
    let mut found: Vec<Finding> = own(scene, &limits).into_iter().collect();
    if let Some(engine) = scene.local_engine().filter(|_| !limits.may_raise) {
        found.extend(scene.services().flat_map(|service| {
            let asked = service.ulimits.iter();
            asked.filter_map(|(name, ulimit)| beyond(engine, service.name.as_str(), name, ulimit, &limits))
        }));
        found.extend(spelled(scene, engine));
    }
    found
}

/// Few open files, for an agent that is started as this process was.
fn own(scene: &Scene<'_>, limits: &ProcessLimits) -> Option<Finding> {
    let containers: u64 = scene.services().map(|service| u64::from(service.replicas)).sum();
    let doubled: u64 = scene.released().map(|(service, _)| u64::from(service.replicas)).sum();
    let wanted = FILES + FILES_EACH * (containers + doubled);
    let soft = limits.files.soft.filter(|soft| *soft < wanted)?;
    Some(Finding::new(
        Severity::Warning,
        "few-open-files",
        Subject::Host,
        format!("a process may open {soft} files here"),
        format!("an agent that follows the containers of this stack wants {wanted}"),
        match limits.files.hard {
            Some(hard) if hard < wanted => format!("`ulimit -Hn {wanted}` as root, or LimitNOFILE= in its unit"),
            _ => format!("`ulimit -n {wanted}` before it is started, or LimitNOFILE= in its unit"),
        },
    ))
}

/// A limit the engine may not raise to. It need not have the limits of this process; what it has is not ours to see.
fn beyond(engine: &EngineView, service: &str, name: &str, asked: &Ulimit, limits: &ProcessLimits) -> Option<Finding> {
    let Limit { hard, .. } = match name {
        "nofile" => limits.files,
        "nproc" => limits.processes,
        _ => return None,
    };
    // -1 asks for no limit.
    let wanted = u64::try_from(asked.hard).ok();
    let hard = hard.filter(|hard| wanted.is_none_or(|wanted| wanted > *hard))?;
    let wanted = wanted.map_or_else(|| "no limit".to_owned(), |wanted| wanted.to_string());
    Some(Finding::new(
        Severity::Warning,
        "ulimit-too-high",
        Subject::service(service),
        format!("{service} asks for `{name}` of {wanted}, and {hard} is the most on this host"),
        format!(
            "nobody here may raise it (no CAP_SYS_RESOURCE); where {} may not either, the container does not start",
            engine.title()
        ),
        format!("`{name}: {hard}` or less"),
    ))
}

fn spelled(scene: &Scene<'_>, engine: &EngineView) -> Option<Finding> {
    if !engine.podman() || engine.info.rootless || scene.machine.user().uid != 0 {
        return None;
    }
    let bare = scene
        .services()
        .filter(|service| !service.ulimits.contains_key("nofile") || !service.ulimits.contains_key("nproc"));
    let names: Vec<&str> = bare.map(|service| service.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        Finding::new(
            Severity::Note,
            "ulimits-spelled",
            Subject::Engine,
            "containers get limits of their own: 20000 open files, 10000 processes",
            format!(
                "this host may not raise limits (no CAP_SYS_RESOURCE), and Podman would fail trying to for {}",
                list(&names)
            ),
            "nothing, or `ulimits` of both `nofile` and `nproc` at a service that wants others",
        )
    })
}
