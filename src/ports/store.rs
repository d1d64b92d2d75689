use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

/// Bytes as they come; an error ends it.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// A place that keeps objects under names such as `seg/<id>.tar.age` (lower-case letters, digits, `-`, `.`, `/`).
///
/// An object exists whole or not at all; listing and reading see it as soon as `put` returned. A listing that cannot
/// be completed is an error, never a shorter list.
#[async_trait]
pub trait Store: Send + Sync {
    /// For messages: `disk /srv/backups`.
    fn describe(&self) -> String;
    /// Stores the stream under `name` and syncs it; the number of bytes. An error in the stream leaves nothing behind.
    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError>;
    async fn get(&self, name: &str) -> Result<ByteStream, StoreError>;
    /// Exactly `length` bytes from `start`, or an error.
    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError>;
    /// Every object whose name begins with `prefix`, by name.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError>;
    /// Removing what is gone is success.
    async fn delete(&self, name: &str) -> Result<(), StoreError>;
    /// Keeps these from being removed or replaced for as long as the store is configured to, from now on; a store that
    /// has no such lock does nothing.
    async fn protect(&self, _names: &[String]) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Refuse with [`StoreError::Exists`] when the name is taken: how a manifest comes to exist exactly once.
    Create,
    Replace,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub name: String,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{store} has no object {name}")]
    NotFound { store: String, name: String },
    #[error("{store} has an object {name} already")]
    Exists { store: String, name: String },
    #[error("`{0}` is not a name of an object")]
    BadName(String),
    #[error("{store} is full: {name} could not be written; free space and run it again, nothing was published")]
    Full { store: String, name: String },
    #[error("{store} could not {what} {name}")]
    Failed {
        store: String,
        what: &'static str,
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
