use std::io;
use std::path::{Path, PathBuf};

use crate::config::Swap;
use crate::stack::{Mount, Service};

use super::scene::{Scene, VolumePlace, list, written};
use super::{Finding, Severity, Subject};

/// How a SQLite database begins.
const SQLITE: &[u8] = b"SQLite format 3\0";
const NAMES: [&str; 4] = ["db", "db3", "sqlite", "sqlite3"];

/// What a released service may not be, and what its two colours would do to each other.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    scene
        .released()
        .flat_map(|(service, release)| {
            let held = release.swap == Swap::Hold;
            let mut found: Vec<Finding> = [
                network(service),
                address(service),
                protocol(service),
                held.then(|| replicas(service)).flatten(),
            ]
            .into_iter()
            .flatten()
            .collect();
            if !held {
                found.extend(binds(scene, service));
                found.extend(volumes(scene, service));
            }
            found
        })
        .collect()
}

fn network(service: &Service) -> Option<Finding> {
    let name = &service.name;
    service.network_mode.as_ref().map(|_| {
        Finding::new(
            Severity::Error,
            "released-network-mode",
            Subject::service(name),
            format!("{name} is released behind the router and has a `network_mode`"),
            "the router reaches its colours by their addresses on a network of the project",
            "put it on a network, or take its `release` out of arkwright.yaml",
        )
    })
}

fn address(service: &Service) -> Option<Finding> {
    let name = &service.name;
    let fixed = service.networks.values().any(|n| n.ipv4.is_some() || n.ipv6.is_some());
    fixed.then(|| {
        Finding::new(
            Severity::Note,
            "released-address",
            Subject::service(name),
            format!("{name} has a fixed address, which becomes the router's"),
            "who asks that address still reaches the service; its colours get other addresses",
            "nothing",
        )
    })
}

fn protocol(service: &Service) -> Option<Finding> {
    let name = &service.name;
    let other = service.ports.iter().find(|port| port.protocol != "tcp")?;
    Some(Finding::new(
        Severity::Error,
        "released-port-not-tcp",
        Subject::service(name),
        format!("{name} is released and publishes {}/{}", other.target, other.protocol),
        "the router serves TCP only",
        "move that port to a service that is not released, or take its `release` out of arkwright.yaml",
    ))
}

fn replicas(service: &Service) -> Option<Finding> {
    let (name, replicas) = (&service.name, service.replicas);
    (replicas != 1).then(|| {
        Finding::new(
            Severity::Error,
            "held-replicas",
            Subject::service(name),
            format!("{name} has {replicas} replicas and `swap: hold`"),
            "a held swap is for data that one process at a time may open; `deploy` refuses",
            "one replica, or no `swap: hold`",
        )
    })
}

/// SQLite files of the host both colours would have open.
fn binds(scene: &Scene<'_>, service: &Service) -> Vec<Finding> {
    if scene.engine.is_some_and(|engine| !engine.local()) {
        return Vec::new();
    }
    let writable = service.mounts.iter().filter_map(|mount| match mount {
        Mount::Bind {
            source,
            read_only: false,
            ..
        } => Some(source),
        _ => None,
    });
    writable
        .filter_map(|source| databases(scene, service, source))
        .collect()
}

/// The same in its volumes.
fn volumes(scene: &Scene<'_>, service: &Service) -> Vec<Finding> {
    let name = &service.name;
    let unchecked = |volume: &str, why: String| {
        Some(Finding::unchecked(
            Severity::Note,
            "sqlite-unchecked",
            Subject::service(name),
            format!("whether {name} keeps a SQLite database in the volume {volume}"),
            why,
            "`swap: hold`, if only one process may open its data",
        ))
    };
    let look = |key: &String| {
        let Some(engine) = scene.local_engine() else {
            return unchecked(key, "volumes are looked at where the engine is on this machine".into());
        };
        match engine.volumes.get(key) {
            Some(VolumePlace::At(path)) => databases(scene, service, path),
            Some(VolumePlace::Elsewhere) => unchecked(key, "its driver keeps the files elsewhere".into()),
            Some(VolumePlace::Unknown(why)) => unchecked(key, why.clone()),
            Some(VolumePlace::Missing) | None => None,
        }
    };
    written(service).filter_map(look).collect()
}

fn databases(scene: &Scene<'_>, service: &Service, source: &Path) -> Option<Finding> {
    let name = &service.name;
    match sqlite_below(scene, source) {
        Ok((databases, cut)) if databases.is_empty() => cut.then(|| {
            Finding::unchecked(
                Severity::Note,
                "sqlite-unchecked",
                Subject::service(name),
                format!("whether {name} keeps a SQLite database deep in {}", scene.shown(source)),
                "there are too many files, or folders that may not be listed; what lies near the top was looked at",
                "`swap: hold`, if only one process may open its data",
            )
        }),
        Ok((databases, _)) => {
            let names: Vec<String> = databases.iter().map(|path| scene.shown(path)).collect();
            Some(Finding::new(
                Severity::Warning,
                "sqlite-two-colours",
                Subject::service(name),
                format!("both colours of {name} would open {}", list(&names)),
                "two processes writing one SQLite file wait for each other or fail, and a new version may change its \
                 tables under the old one",
                "`swap: hold` in its `release`, which never runs two of them at once",
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Finding::unchecked(
            Severity::Warning,
            "sqlite-unchecked",
            Subject::service(name),
            format!("whether both colours of {name} would open one SQLite file"),
            format!("{}: {error}", source.display()),
            "run this as root; and `swap: hold`, if only one process may open its data",
        )),
    }
}

fn sqlite_below(scene: &Scene<'_>, source: &Path) -> io::Result<(Vec<PathBuf>, bool)> {
    let machine = scene.machine;
    let (paths, cut) = match machine.look(source)?.kind {
        crate::ports::PlaceKind::File => (vec![source.to_path_buf()], false),
        crate::ports::PlaceKind::Other => (Vec::new(), false),
        crate::ports::PlaceKind::Folder => {
            let files = machine.files(source)?;
            (files.found.into_iter().map(|(path, _)| path).collect(), files.cut)
        }
    };
    let named = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| NAMES.contains(&extension.to_ascii_lowercase().as_str()))
    };
    let mut found = Vec::new();
    for path in paths.into_iter().filter(named) {
        match machine.begins_with(&path, SQLITE) {
            Ok(true) => found.push(path),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, cut))
}
