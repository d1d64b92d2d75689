//! How a colour learns, at every start of its program, whether it is to leave the queue alone.
//!
//! A file says so, in a folder of this host that the colour's containers see: an environment variable would be the same
//! for the whole life of a container, and one that proved itself and is started again by the engine has to go on
//! working with nobody there to tell it.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::config::Release;
use crate::model::{Colour, ServiceName};
use crate::stack::{Mount, Service};

use super::desired::HostFolders;
use super::{ContainerSpec, SpecMount, labels};

/// Where the folder is inside.
const INSIDE: &str = "/run/arkwright";
const MARK: &str = "standby";
/// The variable that names the file.
pub const VARIABLE: &str = "ARKWRIGHT_STANDBY";

/// While this file exists the colour takes no job.
pub fn mark(folders: &HostFolders, service: &ServiceName, colour: Colour) -> PathBuf {
    folder(folders, service, colour).join(MARK)
}

/// The same of the containers made from this, where they look for one.
pub fn mark_of(spec: &ContainerSpec) -> Option<PathBuf> {
    spec.labels.get(labels::STANDBY)?;
    spec.mounts.iter().find_map(|mount| match mount {
        SpecMount::Bind { source, target, .. } if target == INSIDE => Some(source.join(MARK)),
        _ => None,
    })
}

/// The service as this colour of it is made: one with work in the background looks for its mark.
pub fn of_colour<'a>(
    service: &'a Service,
    release: &Release,
    colour: Colour,
    folders: &HostFolders,
) -> Cow<'a, Service> {
    if release.background.is_none() {
        return Cow::Borrowed(service);
    }
    let mut service = service.clone();
    let inside = format!("{INSIDE}/{MARK}");
    service.environment.insert(VARIABLE.into(), Some(inside));
    service.labels.insert(labels::STANDBY.into(), "true".into());
    service.mounts.push(Mount::Bind {
        source: folder(folders, &service.name, colour),
        target: INSIDE.into(),
        read_only: true,
        create_host_path: true,
        propagation: None,
        selinux: None,
    });
    Cow::Owned(service)
}

fn folder(folders: &HostFolders, service: &ServiceName, colour: Colour) -> PathBuf {
    folders.standby.join(format!("{service}-{colour}"))
}
