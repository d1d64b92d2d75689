use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::backup::Identities;
use crate::config::{Backups, S3Config, StoreConfig, StorePlace};
use crate::model::Timestamp;
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
    #[error("{0} is a folder, which keeps no versions: only a bucket can be looked at as it was")]
    NoVersions(String),
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
        let place = self.place(name)?;
        let base = &self.project.config.folder;
        Ok(match place {
            // Without the dot of `./backups`, which a message would show.
            StorePlace::Folder(path) => Arc::new(FsStore::open(base.join(path).components().collect::<PathBuf>())?),
            StorePlace::Bucket(s3) => Arc::new(S3Store::open(s3.clone(), base, self.folder.uploads(name))),
        })
    }

    /// A bucket as it was at a time, from the versions it keeps.
    pub fn store_at(&self, name: &str, at: Timestamp) -> Result<Arc<dyn Store>, BackupRoomError> {
        match self.place(name)? {
            StorePlace::Folder(_) => Err(BackupRoomError::NoVersions(name.to_owned())),
            StorePlace::Bucket(s3) => {
                let folder = &self.project.config.folder;
                Ok(Arc::new(S3Store::open_to_read(s3.clone(), folder, Some(at))))
            }
        }
    }

    fn place(&self, name: &str) -> Result<StorePlace<'_>, BackupRoomError> {
        let config = self.backups.stores.get(name);
        let place = config.and_then(StoreConfig::place);
        place.ok_or_else(|| BackupRoomError::NoStore(name.to_owned()))
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

/// A store's folder or bucket (`s3://…`, perhaps as it was at a time) with nothing else of a project: for recovery on
/// another host.
pub fn foreign_store(place: &str, at: Option<Timestamp>) -> Result<Arc<dyn Store>, BackupRoomError> {
    if place.starts_with("s3:") {
        let config = S3Config::from_url(place).map_err(BackupRoomError::BadBucket)?;
        return Ok(Arc::new(S3Store::open_to_read(config, Path::new(""), at)));
    }
    match at {
        Some(_) => Err(BackupRoomError::NoVersions(place.to_owned())),
        None => Ok(Arc::new(FsStore::open(place)?)),
    }
}
