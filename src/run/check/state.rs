use std::io;

use super::backups::nearest_unwritable;
use super::scene::Scene;
use super::{Finding, Severity, Subject};

/// The folder that journals and keys are kept in.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let root = scene.folder.root();
    let unusable = |why: String| {
        Finding::new(
            Severity::Error,
            "state-unwritable",
            Subject::path(root),
            format!("the state folder {} cannot be used: {why}", root.display()),
            "nothing is released, backed up or drilled without a journal",
            "run as root, or set `state:` in arkwright.yaml to a folder this user may write",
        )
    };
    let found = match scene.machine.look(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => nearest_unwritable(scene, root).map(unusable),
        Err(error) => Some(unusable(error.to_string())),
        Ok(_) => scene
            .machine
            .writable(root)
            .err()
            .map(|error| unusable(error.to_string())),
    };
    found.into_iter().chain(exposed(scene)).collect()
}

fn exposed(scene: &Scene<'_>) -> Option<Finding> {
    let root = scene.folder.root();
    let mode = scene.machine.look(root).ok()?.mode;
    (mode & 0o077 != 0).then(|| {
        Finding::new(
            Severity::Warning,
            "state-exposed",
            Subject::path(root),
            format!("others than its owner may look into {} (mode {mode:o})", root.display()),
            "keys, secrets of containers and journals lie below it",
            format!("chmod 700 {}", root.display()),
        )
    })
}
