//! The keys of a project: one that signs, one that lets the host drill, one that must not stay here.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::backup::{BadAgeKey, BadKey, Identities, Signer, TrustedKeys};
use crate::ports::Entropy;
use crate::state::make_folder;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{path} is there already, and a key is never written over; move it aside if it is no longer needed")]
    Exists { path: PathBuf },
    #[error("{path} is not there; `arkwright key new` makes the keys")]
    Missing { path: PathBuf },
    #[error("the key {path} could not be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the key {path} could not be written")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the key {path} cannot be used")]
    Signing {
        path: PathBuf,
        #[source]
        source: BadKey,
    },
    #[error("the identity {path} cannot be used")]
    Age {
        path: PathBuf,
        #[source]
        source: BadAgeKey,
    },
}

/// Where the keys of a project lie.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    pub signing: PathBuf,
    pub drill: PathBuf,
}

/// What was made.
#[derive(Serialize)]
pub struct NewKeys {
    pub signing: PathBuf,
    pub fingerprint: String,
    pub drill: PathBuf,
    /// For `backups.recipients`.
    pub recipients: NewRecipients,
    /// The file the recovery identity was written to, where one was named.
    pub recovery_file: Option<PathBuf>,
    /// The recovery identity itself, where no file was named: shown once, kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_identity: Option<String>,
}

#[derive(Serialize)]
pub struct NewRecipients {
    pub recovery: String,
    pub drill: String,
}

/// Makes all three keys, or none when one of the files is there already.
pub fn make(
    files: &KeyFiles,
    recovery: Option<&Path>,
    owner: &str,
    entropy: &dyn Entropy,
) -> Result<NewKeys, KeyError> {
    let public = public_of(&files.signing);
    for path in [&files.signing, &public, &files.drill]
        .into_iter()
        .map(PathBuf::as_path)
        .chain(recovery)
    {
        if path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists {
                path: path.to_path_buf(),
            });
        }
    }
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let bad = |source| KeyError::Signing {
        path: files.signing.clone(),
        source,
    };
    let signer = Signer::from_seed(&seed, &format!("arkwright {owner}")).map_err(bad)?;
    let drill = Identities::generate();
    let offline = Identities::generate();
    let offline_text = format!(
        "# arkwright recovery identity of {owner}: reads every backup. Keep it off this host, in two places.\n{}",
        offline.text()
    );
    // The one that exists nowhere else goes first: no backup is ever made for a recovery key that was not kept.
    if let Some(path) = recovery {
        write_secret(path, offline_text.as_bytes())?;
    }
    write_secret(&files.drill, drill.text().as_bytes())?;
    write_secret(&files.signing, signer.private_text().map_err(bad)?.as_bytes())?;
    write_secret(
        &public,
        format!("{}\n", signer.public_text().map_err(bad)?.trim()).as_bytes(),
    )?;
    let first = |identities: &Identities| identities.recipients().into_iter().next().unwrap_or_default();
    Ok(NewKeys {
        signing: files.signing.clone(),
        fingerprint: signer.fingerprint(),
        drill: files.drill.clone(),
        recipients: NewRecipients {
            recovery: first(&offline),
            drill: first(&drill),
        },
        recovery_file: recovery.map(Path::to_path_buf),
        recovery_identity: recovery.is_none().then_some(offline_text),
    })
}

/// The key that signs manifests.
pub fn signer(path: &Path) -> Result<Signer, KeyError> {
    Signer::parse(&read_text(path)?).map_err(|source| KeyError::Signing {
        path: path.to_path_buf(),
        source,
    })
}

/// The keys that signatures are accepted from: the `.pub` file beside the signing key.
pub fn trusted(signing: &Path) -> Result<TrustedKeys, KeyError> {
    trusted_file(&public_of(signing))
}

/// The same from any file of public keys.
pub fn trusted_file(path: &Path) -> Result<TrustedKeys, KeyError> {
    TrustedKeys::parse(&read_text(path)?).map_err(|source| KeyError::Signing {
        path: path.to_path_buf(),
        source,
    })
}

pub fn identities(path: &Path) -> Result<Identities, KeyError> {
    Identities::parse(&read_text(path)?).map_err(|source| KeyError::Age {
        path: path.to_path_buf(),
        source,
    })
}

fn public_of(signing: &Path) -> PathBuf {
    let mut name = signing.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

fn read_text(path: &Path) -> Result<String, KeyError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing {
            path: path.to_path_buf(),
        }),
        Err(source) => Err(KeyError::Read {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// A new file for its owner alone, synced.
fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
            && !folder.exists()
        {
            make_folder(folder, 0o700)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists {
            path: path.to_path_buf(),
        },
        _ => KeyError::Write {
            path: path.to_path_buf(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
        }
    }

    #[test]
    fn keys_are_made_once_for_their_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = KeyFiles {
            signing: folder.path().join("keys/signing"),
            drill: folder.path().join("keys/drill"),
        };
        let offline = folder.path().join("recovery");
        let made = make(&files, Some(&offline), "ark", &Counting).expect("made");
        assert!(made.recovery_identity.is_none());
        for file in [&files.signing, &files.drill, &offline] {
            let mode = std::fs::metadata(file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(signer(&files.signing).expect("a key").fingerprint(), made.fingerprint);
        assert_eq!(
            identities(&offline).expect("a key").recipients(),
            [made.recipients.recovery]
        );
        assert_eq!(
            identities(&files.drill).expect("a key").recipients(),
            [made.recipients.drill]
        );
        trusted(&files.signing).expect("a key");
        let again = make(&files, None, "ark", &Counting);
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        assert!(matches!(
            identities(folder.path().join("x").as_path()),
            Err(KeyError::Missing { .. })
        ));
    }
}
