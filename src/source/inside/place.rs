use crate::backup::{EntryPath, NotAPath, SERVICES, VOLUMES};
use crate::model::ServiceName;
use crate::ports::SourceError;

/// Where a source that is reached through the engine lies in a snapshot; see docs/format.md.
pub(super) struct Place {
    pub path: EntryPath,
}

impl Place {
    /// `@services/<service>/<kind>`
    pub(super) fn of_service(service: &ServiceName, kind: &str) -> Result<Self, SourceError> {
        Place::new(&format!("{SERVICES}/{service}/{kind}"))
    }

    /// `@volumes/<name>`
    pub(super) fn of_volume(name: &str) -> Result<Self, SourceError> {
        Place::new(&format!("{VOLUMES}/{name}"))
    }

    fn new(path: &str) -> Result<Self, SourceError> {
        match EntryPath::from_bytes(path.as_bytes()) {
            Ok(path) => Ok(Place { path }),
            Err(source) => Err(unnameable(path, source)),
        }
    }

    /// Below it, by the bytes of the rest.
    pub(super) fn below(&self, rest: &[u8]) -> Result<EntryPath, SourceError> {
        let shown = || format!("{}/{}", self.path, crate::backup::escape(rest));
        self.path.join(rest).map_err(|source| unnameable(&shown(), source))
    }
}

fn unnameable(path: &str, source: NotAPath) -> SourceError {
    SourceError::Unnameable {
        path: path.into(),
        source,
    }
}
