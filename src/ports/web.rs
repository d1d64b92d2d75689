use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Bytes of the largest page that is read.
pub const LARGEST_PAGE: usize = 1 << 20;

/// Web servers that are not ours.
#[async_trait]
pub trait Web: Send + Sync {
    /// One GET, with every status an answer. A redirect is followed where it leads to the same scheme, host and port;
    /// any other is the answer itself. Nothing of the address but scheme, host and port is in an error.
    async fn get(&self, request: &PageRequest) -> Result<Page, WebError>;
    /// One POST without a body. A redirect is the answer: nothing is asked for twice.
    async fn post(&self, request: &PageRequest) -> Result<Page, WebError>;
}

#[derive(Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// `http://` or `https://`; `user:password@` in it is sent as a login.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// From the look-up of the name to the last byte.
    pub limit: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub body: Bytes,
}

/// What keeps a page from being read; one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error("that is no web address: {0}; write http://host:port/path")]
    Address(String),
    #[error("`{0}` is no header that can be sent; correct its name or value")]
    Header(String),
    #[error("{at} cannot be reached: {why}")]
    Unreachable { at: String, why: String },
    #[error("{at} did not answer within {limit:.0?}")]
    Late { at: String, limit: Duration },
    #[error("{at} answered more than {} KiB", LARGEST_PAGE >> 10)]
    TooLarge { at: String },
    #[error("the connection to {at} broke: {why}")]
    Broken { at: String, why: String },
    #[error("the certificates this machine trusts cannot be read: {0}; install the package ca-certificates")]
    NoRoots(String),
}

/// The address and headers may hold a login.
impl std::fmt::Debug for PageRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageRequest")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
