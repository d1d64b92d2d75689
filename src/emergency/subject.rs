use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backup::{EntryPath, HOST, SERVICES, SQLITE_SIDES, VOLUMES};
use crate::journal::Plan;
use crate::model::{Generation, OperationId, ProjectName, ServiceName, Timestamp};
use crate::plan::Container;
use crate::stack::{Mount, Service};

use super::EmergencyStep;

/// Everything an emergency depends on, decided when it is planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Its own: what it begins on its way is marked with it.
    pub operation: OperationId,
    pub project: ProjectName,
    pub service: ServiceName,
    pub reason: String,
    /// The image that is deployed.
    pub image: String,
    /// Why this one.
    pub image_because: String,
    pub snapshots: Vec<Chosen>,
    pub places: Vec<Place>,
    /// Services whose page is raised; those that have one already are left out.
    pub pages: Vec<ServiceName>,
    pub stopped: Vec<Stopped>,
    /// Sets whose present state is saved first.
    pub save: Vec<String>,
    /// Why nothing is saved, where nothing is.
    pub without_saving: Option<String>,
    pub keep_maintenance: bool,
    /// A program that is told how it ended.
    pub notify: Vec<String>,
}

/// A snapshot that is put in place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    pub store: String,
    pub set: String,
    pub generation: Generation,
    pub taken: Timestamp,
}

/// A file or folder that is replaced by what a snapshot holds of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Absolute.
    pub path: PathBuf,
    /// The same in the snapshot.
    pub entry: EntryPath,
    /// Which of the subject's snapshots.
    pub snapshot: usize,
    /// What SQLite keeps beside it goes with it.
    pub database: bool,
}

/// A container that uses the data and is stopped while it is replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    pub service: ServiceName,
    pub container: String,
}

/// Who uses some places.
pub struct Users<'a> {
    pub places: &'a [Place],
    /// Where the files of a volume lie, by its key in the Compose file.
    pub volumes: &'a dyn Fn(&str) -> Option<PathBuf>,
}

/// The set that what an emergency finds in place is saved as: the newest of the set itself stays what it was.
pub fn saved_set(set: &str) -> String {
    format!("saved-{set}")
}

impl Place {
    /// `None` for one that is the root of the file system, and for what was read through the engine.
    pub fn new(folder: &Path, entry: &EntryPath, snapshot: usize, database: bool) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;

        let bytes = entry.to_bytes();
        let path = match entry.top() {
            SERVICES | VOLUMES => return None,
            HOST => Path::new("/").join(std::ffi::OsStr::from_bytes(bytes.get(HOST.len() + 1..)?)),
            _ => folder.join(std::ffi::OsStr::from_bytes(&bytes)),
        };
        path.file_name()?;
        Some(Place {
            path,
            entry: entry.clone(),
            snapshot,
            database,
        })
    }

    /// Its own folder for what belongs to an operation: on the same file system, so that renaming is enough.
    pub fn room(&self, operation: &OperationId) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default();
        parent.join(format!(".arkwright-emergency-{operation}")).join(name)
    }

    /// The names, in its folder, of everything that goes with it.
    pub fn family(&self) -> Vec<PathBuf> {
        let sides = SQLITE_SIDES.iter().filter(|_| self.database).map(|suffix| {
            let mut side = self.path.as_os_str().to_owned();
            side.push(suffix);
            PathBuf::from(side)
        });
        std::iter::once(self.path.clone()).chain(sides).collect()
    }

    fn touches(&self, other: &Path) -> bool {
        self.path.starts_with(other) || other.starts_with(&self.path)
    }
}

impl Users<'_> {
    /// Whether a service has one of the places mounted, or a folder around or within it.
    pub fn uses(&self, service: &Service) -> bool {
        service.mounts.iter().any(|mount| {
            let source = match mount {
                Mount::Bind { source, .. } => Some(crate::backup::normal(source)),
                Mount::Volume { source: Some(key), .. } => (self.volumes)(key),
                _ => None,
            };
            source.is_some_and(|source| self.places.iter().any(|place| place.touches(&source)))
        })
    }
}

impl Stopped {
    pub fn of(service: &ServiceName, container: &Container) -> Self {
        Stopped {
            service: service.clone(),
            container: container.name.clone(),
        }
    }
}

