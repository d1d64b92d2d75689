use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ServiceName, Span};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrillConfig {
    /// A crontab(5) line, in `timezone`.
    #[serde(default)]
    pub schedule: Option<String>,
    /// The set whose snapshot is restored.
    pub of: String,
    /// Services that are started from the restored data, what they depend on being named too.
    #[serde(default)]
    pub boot: Vec<ServiceName>,
    pub checks: Vec<Check>,
    /// The longest a booted service may take to become healthy.
    #[serde(default = "boot_within")]
    pub boot_within: Span,
}

fn boot_within() -> Span {
    Span::seconds(120)
}

/// What must be true of the restored data; paths as in the sources, relative to arkwright.yaml.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Check {
    /// `PRAGMA integrity_check` and `foreign_key_check`.
    Integrity { sqlite: PathBuf, integrity: bool },
    /// Every named table (all, where none is named) has the rows counted when the backup was taken.
    Rows {
        sqlite: PathBuf,
        #[serde(with = "one_or_many")]
        #[schemars(with = "serde_json::Value")]
        rows: Vec<String>,
    },
    /// Every path the query returns is a file below `under`.
    FilesExist {
        sqlite: PathBuf,
        files_exist: String,
        under: PathBuf,
    },
    /// A GET inside the sandbox: `service:port/path`.
    Http {
        http: String,
        #[serde(default = "expect_200")]
        expect: u16,
        /// Text the body must contain.
        #[serde(default)]
        contains: Option<String>,
    },
}

fn expect_200() -> u16 {
    200
}

/// `rows: files`, `rows: [files, users]` and `rows: all`.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }

    pub fn serialize<S: Serializer>(tables: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        if tables.is_empty() {
            "all".serialize(serializer)
        } else {
            tables.serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::One(all) if all == "all" => Vec::new(),
            Either::One(table) => vec![table],
            Either::Many(tables) => tables,
        })
    }
}
