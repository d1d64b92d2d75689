use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::StorePlace;
use crate::model::Size;
use crate::ports::DiskSpace;

use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

const GIB: u64 = 1 << 30;
/// Less than this is little on any disk; more than this is enough, however small its share.
const LITTLE: u64 = 2 * GIB;
const ENOUGH: u64 = 50 * GIB;

/// A file system, with what of ours lies there.
struct Disk {
    space: DiskSpace,
    path: PathBuf,
    uses: Vec<String>,
    /// Bytes that a release brings.
    needed: u64,
}

/// Room for images, state and stores: on each file system once.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut disks: BTreeMap<u64, Disk> = BTreeMap::new();
    for (path, what, needed) in places(scene) {
        match nearest(scene, &path) {
            Ok((path, space)) => {
                let disk = disks.entry(space.id).or_insert_with(|| Disk {
                    space,
                    path,
                    uses: Vec::new(),
                    needed: 0,
                });
                disk.uses.push(what);
                disk.needed = disk.needed.saturating_add(needed);
            }
            Err(error) => found.push(Finding::unchecked(
                Severity::Warning,
                "disk-unchecked",
                Subject::path(&path),
                format!("how much room there is for {what}"),
                format!("{}: {error}", path.display()),
                "run this as root, or look with `df`",
            )),
        }
    }
    for disk in disks.values() {
        found.extend([full(disk), inodes(disk)].into_iter().flatten());
    }
    found
}

fn places(scene: &Scene<'_>) -> Vec<(PathBuf, String, u64)> {
    let mut places = Vec::new();
    if let Some(engine) = scene.local_engine()
        && let Some(root) = &engine.info.root_dir
    {
        // The next version of each, about as large as this one.
        let images = scene.released().filter_map(|(service, _)| service.image.as_ref());
        let sizes = images.filter_map(|image| engine.images.get(image)?.as_ref().map(|image| image.size));
        places.push((root.clone(), "images".to_owned(), sizes.sum()));
    }
    places.push((scene.folder.root().to_path_buf(), "arkwright's state".to_owned(), 0));
    for (name, store) in scene.config.backups.iter().flat_map(|backups| &backups.stores) {
        if let Some(StorePlace::Folder(path)) = store.place() {
            places.push((scene.config.folder.join(path), format!("the store {name}"), 0));
        }
    }
    places
}

/// The file system of the nearest folder that exists.
fn nearest(scene: &Scene<'_>, path: &Path) -> io::Result<(PathBuf, DiskSpace)> {
    let mut at = path;
    loop {
        match (scene.machine.disk(at), at.parent()) {
            (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => at = parent,
            (space, _) => return Ok((at.to_path_buf(), space?)),
        }
    }
}

fn full(disk: &Disk) -> Option<Finding> {
    let DiskSpace { free, total, .. } = disk.space;
    let (uses, shown) = (list(&disk.uses), disk.path.display());
    let short = free < disk.needed.saturating_add(LITTLE / 2);
    let tenth = free < total / 10 && free < ENOUGH;
    (free < LITTLE || tenth || short).then(|| {
        Finding::new(
            Severity::Warning,
            "disk-low",
            Subject::path(&disk.path),
            format!("{} of {} are free at {shown}, for {uses}", Size(free), Size(total)),
            match disk.needed {
                0 => "a journal, a backup or an image that cannot be written stops what needs it".to_owned(),
                needed => format!(
                    "a new image of each released service brings about {} more",
                    Size(needed)
                ),
            },
            "free or add space; `docker system df` and `podman system df` show what images take",
        )
    })
}

fn inodes(disk: &Disk) -> Option<Finding> {
    let DiskSpace {
        inodes, inodes_free, ..
    } = disk.space;
    (inodes > 0 && inodes_free < inodes / 10).then(|| {
        Finding::new(
            Severity::Warning,
            "inodes-low",
            Subject::path(&disk.path),
            format!(
                "{inodes_free} of {inodes} inodes are free at {}, for {}",
                disk.path.display(),
                list(&disk.uses)
            ),
            "without one no file can be made, however much space is free",
            "remove folders of many small files: old images, caches",
        )
    })
}
