use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

use super::write_atomic;

const FORMAT: u32 = 1;

/// Since when nothing refers to an object of a store, as far as was looked; by the stores' names in arkwright.yaml.
///
/// Lost, the wait for each of them begins again.
#[derive(Debug)]
pub struct Marks {
    path: PathBuf,
    stores: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

#[derive(Debug, thiserror::Error)]
pub enum MarksError {
    #[error("{path} cannot be used; free space or repair the disk")]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} cannot be read; move it away: the wait before unused segments are deleted then begins again")]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{path} was written by a newer arkwright (format {found}); upgrade")]
    Newer { path: PathBuf, found: u32 },
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    stores: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

impl Marks {
    pub fn read(path: &Path) -> Result<Self, MarksError> {
        let path = path.to_path_buf();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let stores = BTreeMap::new();
                return Ok(Marks { path, stores });
            }
            Err(source) => return Err(MarksError::Unusable { path, source }),
        };
        match serde_json::from_slice::<Written>(&bytes) {
            Ok(written) if written.format > FORMAT => Err(MarksError::Newer {
                path,
                found: written.format,
            }),
            Ok(written) => Ok(Marks {
                path,
                stores: written.stores,
            }),
            Err(source) => Err(MarksError::Damaged { path, source }),
        }
    }

    /// By the objects' names.
    pub fn of(&self, store: &str) -> BTreeMap<String, Timestamp> {
        self.stores.get(store).cloned().unwrap_or_default()
    }

    /// In place of those before; on the disk when it returns.
    pub fn put(&mut self, store: &str, marks: BTreeMap<String, Timestamp>) -> Result<(), MarksError> {
        match marks.is_empty() {
            true => self.stores.remove(store),
            false => self.stores.insert(store.to_owned(), marks),
        };
        let written = Written {
            format: FORMAT,
            stores: std::mem::take(&mut self.stores),
        };
        let bytes = serde_json::to_vec(&written).map_err(io::Error::from);
        self.stores = written.stores;
        bytes
            .and_then(|bytes| write_atomic(&self.path, &bytes, 0o600))
            .map_err(|source| MarksError::Unusable {
                path: self.path.clone(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_kept_by_store_and_a_damaged_file_is_no_empty_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("marks.json");
        let mut marks = Marks::read(&path).expect("none yet");
        let some = BTreeMap::from([("seg/a".to_owned(), Timestamp::default())]);
        marks.put("local", some.clone()).expect("written");
        let mut again = Marks::read(&path).expect("read");
        assert_eq!((again.of("local"), again.of("offsite")), (some, BTreeMap::new()));
        again.put("local", BTreeMap::new()).expect("written");
        assert!(Marks::read(&path).expect("read").of("local").is_empty());
        fs::write(&path, "{\"format\":2,\"stores\":{}}").expect("written");
        assert!(matches!(Marks::read(&path), Err(MarksError::Newer { found: 2, .. })));
        fs::write(&path, "{").expect("written");
        assert!(matches!(Marks::read(&path), Err(MarksError::Damaged { .. })));
    }
}