impl Subject {
    /// Those that lie within another are replaced with it.
    pub fn outermost(places: Vec<Place>) -> Vec<Place> {
        let all = places.clone();
        let inner = |place: &Place| {
            all.iter()
                .any(|other| other.path != place.path && place.path.starts_with(&other.path))
        };
        let mut kept: Vec<Place> = Vec::new();
        for place in places {
            if !inner(&place) && !kept.iter().any(|other| other.path == place.path) {
                kept.push(place);
            }
        }
        kept
    }

    /// The same shape for every emergency.
    pub fn plan(&self) -> Plan<EmergencyStep> {
        let mut forward = vec![EmergencyStep::RaisePage];
        forward.extend(self.save.iter().map(|set| EmergencyStep::Save { set: set.clone() }));
        let path = |place: &Place| place.path.clone();
        forward.extend((0..self.places.len()).map(|at| EmergencyStep::Stage {
            at,
            path: path(&self.places[at]),
        }));
        forward.push(EmergencyStep::Stop);
        forward.extend((0..self.places.len()).map(|at| EmergencyStep::Replace {
            at,
            path: path(&self.places[at]),
        }));
        let commit = forward.len();
        forward.extend([EmergencyStep::Deploy, EmergencyStep::StartOthers, EmergencyStep::Prove]);
        if !self.keep_maintenance {
            forward.push(EmergencyStep::LowerPage);
        }
        Plan {
            forward,
            commit,
            finally: (!self.notify.is_empty())
                .then_some(EmergencyStep::Notify)
                .into_iter()
                .collect(),
        }
    }

    /// The plan for a person, with what its steps are made of.
    pub fn told(&self, plan: &Plan<EmergencyStep>) -> Vec<String> {
        let mut lines = Vec::new();
        for chosen in &self.snapshots {
            lines.push(format!(
                "data: snapshot {} of {} in {}, taken {}",
                chosen.generation.0,
                chosen.set,
                chosen.store,
                chosen.taken.format("%Y-%m-%d %H:%M:%S UTC")
            ));
        }
        lines.push(format!("version: {} ({})", self.image, self.image_because));
        if let Some(reason) = &self.without_saving {
            lines.push(format!("what is in place is not saved in a store: {reason}"));
        }
        let stopped: Vec<&str> = self.stopped.iter().map(|s| s.container.as_str()).collect();
        if !stopped.is_empty() {
            lines.push(format!("stopped meanwhile: {}", stopped.join(", ")));
        }
        for (at, step) in plan.forward.iter().chain(&plan.finally).enumerate() {
            let mark = match at == plan.commit {
                true => "  (from here on only forward)",
                false => "",
            };
            lines.push(format!("{}. {step}{mark}", at + 1));
        }
        for place in &self.places {
            let parent = place.path.parent().unwrap_or(Path::new("/"));
            let name = place.path.file_name().unwrap_or_default();
            lines.push(format!(
                "what is at {} now is kept in {}/.arkwright-emergency-…/{}/before",
                place.path.display(),
                parent.display(),
                name.display()
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(entry: &str, database: bool) -> Place {
        let entry = entry.parse().expect("a path");
        Place::new(Path::new("/p"), &entry, 0, database).expect("a place")
    }

    #[test]
    fn a_place_is_below_the_project_or_anywhere_on_the_host() {
        assert_eq!(place("data/a.db", true).path, Path::new("/p/data/a.db"));
        assert_eq!(place("@host/srv/b", false).path, Path::new("/srv/b"));
        let family = place("data/a.db", true).family();
        assert!(family.contains(&"/p/data/a.db-wal".into()) && family.len() == 4);
        assert_eq!(place("uploads", false).family(), [PathBuf::from("/p/uploads")]);
    }

    #[test]
    fn what_lies_within_another_place_goes_with_it() {
        let places = vec![
            place("data/a.db", true),
            place("data", false),
            place("data", false),
            place("database", false),
        ];
        let kept: Vec<PathBuf> = Subject::outermost(places).into_iter().map(|place| place.path).collect();
        assert_eq!(kept, [PathBuf::from("/p/data"), "/p/database".into()]);
    }
}
