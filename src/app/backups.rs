use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::Identities;
use crate::config::{Backups, S3Config, StoreConfig, StorePlace};
use crate::ports::{Store, StoreError};
use crate::run::keys::{self, KeyError, KeyFiles};
use crate::run::snapshots::Trust;
use crate::state::{Catalogue, CatalogueError, ProjectFolder, StateError};
use crate::store::{FsStore, S3Store};

use super::Project;

/// A project's backups, with the stores and keys of this host.
pub struct BackupRoom<'a> {
    pub project: &'a Project,
    pub backups: &'a Backups,
    pub folder: ProjectFolder,
}

#[derive(Debug, thiserror::Error)]
pub enum BackupRoomError {
    #[error("arkwright.yaml has no `backups`; `arkwright init` proposes some")]
    NoBackups,
    #[error("there is no store `{0}` in arkwright.yaml")]
    NoStore(String),
    #[error("no bucket: {0}")]
    BadBucket(String),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
}

impl Project {
    pub fn backup_room(&self) -> Result<BackupRoom<'_>, BackupRoomError> {
        Ok(BackupRoom {
            backups: self.config.backups.as_ref().ok_or(BackupRoomError::NoBackups)?,
            folder: self.folder()?,
            project: self,
        })
    }
}

impl BackupRoom<'_> {
    pub fn key_files(&self) -> KeyFiles {
        KeyFiles {
            signing: self.folder.key(&self.backups.keys.signing),
            drill: self.folder.key(&self.backups.keys.drill_identity),
        }
    }

    /// A store to read from: its folder has to be there.
    pub fn store(&self, name: &str) -> Result<Arc<dyn Store>, BackupRoomError> {
        let config = self.backups.stores.get(name);
        let place = config.and_then(StoreConfig::place);
        let place = place.ok_or_else(|| BackupRoomError::NoStore(name.to_owned()))?;
        let base = &self.project.config.folder;
        Ok(match place {
            // Without the dot of `./backups`, which a message would show.
            StorePlace::Folder(path) => Arc::new(FsStore::open(base.join(path).components().collect::<PathBuf>())?),
            StorePlace::Bucket(s3) => Arc::new(S3Store::open(s3.clone(), base, Some(self.folder.uploads(name)))),
        })
    }

    pub fn catalogue(&self, store: &str) -> Result<Catalogue, BackupRoomError> {
        Ok(Catalogue::open(&self.folder.catalogue(), store)?)
    }

    /// The host's own public keys, and the last header it published there.
    pub fn trust(&self, store: &str) -> Result<Trust, BackupRoomError> {
        Ok(Trust {
            keys: keys::trusted(&self.key_files().signing)?,
            newest: self.catalogue(store)?.head()?,
        })
    }

    /// The drill identity, where this host holds it; none is not an error.
    pub fn identities(&self) -> Result<Identities, BackupRoomError> {
        match keys::identities(&self.key_files().drill) {
            Ok(identities) => Ok(identities),
            Err(KeyError::Missing { .. }) => Ok(Identities::none()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A store's folder or bucket (`s3://…`) with nothing else of a project: for recovery on another host.
pub fn foreign_store(place: &str) -> Result<Arc<dyn Store>, BackupRoomError> {
    if !place.starts_with("s3:") {
        return Ok(Arc::new(FsStore::open(place)?));
    }
    let config = S3Config::from_url(place).map_err(BackupRoomError::BadBucket)?;
    Ok(Arc::new(S3Store::open(config, Path::new(""), None)))
}
