use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::io::AsyncReadExt;

use crate::model::{Login, Reference};
use crate::ports::EngineKind;

use super::entry::{Entry, host_of};

/// Bytes of a file of logins; real ones have a few hundred.
const LARGEST: u64 = 1 << 20;

/// What a `config.json` or `auth.json` says of logins; all else in it is none of ours.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AuthFile {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

/// Where in a file the login for an image is.
pub(super) enum Kept {
    Nowhere,
    Here(Login),
    /// With the helper program `docker-credential-NAME`, under this key.
    Helper {
        name: String,
        key: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("{path} cannot be read; let the user arkwright runs as read it")]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no file of logins: it is larger than 1 MiB, or no plain file")]
    NoFile { path: PathBuf },
    #[error("{path} is not the JSON it should be (line {line}, column {column}); mend it, or log in again")]
    Garbled { path: PathBuf, line: usize, column: usize },
    #[error("the entry for `{key}` in {path} cannot be understood; run `docker login {key}` again")]
    Entry { path: PathBuf, key: String },
}

impl AuthFile {
    /// `None` where there is no such file.
    pub async fn read(path: &Path) -> Result<Option<Self>, FileError> {
        let unreadable = |source| FileError::Unreadable {
            path: path.to_path_buf(),
            source,
        };
        let no_file = || FileError::NoFile {
            path: path.to_path_buf(),
        };
        // Before it is opened: a pipe would keep us waiting.
        match tokio::fs::metadata(path).await {
            Ok(found) if !found.is_file() => return Err(no_file()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(error)),
        }
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .await
            .map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(no_file());
        }
        Self::parse(&bytes, path).map(Some)
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, FileError> {
        // Not the parser's own words: they repeat what stood there.
        serde_json::from_slice(bytes).map_err(|error| FileError::Garbled {
            path: path.to_path_buf(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// A helper of the registry's own before the entry in the file, and before that a helper for all of them, where
    /// there is one.
    pub fn find(mut self, image: &Reference, engine: EngineKind, path: &Path) -> Result<Kept, FileError> {
        let key = match engine {
            EngineKind::Docker => image.login_key(),
            EngineKind::Podman => image.registry.as_str(),
        };
        let named = self
            .helpers
            .get(key)
            .or_else(|| self.helpers.get(&image.registry))
            .cloned();
        // Podman knows no helper for all registries.
        let store = self.store.clone().filter(|_| engine == EngineKind::Docker);
        if let Some(name) = named.or(store).filter(|name| !name.is_empty()) {
            let key = key.to_owned();
            return Ok(Kept::Helper { name, key });
        }
        let Some(found) = self.key_for(image, engine) else {
            return Ok(Kept::Nowhere);
        };
        let entry = self.auths.remove(&found).unwrap_or_default();
        match entry.login() {
            Ok(Some(login)) => Ok(Kept::Here(login)),
            Ok(None) => Ok(Kept::Nowhere),
            Err(_) => Err(FileError::Entry {
                path: path.to_path_buf(),
                key: found,
            }),
        }
    }

    fn key_for(&self, image: &Reference, engine: EngineKind) -> Option<String> {
        let has = |key: &str| self.auths.contains_key(key).then(|| key.to_owned());
        if engine == EngineKind::Podman {
            // Podman keeps logins for parts of a registry too: the closest one counts.
            let mut name = image.repository();
            loop {
                if let Some(key) = has(&name) {
                    return Some(key);
                }
                let Some(slash) = name.rfind('/') else { break };
                name.truncate(slash);
            }
        }
        let whole = |key: &&String| engine == EngineKind::Docker || key.contains("://") || !key.contains('/');
        has(image.login_key()).or_else(|| {
            let mut keys = self.auths.keys();
            keys.find(|key| whole(key) && host_of(key) == image.registry).cloned()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(json: &str, image: &str, engine: EngineKind) -> String {
        let path = Path::new("/x/config.json");
        let image = image.parse().expect("a reference");
        match AuthFile::parse(json.as_bytes(), path).and_then(|file| file.find(&image, engine, path)) {
            Ok(Kept::Nowhere) => "nowhere".into(),
            Ok(Kept::Here(login)) => login.who(),
            Ok(Kept::Helper { name, key }) => format!("{name} {key}"),
            Err(error) => error.to_string(),
        }
    }

    fn auth(user: &str) -> String {
        format!(r#"{{"username":"{user}","password":"x"}}"#)
    }

    #[test]
    fn the_registry_of_a_reference_is_matched_as_docker_does() {
        let file = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{},"https://old.example/v1/":{},"r.example:5000":{}}},"psFormat":1}}"#,
            auth("hub"),
            auth("old"),
            auth("ours")
        );
        for (image, who) in [
            ("redis:7", "`hub`"),
            ("docker.io/team/app", "`hub`"),
            ("old.example/app", "`old`"),
            ("r.example:5000/a/b:1", "`ours`"),
            ("r.example/a", "nowhere"),
        ] {
            assert_eq!(find(&file, image, EngineKind::Docker), who, "{image}");
            assert_eq!(find(&file, image, EngineKind::Podman), who, "{image}");
        }
    }

    #[test]
    fn podman_knows_logins_for_a_part_of_a_registry() {
        let file = format!(
            r#"{{"auths":{{"q.example/team":{},"q.example":{}}}}}"#,
            auth("team"),
            auth("all")
        );
        assert_eq!(find(&file, "q.example/team/app", EngineKind::Podman), "`team`");
        assert_eq!(find(&file, "q.example/teams/app", EngineKind::Podman), "`all`");
        let part = format!(r#"{{"auths":{{"q.example/team":{}}}}}"#, auth("team"));
        assert_eq!(find(&part, "q.example/else/app", EngineKind::Podman), "nowhere");
        assert_eq!(
            find(&part, "q.example/else/app", EngineKind::Docker),
            "`team`",
            "as Docker does"
        );
    }

    #[test]
    fn helpers_come_before_the_file() {
        let file = format!(
            r#"{{"auths":{{"a.example":{}}},"credHelpers":{{"a.example":"one"}},"credsStore":"all"}}"#,
            auth("x")
        );
        assert_eq!(find(&file, "a.example/x", EngineKind::Docker), "one a.example");
        assert_eq!(
            find(&file, "redis", EngineKind::Docker),
            "all https://index.docker.io/v1/"
        );
        assert_eq!(find(&file, "redis", EngineKind::Podman), "nowhere");
    }

    #[test]
    fn a_damaged_file_is_told_without_its_words() {
        let told = find(
            r#"{"auths":{"a.example":"hunter2"}}"#,
            "a.example/x",
            EngineKind::Docker,
        );
        assert!(told.contains("/x/config.json") && !told.contains("hunter2"), "{told}");
        let told = find(
            r#"{"auths":{"a.example":{"auth":"aHVudGVyMg=="}}}"#,
            "a.example/x",
            EngineKind::Docker,
        );
        assert!(
            told.contains("docker login a.example") && !told.contains("hunter2"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn only_a_plain_file_of_some_size_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(
            AuthFile::read(&folder.path().join("none"))
                .await
                .expect("no file")
                .is_none()
        );
        assert!(matches!(
            AuthFile::read(folder.path()).await,
            Err(FileError::NoFile { .. })
        ));
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b' '; LARGEST as usize + 1]).expect("written");
        assert!(matches!(AuthFile::read(&large).await, Err(FileError::NoFile { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in "[{}\":,a-z0-9\\[\\]]{0,80}") {
            let path = Path::new("/x");
            let image: Reference = "a/b".parse().expect("a reference");
            for bytes in [bytes, text.into_bytes()] {
                if let Ok(file) = AuthFile::parse(&bytes, path) {
                    let found = file.find(&image, EngineKind::Docker, path);
                    let told = matches!(found, Ok(_) | Err(FileError::Entry { .. }));
                    prop_assert!(told);
                }
            }
        }
    }
}
