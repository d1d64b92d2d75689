use async_trait::async_trait;

use crate::model::Reference;
use crate::ports::{EngineKind, Found, Given, Keyring, KeyringError};

use super::file::{AuthFile, Kept};
use super::helper;
use super::places::Places;

/// The logins of this host, behind those that were given for what is being done.
pub struct HostKeyring {
    given: Given,
    places: Places,
}

impl HostKeyring {
    pub fn new(given: Given, places: Places) -> Self {
        HostKeyring { given, places }
    }
}

#[async_trait]
impl Keyring for HostKeyring {
    async fn login(&self, image: &Reference, engine: EngineKind) -> Result<Option<Found>, KeyringError> {
        if let Some(login) = self.given.get(&image.registry) {
            return Ok(Some(Found {
                login,
                from: "--registry-auth".to_owned(),
            }));
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| KeyringError {
            registry: image.registry.clone(),
            source,
        };
        for path in self.places.files(engine) {
            let read = AuthFile::read(&path).await.map_err(|error| failed(error.into()))?;
            let Some(file) = read else { continue };
            let kept = file.find(image, engine, &path).map_err(|error| failed(error.into()))?;
            let found = match kept {
                Kept::Nowhere => None,
                Kept::Here(login) => Some(Found {
                    login,
                    from: path.display().to_string(),
                }),
                Kept::Helper { name, key } => {
                    let login = helper::ask(&name, &key).await.map_err(|error| failed(error.into()))?;
                    login.map(|login| Found {
                        login,
                        from: format!("docker-credential-{name}, which {} names", path.display()),
                    })
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
