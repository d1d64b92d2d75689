use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::model::{Login, Logins, Reference};

use super::EngineKind;

/// Where the logins for registries are kept.
#[async_trait]
pub trait Keyring: Send + Sync {
    /// The login for the image's registry, by the rules of the engine that will use it; `None` where nobody logged in.
    /// Looked up afresh at every call, so that a renewed login is seen.
    async fn login(&self, image: &Reference, engine: EngineKind) -> Result<Option<Found>, KeyringError>;
}

/// A login and where it was found, for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub login: Login,
    /// `/root/.docker/config.json`, `--registry-auth`
    pub from: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the login for {registry} could not be looked up")]
pub struct KeyringError {
    pub registry: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Logins somebody gave for what is being done, in memory alone; clones are the same, so that the keyring finds what was
/// put in after it was made.
#[derive(Clone, Debug, Default)]
pub struct Given(Arc<Mutex<Logins>>);

impl Given {
    pub fn of(logins: Logins) -> Self {
        Given(Arc::new(Mutex::new(logins)))
    }

    /// In place of those before.
    pub fn hold(&self, logins: &Logins) {
        *self.whole() = logins.clone();
    }

    pub fn get(&self, registry: &str) -> Option<Login> {
        self.whole().get(registry).cloned()
    }

    fn whole(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
