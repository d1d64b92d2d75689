use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::backup::Recipients;
use crate::config::{Backups, S3Config, StorePlace};
use crate::ports::PlaceKind;
use crate::run::keys::{self, KeyError};
use crate::state::Catalogue;

use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

/// Keys, sources and stores of backups.
pub fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(backups) = &scene.config.backups else {
        return Vec::new();
    };
    let mut found: Vec<Finding> = recipients(backups).into_iter().collect();
    found.extend(signing(scene, backups));
    found.extend(drill(scene, backups));
    found.extend(sources(scene, backups));
    found.extend(stores(scene, backups));
    found
}

fn recipients(backups: &Backups) -> Option<Finding> {
    let error = Recipients::parse(&backups.recipients).err()?;
    Some(Finding::new(
        Severity::Error,
        "recipients-unusable",
        Subject::Project,
        format!("`backups.recipients`: {error}"),
        "no backup is made that nobody could read",
        "`arkwright key new` makes the keys and prints what to write there",
    ))
}

fn signing(scene: &Scene<'_>, backups: &Backups) -> Vec<Finding> {
    let path = scene.folder.key(&backups.keys.signing);
    let mut found: Vec<Finding> = exposed(scene, &path).into_iter().collect();
    let tried = keys::signer(&path).and_then(|_| keys::trusted(&path));
    found.extend(
        tried
            .err()
            .map(|error| key(&error, "no backup can be signed, so none is made")),
    );
    found
}

fn drill(scene: &Scene<'_>, backups: &Backups) -> Vec<Finding> {
    let path = scene.folder.key(&backups.keys.drill_identity);
    let mut found: Vec<Finding> = exposed(scene, &path).into_iter().collect();
    if scene.config.drills.is_empty() {
        return found;
    }
    match keys::identities(&path) {
        Err(error) => found.push(key(&error, "no drill can read a backup")),
        Ok(identities) => {
            let named = |own: &String| backups.recipients.iter().any(|recipient| recipient.trim() == own);
            // An empty list is told already.
            if !backups.recipients.is_empty() && !identities.recipients().iter().any(named) {
                found.push(Finding::new(
                    Severity::Error,
                    "drill-key-no-recipient",
                    Subject::path(&path),
                    "the drill key of this host is none of `backups.recipients`",
                    "backups are not encrypted to it, so no drill can read them",
                    format!("add {} there", list(&identities.recipients())),
                ));
            }
        }
    }
    found
}

fn key(error: &KeyError, reason: &str) -> Finding {
    let (path, code, remedy) = match error {
        KeyError::Missing { path } => (path, "key-missing", "`arkwright key new` makes the keys"),
        KeyError::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
            return Finding::unchecked(
                Severity::Warning,
                "key-unchecked",
                Subject::path(path),
                format!("the key {}", path.display()),
                source,
                "run this as the user that takes the backups",
            );
        }
        KeyError::Exists { path }
        | KeyError::Read { path, .. }
        | KeyError::Write { path, .. }
        | KeyError::Signing { path, .. }
        | KeyError::Age { path, .. } => (
            path,
            "key-unusable",
            "put the right key there, or move it aside and run `arkwright key new`",
        ),
    };
    let what = match error {
        KeyError::Missing { .. } => format!("the key {} is not there", path.display()),
        other => crate::model::chain(other),
    };
    Finding::new(Severity::Error, code, Subject::path(path), what, reason, remedy)
}

fn exposed(scene: &Scene<'_>, path: &Path) -> Option<Finding> {
    let place = scene.machine.look(path).ok()?;
    (place.mode & 0o077 != 0).then(|| {
        Finding::new(
            Severity::Warning,
            "key-exposed",
            Subject::path(path),
            format!(
                "others than its owner may use the key {} (mode {:o})",
                path.display(),
                place.mode
            ),
            "whoever has it can sign backups as this host, or read them",
            format!(
                "chmod 600 {}; where others are on this host, make new keys",
                path.display()
            ),
        )
    })
}

/// By path, with the sets that read it.
fn sources_of<'a>(scene: &Scene<'_>, backups: &'a Backups) -> BTreeMap<PathBuf, Vec<&'a str>> {
    let mut all: BTreeMap<PathBuf, Vec<&str>> = BTreeMap::new();
    for (name, set) in &backups.sets {
        for source in &set.sources {
            let path = scene.config.folder.join(source.path()).components().collect();
            all.entry(path).or_default().push(name);
        }
    }
    all
}

