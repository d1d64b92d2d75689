use std::path::{Path, PathBuf};

use crate::stack::{Restart, Service};

use super::scene::{Scene, those};
use super::services::switched_off;
use super::{Finding, Severity, Subject};

const SYSTEMD: &str = "/run/systemd/system";
const UNIT: &str = "podman-restart.service";
const CATATONIT: [&str; 3] = [
    "/usr/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
    "/usr/bin/catatonit",
];

/// What Podman leaves to others: health checks, the start after a reboot, an init.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    match scene.local_engine() {
        Some(engine) if engine.podman() => {
            let rootless = engine.info.rootless;
            let found = [
                health(scene),
                reboot(scene, rootless),
                linger(scene, rootless),
                init(scene),
            ];
            found.into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}

fn there(scene: &Scene<'_>, path: impl AsRef<Path>) -> bool {
    scene.machine.look(path.as_ref()).is_ok()
}

fn health(scene: &Scene<'_>) -> Option<Finding> {
    let checked = |service: &Service| {
        let check = service.healthcheck.as_ref();
        check.is_some_and(|check| !check.test.is_empty()) && !switched_off(check)
    };
    if there(scene, SYSTEMD) {
        return None;
    }
    let names = those(scene, checked)?;
    Some(Finding::new(
        Severity::Note,
        "podman-health-idle",
        Subject::Engine,
        format!("without systemd Podman runs no health checks by itself ({names})"),
        "arkwright runs them while it waits for a service; afterwards `podman ps` shows the last result, however old",
        "nothing, or a host with systemd",
    ))
}

/// Whether the engine is asked to start it again when the host does.
fn returns(service: &Service) -> bool {
    matches!(service.restart, Restart::Always | Restart::UnlessStopped)
}

fn reboot(scene: &Scene<'_>, rootless: bool) -> Option<Finding> {
    let names = those(scene, returns)?;
    let systemd = there(scene, SYSTEMD);
    let unit = units(scene, rootless)
        .into_iter()
        .find(|unit| systemd && there(scene, unit));
    let Some(unit) = unit else {
        return Some(Finding::new(
            Severity::Warning,
            "podman-restart-off",
            Subject::Engine,
            format!("after a reboot Podman does not start {names} by itself"),
            match systemd {
                true => {
                    format!("Podman has no daemon; starting them again is the work of {UNIT}, which is not enabled")
                }
                false => format!("Podman has no daemon; starting them again is the work of {UNIT}, and of systemd"),
            },
            match (systemd, rootless) {
                (true, false) => format!("systemctl enable {UNIT}"),
                (true, true) => format!("systemctl --user enable {UNIT}"),
                (false, _) => "run `arkwright up` when the host starts".into(),
            },
        ));
    };
    // Podman 4's unit starts containers of the policy `always` alone, and colours are `unless-stopped`.
    let missed = |service: &Service| {
        service.restart == Restart::UnlessStopped || returns(service) && scene.routes(&service.name)
    };
    let names = those(scene, missed)?;
    match scene.machine.text(&unit) {
        // Later units ask Podman itself which containers are to start with the host.
        Ok(text) if text.contains("unless-stopped") || text.contains("should-start-on-boot") => None,
        Ok(_) => Some(Finding::new(
            Severity::Warning,
            "podman-restart-partial",
            Subject::Engine,
            format!("after a reboot {UNIT} does not start {names}"),
            "this version of it starts containers of the restart policy `always` only; these are `unless-stopped`, as \
             the colours of a released service always are",
            "have the host run `arkwright up` once it has started, by a unit of its own; do not let Podman start them all, \
             or a colour that was stopped on purpose runs beside the one that serves",
        )),
        Err(error) => Some(Finding::unchecked(
            Severity::Warning,
            "podman-restart-unchecked",
            Subject::Engine,
            format!("whether {UNIT} starts {names} after a reboot"),
            format!("{}: {error}", unit.display()),
            format!("look whether `systemctl cat {UNIT}` says unless-stopped or should-start-on-boot"),
        )),
    }
}

/// Where the unit is linked when it is enabled.
fn units(scene: &Scene<'_>, rootless: bool) -> Vec<PathBuf> {
    let wants = format!("default.target.wants/{UNIT}");
    match rootless {
        false => vec![Path::new("/etc/systemd/system").join(wants)],
        true => {
            let home = scene.machine.user().home.map(|home| home.join(".config/systemd/user"));
            let all = home.into_iter().chain(["/etc/systemd/user".into()]);
            all.map(|folder: PathBuf| folder.join(&wants)).collect()
        }
    }
}

/// Without it systemd ends a user's containers when that user logs out.
fn linger(scene: &Scene<'_>, rootless: bool) -> Option<Finding> {
    if !rootless || !there(scene, SYSTEMD) || scene.stack.services.is_empty() {
        return None;
    }
    let user = scene.machine.user();
    let name = user.name.unwrap_or_else(|| user.uid.to_string());
    (!there(scene, Path::new("/var/lib/systemd/linger").join(&name))).then(|| {
        Finding::new(
            Severity::Warning,
            "podman-linger-off",
            Subject::Engine,
            format!("the containers of {name} end when {name} logs out, and do not start with the host"),
            "systemd keeps a user's services only while somebody is logged in, unless the user may linger",
            format!("loginctl enable-linger {name}"),
        )
    })
}

fn init(scene: &Scene<'_>) -> Option<Finding> {
    let names = those(scene, |service| service.init == Some(true))?;
    let missing = !CATATONIT.iter().any(|path| there(scene, path));
    missing.then(|| {
        Finding::new(
            Severity::Error,
            "init-missing",
            Subject::Engine,
            format!("`init: true` ({names}) needs catatonit, which is not where Podman looks for it"),
            "Podman refuses to start such a container",
            "install the package catatonit, or remove `init`",
        )
    })
}
