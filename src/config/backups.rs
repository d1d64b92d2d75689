use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Percent, Span};

use super::S3Config;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backups {
    /// age public keys (`age1…`): whoever holds one of the private keys can read the backups.
    pub recipients: Vec<String>,
    #[serde(default)]
    pub keys: Keys,
    #[serde(default)]
    pub objectives: Objectives,
    pub stores: BTreeMap<String, StoreConfig>,
    pub sets: BTreeMap<String, SetConfig>,
    #[serde(default)]
    pub prune: Prune,
}

/// Files under the project's state folder unless absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// OpenSSH Ed25519 private key that signs manifests and evidence; its `.pub` lies beside it.
    pub signing: PathBuf,
    /// age identity that lets this host run drills.
    pub drill_identity: PathBuf,
}

impl Default for Keys {
    fn default() -> Self {
        Keys {
            signing: "keys/signing".into(),
            drill_identity: "keys/drill".into(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Objectives {
    /// The longest a recovery may take.
    pub rto: Option<Span>,
    /// The most recent data that may be lost.
    pub rpo: Option<Span>,
}

/// Exactly one of `path` and `s3`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A folder; relative to arkwright.yaml.
    #[serde(default)]
    pub path: Option<PathBuf>,
    #[serde(default)]
    pub s3: Option<S3Config>,
}

/// Where a store's objects are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StorePlace<'a> {
    Folder(&'a Path),
    Bucket(&'a S3Config),
}

impl StoreConfig {
    /// `None` where not exactly one was named, which is refused when the file is read.
    pub fn place(&self) -> Option<StorePlace<'_>> {
        match (&self.path, &self.s3) {
            (Some(path), None) => Some(StorePlace::Folder(path)),
            (None, Some(s3)) => Some(StorePlace::Bucket(s3)),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetConfig {
    /// A crontab(5) line, in `timezone`.
    #[serde(default)]
    pub schedule: Option<String>,
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Other sets whose sources this one reads afresh, databases before files.
    #[serde(default)]
    pub of: Vec<String>,
    #[serde(default)]
    pub keep: Keep,
    /// A source with less than this share of the files or bytes it had in the last snapshot fails the backup; `0%` never.
    #[serde(default = "half")]
    pub floor: Percent,
    /// Names of `stores`; all of them where none is named.
    #[serde(default)]
    pub stores: Vec<String>,
}

fn half() -> Percent {
    Percent::HALF
}

/// How many snapshots stay of each period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    pub last: Option<u32>,
    pub hourly: Option<u32>,
    pub daily: Option<u32>,
    pub weekly: Option<u32>,
    pub monthly: Option<u32>,
    pub yearly: Option<u32>,
}

/// How snapshots that `keep` does not ask for are removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prune {
    /// A crontab(5) line, in `timezone`; without one only `arkwright backup prune` removes anything.
    pub schedule: Option<String>,
    /// How long nothing has to refer to a segment before it is deleted.
    pub wait: Span,
}

impl Default for Prune {
    fn default() -> Self {
        Prune {
            schedule: None,
            wait: Span::seconds(72 * 3600),
        }
    }
}

/// Where bytes come from; exactly one of `path` and `sqlite`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Source {
    /// A file, or a folder and everything below it; relative to arkwright.yaml.
    Path {
        path: PathBuf,
        /// Globs of paths relative to `path`; only what fits one, with all below it. Everything where none is named.
        #[serde(default)]
        include: Vec<String>,
        /// Globs of paths relative to `path` that are left out.
        #[serde(default)]
        exclude: Vec<String>,
    },
    /// A SQLite database, copied consistently while it is written to.
    Sqlite {
        sqlite: PathBuf,
        /// A query whose one value is the time of the newest datum (ISO 8601 or Unix seconds): RPO is judged by it.
        #[serde(default)]
        newest: Option<String>,
    },
}

impl Source {
    pub fn path(&self) -> &PathBuf {
        match self {
            Source::Path { path, .. } | Source::Sqlite { sqlite: path, .. } => path,
        }
    }
}