fn sources(scene: &Scene<'_>, backups: &Backups) -> Vec<Finding> {
    let looked = sources_of(scene, backups).into_iter().filter_map(|(path, sets)| {
        let error = scene.machine.readable(&path).err()?;
        let (sets, shown) = (list(&sets), scene.shown(&path));
        Some(match error.kind() {
            io::ErrorKind::NotFound => Finding::new(
                Severity::Warning,
                "source-missing",
                Subject::path(&path),
                format!("{shown} is not there, a source of the set {sets}"),
                "its backup fails until it is: a backup never passes for more than it holds",
                "nothing, if a service makes it when it first runs; else correct the path in arkwright.yaml",
            ),
            _ => Finding::new(
                Severity::Warning,
                "source-unreadable",
                Subject::path(&path),
                format!("{shown}, a source of the set {sets}, cannot be read: {error}"),
                "its backup fails when it is taken by this user",
                "take backups as root, or give the user the right to read it",
            ),
        })
    });
    looked.collect()
}

fn stores(scene: &Scene<'_>, backups: &Backups) -> Vec<Finding> {
    let mut found = Vec::new();
    let disk = |path: &Path| scene.machine.look(path).ok().map(|place| place.disk);
    let sources: BTreeSet<u64> = sources_of(scene, backups)
        .keys()
        .filter_map(|path| disk(path))
        .collect();
    let mut beside = Vec::new();
    for (name, store) in &backups.stores {
        let path: PathBuf = match store.place() {
            Some(StorePlace::Folder(path)) => scene.config.folder.join(path).components().collect(),
            Some(StorePlace::Bucket(s3)) => {
                found.extend(plain_http(name, s3));
                continue;
            }
            None => continue,
        };
        found.extend(store_place(scene, name, &path));
        if disk(&path).is_some_and(|disk| sources.contains(&disk)) {
            beside.push(name.as_str());
        }
    }
    if !beside.is_empty() && beside.len() == backups.stores.len() {
        found.push(Finding::new(
            Severity::Note,
            "store-same-disk",
            Subject::Store(list(&beside)),
            format!("every backup lies on the disk of what it is of ({})", list(&beside)),
            "the disk that takes the data takes the backups with it",
            "add a store on another disk, or copy its folder elsewhere; any copy can be restored from",
        ));
    }
    found
}

fn plain_http(name: &str, s3: &S3Config) -> Option<Finding> {
    let endpoint = s3.endpoint.as_deref()?;
    let host = endpoint.strip_prefix("http://")?;
    let local = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|local| host.starts_with(local));
    (!local).then(|| {
        Finding::new(
            Severity::Warning,
            "store-plain-http",
            Subject::Store(name.to_owned()),
            format!("the store {name} is reached without TLS: {endpoint}"),
            "whoever is on the way sees when and how much is backed up, and can make it fail; the content is encrypted",
            "give the server a certificate, and `endpoint` https",
        )
    })
}

fn store_place(scene: &Scene<'_>, name: &str, path: &Path) -> Option<Finding> {
    let shown = path.display();
    let refused = |why: String| {
        Finding::new(
            Severity::Error,
            "store-unwritable",
            Subject::Store(name.to_owned()),
            format!("the store {name} cannot be written: {why}"),
            "backups that go there fail",
            "set its `path` to a folder this user may write",
        )
    };
    match scene.machine.look(path) {
        Ok(place) if place.kind != PlaceKind::Folder => Some(refused(format!("{shown} is no folder"))),
        Ok(_) => scene
            .machine
            .writable(path)
            .err()
            .map(|error| refused(format!("{shown}: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match published(scene, name) {
            Ok(true) => Some(Finding::new(
                Severity::Error,
                "store-gone",
                Subject::Store(name.to_owned()),
                format!("the store {name} is not there: {shown}"),
                "this host has published backups into it; none is made into an empty folder in its place",
                "mount its disk, or bring the folder back",
            )),
            // The first backup makes it.
            Ok(false) => nearest_unwritable(scene, path).map(refused),
            Err(why) => Some(Finding::unchecked(
                Severity::Warning,
                "store-unchecked",
                Subject::Store(name.to_owned()),
                format!("whether backups were ever published into the store {name}, which is not there"),
                why,
                "run this as the user that takes the backups",
            )),
        },
        Err(error) => Some(refused(format!("{shown}: {error}"))),
    }
}

fn published(scene: &Scene<'_>, store: &str) -> Result<bool, String> {
    let catalogue = scene.folder.catalogue();
    if !catalogue.try_exists().map_err(|error| error.to_string())? {
        return Ok(false);
    }
    let head = Catalogue::open(&catalogue, store).and_then(|catalogue| catalogue.head());
    head.map(|head| head.is_some()).map_err(|error| error.to_string())
}

/// Why a folder that is not there could not be made.
pub fn nearest_unwritable(scene: &Scene<'_>, path: &Path) -> Option<String> {
    let mut at = path;
    while let Some(parent) = at.parent() {
        match scene.machine.look(parent) {
            Ok(place) if place.kind != PlaceKind::Folder => return Some(format!("{} is no folder", parent.display())),
            Ok(_) => {
                let error = scene.machine.writable(parent).err()?;
                return Some(format!("{}: {error}", parent.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => at = parent,
            Err(error) => return Some(format!("{}: {error}", parent.display())),
        }
    }
    None
}
