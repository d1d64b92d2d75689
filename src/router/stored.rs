use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, ServiceName};
use crate::ports::{Route, RouterError};
use crate::state::write_atomic;

use super::haproxy::Inside;
use super::render::render;

/// The rendered configuration carries what it was rendered from, so that one atomic write changes both.
///
/// ```text
/// # arkwright-router 1 <sha256 of all that follows>
/// # {"routes":[…],"gates":{…}}
/// global …
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub routes: Vec<Route>,
    /// Closed gates and when they count as open again, in milliseconds since 1970.
    pub gates: BTreeMap<ServiceName, u64>,
}

const HEAD: &str = "# arkwright-router 1 ";
const LARGEST: u64 = 4 << 20;

impl Stored {
    /// `None` where there is no configuration yet.
    pub fn read(path: &Path) -> Result<Option<Self>, RouterError> {
        let foreign = |why: String| RouterError::Foreign {
            path: path.display().to_string(),
            why,
        };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file
                .take(LARGEST)
                .read_to_string(&mut text)
                .map_err(|e| foreign(e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(foreign(e.to_string())),
        };
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let sum = head
            .strip_prefix(HEAD)
            .ok_or_else(|| foreign("its first line is not arkwright's".into()))?;
        if sum != Digest::of(rest.as_bytes()).hex() {
            return Err(foreign("its check sum does not match".into()));
        }
        let json = rest
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .ok_or_else(|| foreign("its routes are missing".into()))?;
        serde_json::from_str(json).map(Some).map_err(|e| foreign(e.to_string()))
    }

    pub fn text(&self, inside: &Inside) -> Result<String, RouterError> {
        let json = serde_json::to_string(self).map_err(|e| RouterError::Write(io::Error::other(e)))?;
        let rest = format!("# {json}\n{}", render(&self.routes, &self.gates, inside)?);
        Ok(format!("{HEAD}{}\n{rest}", Digest::of(rest.as_bytes()).hex()))
    }

    pub fn write(&self, path: &Path, inside: &Inside) -> Result<(), RouterError> {
        write_atomic(path, self.text(inside)?.as_bytes(), 0o644).map_err(RouterError::Write)
    }

    pub fn route(&mut self, service: &ServiceName) -> Result<&mut Route, RouterError> {
        self.routes
            .iter_mut()
            .find(|route| route.service == *service)
            .ok_or_else(|| RouterError::UnknownService(service.clone()))
    }
}
