//! Objects in a bucket of Amazon S3, or of a server that speaks like it.

mod client;
mod fault;
mod list;
mod lock;
mod multipart;
mod pace;
mod past;
mod probe;
mod put;
mod read;
mod skew;
mod unfinished;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::config::S3Config;
use crate::model::Timestamp;
use crate::ports::{ByteStream, ObjectInfo, Put, Store, StoreError};

use super::name;
use fault::Fault;
use pace::Pace;
use past::Past;
use put::Taking;
use skew::Skew;
use unfinished::Unfinished;

/// How long a server is waited for, and how often it is asked again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub connect: Duration,
    /// One try of a request that sends no data, up to the first byte of its answer.
    pub attempt: Duration,
    /// A body of which no byte comes or goes.
    pub stall: Duration,
    /// A request with all its tries, and a body without any progress.
    pub deadline: Duration,
    pub tries: u32,
    /// Before the second try; doubled and jittered from there, up to twenty seconds.
    pub backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connect: Duration::from_secs(10),
            attempt: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            deadline: Duration::from_secs(15 * 60),
            tries: 8,
            backoff: Duration::from_millis(300),
        }
    }
}

/// Objects below one prefix of a bucket.
#[derive(Clone, Debug)]
pub struct S3Store {
    bucket: Arc<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    client: Client,
    config: S3Config,
    patience: Patience,
    skew: Skew,
    pace: Option<Pace>,
    /// `None`: opened to be read.
    unfinished: Option<Unfinished>,
    /// What an earlier process left is removed once.
    swept: OnceCell<()>,
    /// Whether the server keeps a name from being taken twice is asked once.
    probed: OnceCell<()>,
    taking: Taking,
    past: Option<Past>,
}

impl S3Store {
    /// Nothing is asked of the server yet. `folder` is where relative paths of the configuration begin; large uploads
    /// are remembered in `unfinished` until they are done or aborted.
    pub fn open(config: S3Config, folder: &Path, unfinished: PathBuf) -> Self {
        S3Store::open_patiently(config, folder, Some(unfinished), None, Patience::default())
    }

    /// To be read alone; with a time, as it was then, where the bucket keeps versions.
    pub fn open_to_read(config: S3Config, folder: &Path, at: Option<Timestamp>) -> Self {
        S3Store::open_patiently(config, folder, None, at, Patience::default())
    }

    pub fn open_patiently(
        config: S3Config,
        folder: &Path,
        unfinished: Option<PathBuf>,
        past: Option<Timestamp>,
        patience: Patience,
    ) -> Self {
        let skew = Skew::default();
        let bucket = Bucket {
            client: client::client(&config, folder, &patience, skew.clone()),
            pace: config.bandwidth.map(|rate| Pace::new(rate.0)),
            unfinished: unfinished.map(Unfinished::new),
            swept: OnceCell::new(),
            probed: OnceCell::new(),
            taking: Taking::default(),
            past: past.map(Past::new),
            config,
            patience,
            skew,
        };
        S3Store {
            bucket: Arc::new(bucket),
        }
    }
}

impl Bucket {
    fn describe(&self) -> String {
        let place = match self.config.prefix.as_str() {
            "" => self.config.bucket.clone(),
            prefix => format!("{}/{prefix}", self.config.bucket),
        };
        let place = match &self.config.endpoint {
            Some(endpoint) => format!("bucket {place} at {}", endpoint.trim_end_matches('/')),
            None => format!("bucket {place}"),
        };
        match &self.past {
            Some(past) => format!("{place} as of {}", past.at().format("%Y-%m-%d %H:%M:%S UTC")),
            None => place,
        }
    }

    /// The object's key in the bucket.
    fn key(&self, name: &str) -> Result<String, StoreError> {
        Ok(self.below(name::checked(name)?))
    }

    fn below(&self, name: &str) -> String {
        match self.config.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    fn failed(&self, what: &'static str, name: &str, fault: Fault) -> StoreError {
        let (store, name) = (self.describe(), name.to_owned());
        match fault.kind() {
            fault::Kind::Absent => StoreError::NotFound { store, name },
            fault::Kind::Taken => StoreError::Exists { store, name },
            fault::Kind::Full => StoreError::Full { store, name },
            fault::Kind::Other => StoreError::Failed {
                store,
                what,
                name,
                source: Box::new(fault),
            },
        }
    }
}

#[async_trait]
impl Store for S3Store {
    fn describe(&self) -> String {
        self.bucket.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.bucket.put(name, body, mode).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        self.bucket.get(name).await
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.bucket.get_range(name, start, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.bucket.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let key = self.bucket.key(name)?;
        let bucket = &self.bucket.config.bucket;
        let present = self.bucket.is_present();
        present.map_err(|fault| self.bucket.failed("delete", name, fault))?;
        let done = self.bucket.client.delete_object().bucket(bucket).key(key).send().await;
        match done.map_err(|error| self.bucket.fault(error)) {
            Ok(_) => Ok(()),
            Err(fault) if fault.kind() == fault::Kind::Absent => Ok(()),
            Err(fault) => Err(self.bucket.failed("delete", name, fault)),
        }
    }

    async fn protect(&self, names: &[String]) -> Result<(), StoreError> {
        self.bucket.protect(names).await
    }
}
