use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, ServiceName};
use crate::plan::numbered;
use crate::ports::RouterError;
use crate::state::{write_atomic, write_atomic_for};

use super::haproxy::Inside;
use super::stored::{self, Stored};

const FILE: &str = "doors.json";

/// Which of the router's containers serves, beside the configurations; without it the first one does, alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doors {
    pub serving: u32,
    pub doors: BTreeSet<u32>,
    /// Not all of them pass on to it yet.
    #[serde(default)]
    pub opening: bool,
}

impl Doors {
    pub fn read(folder: &Path) -> Result<Self, RouterError> {
        let path = folder.join(FILE);
        let foreign = |why: String| RouterError::Foreign {
            path: path.display().to_string(),
            why,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Doors {
                serving: 1,
                doors: BTreeSet::new(),
                opening: false,
            }),
            Err(error) => Err(foreign(error.to_string())),
        }
    }

    pub fn write(&self, folder: &Path) -> Result<(), RouterError> {
        let written = serde_json::to_vec(self)
            .map_err(io::Error::other)
            .and_then(|bytes| write_atomic(&folder.join(FILE), &bytes, 0o644));
        written.map_err(RouterError::Write)
    }
}

/// Where doors reach this container's service.
pub fn socket(inside: &Inside, number: u32, service: &ServiceName) -> String {
    format!("{}/door-{number}-{service}.sock", inside.run)
}

/// A digest of what a door does, which its process carries as that of a router carries its own.
pub fn shape(stored: &Stored, inside: &Inside, number: u32) -> String {
    Digest::of(text(stored, inside, number, "").as_bytes()).hex()
}

/// Has the container pass on what comes to it, once it loads its configuration.
pub fn write(folder: &Path, stored: &Stored, inside: &Inside, number: u32) -> Result<(), RouterError> {
    let text = text(stored, inside, number, &shape(stored, inside, number));
    let group = inside.owner.filter(|_| rustix::process::geteuid().is_root());
    let path = folder.join(stored::file(number));
    write_atomic_for(&path, text.as_bytes(), 0o640, group.map(|(_, gid)| gid)).map_err(RouterError::Write)
}

/// Bytes as they come, with the client's address in front. Who serves ends connections: a door waits longer. And while
/// that one starts anew, it keeps who comes waiting.
fn text(stored: &Stored, inside: &Inside, number: u32, shape: &str) -> String {
    let mut text = format!(
        "# A door to the router's container {serving}.
global
    description arkwright:{shape}
    stats socket {run}/{admin} mode 660 level admin expose-fd listeners
    fd-hard-limit 20000

defaults
    mode tcp
    timeout connect 5s
    timeout client 2h
    timeout server 2h
    timeout tunnel 2h
    retries 20
",
        serving = stored.number,
        run = inside.run,
        admin = numbered("admin", number, "sock"),
    );
    for route in &stored.routes {
        let service = &route.service;
        let at = socket(inside, stored.number, service);
        text += &format!(
            "\nfrontend {service}:in\n    bind {}:{}\n    default_backend {service}\n\nbackend {service}\n    \
             server router unix@{at} send-proxy-v2\n",
            inside.listen, route.port,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_serves_is_read_back_and_a_mangled_file_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Doors::read(folder.path()).expect("none yet");
        assert_eq!((first.serving, first.doors.len()), (1, 0));
        let doors = Doors {
            serving: 3,
            doors: [1, 2].into(),
            opening: true,
        };
        doors.write(folder.path()).expect("written");
        assert_eq!(Doors::read(folder.path()).expect("read"), doors);
        std::fs::write(folder.path().join(FILE), "{\"serving\":-1}").expect("written");
        let refused = Doors::read(folder.path()).expect_err("no number");
        assert!(matches!(refused, RouterError::Foreign { .. }), "{refused}");
    }
}
