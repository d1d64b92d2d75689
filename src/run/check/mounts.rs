use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::stack::{FileSource, Mount};

use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

/// How a path on the host is wanted.
#[derive(Default)]
struct Wanted<'a> {
    by: Vec<&'a str>,
    /// Compose makes no folder of it where it is missing.
    must_exist: bool,
    /// Where it goes in a container.
    target: &'a str,
}

/// Paths of this host that services mount: there, and readable.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    if scene.engine.is_some_and(|engine| !engine.local()) {
        return Vec::new();
    }
    wanted(scene)
        .into_iter()
        .filter_map(|(path, wanted)| one(scene, path, &wanted))
        .collect()
}

fn wanted<'a>(scene: &Scene<'a>) -> BTreeMap<&'a Path, Wanted<'a>> {
    let mut all: BTreeMap<&Path, Wanted> = BTreeMap::new();
    let mut want = |path: &'a PathBuf, by: &'a str, must_exist: bool, target: &'a str| {
        let wanted = all.entry(path).or_default();
        if !wanted.by.contains(&by) {
            wanted.by.push(by);
        }
        wanted.must_exist |= must_exist;
        wanted.target = target;
    };
    for service in scene.services() {
        for mount in &service.mounts {
            if let Mount::Bind {
                source,
                target,
                create_host_path,
                ..
            } = mount
            {
                want(source, service.name.as_str(), !create_host_path, target);
            }
        }
        for (grants, objects) in [
            (&service.secrets, &scene.stack.secrets),
            (&service.configs, &scene.stack.configs),
        ] {
            for grant in grants {
                if let Some(FileSource::File(path)) = objects.get(&grant.source).map(|object| &object.from) {
                    want(path, service.name.as_str(), true, &grant.target);
                }
            }
        }
    }
    all
}

fn one(scene: &Scene<'_>, path: &Path, wanted: &Wanted<'_>) -> Option<Finding> {
    let (who, shown) = (list(&wanted.by), scene.shown(path));
    let verb = if wanted.by.len() == 1 { "mounts" } else { "mount" };
    let error = scene.machine.readable(path).err()?;
    let (severity, code, what, reason, remedy) = match error.kind() {
        io::ErrorKind::NotFound if wanted.must_exist => (
            Severity::Error,
            "mount-missing",
            format!("{who} {verb} {shown}, which is not there"),
            "nothing makes it, so its container cannot start",
            "create it, or correct the path in the Compose file",
        ),
        io::ErrorKind::NotFound if file_like(path) && file_like(Path::new(wanted.target)) => (
            Severity::Warning,
            "mount-missing-file",
            format!("{who} {verb} {shown}, which is not there"),
            "`up` would make an empty folder of that name, as Compose does, and the container would find a folder where \
             its name says file",
            "put the file there before `up`, or correct the path in the Compose file",
        ),
        io::ErrorKind::NotFound => (
            Severity::Note,
            "mount-made",
            format!("{who} {verb} {shown}, which is not there"),
            "`up` makes an empty folder of that name, owned by root, as Compose does",
            "nothing, if an empty folder is right; else put there what belongs there before `up`",
        ),
        io::ErrorKind::PermissionDenied => (
            Severity::Warning,
            "mount-unreadable",
            format!("{who} {verb} {shown}, which this user cannot read"),
            "a backup of it would fail, and what is in it could not be checked",
            "run as root, or give yourself the right to read it",
        ),
        _ => {
            return Some(Finding::unchecked(
                Severity::Warning,
                "mount-unchecked",
                Subject::path(path),
                format!("{shown}, which {who} {verb}"),
                error,
                "look at it yourself",
            ));
        }
    };
    Some(Finding::new(severity, code, Subject::path(path), what, reason, remedy))
}

/// Named as files are: `nginx.conf`, not `conf.d` and not `.cache`.
fn file_like(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| extension.len() > 1 && !extension.bytes().all(|b| b.is_ascii_digit()))
}
