use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::Stack;
use super::redact::Secrets;

/// What to load, and the surroundings Compose looks at; nothing else is consulted.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// `-f`, in order; empty: `COMPOSE_FILE`, or the usual names here and in the folders above.
    pub files: Vec<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// The process environment.
    pub env: BTreeMap<String, String>,
    /// `--env-file`; empty: `.env` beside the first Compose file.
    pub env_files: Vec<PathBuf>,
    /// `--profile`; empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// `--project-directory`; `None`: the folder of the first Compose file.
    pub project_directory: Option<PathBuf>,
    /// Absolute.
    pub current_dir: PathBuf,
}

/// A project, and what is needed to show it without its secrets.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub stack: Stack,
    /// The whole model in long forms, keys sorted, `x-` keys included; only what is enabled and used.
    pub tree: serde_json::Value,
    pub secrets: Secrets,
    pub variables: Variables,
    pub warnings: Vec<Warning>,
}

/// The process environment over dotenv files, as the Compose file saw it: secrets may be made from it.
#[derive(Clone, Default, PartialEq)]
pub struct Variables(pub(super) BTreeMap<String, String>);

impl Variables {
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// How many, never which.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.0.len())
    }
}

/// Something that is allowed and probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// File, line and column, both from 1.
    pub place: Option<(PathBuf, usize, usize)>,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, line, column)) = &self.place {
            write!(f, "{}:{line}:{column}: ", file.display())?;
        }
        f.write_str(&self.message)
    }
}

/// The files a project is read from. Every path given is absolute.
pub trait Files {
    /// The text of a file of at most `limit` bytes.
    fn read(&self, path: &Path, limit: usize) -> Result<String, Unread>;

    /// Whether there is a file; a folder is none.
    fn exists(&self, path: &Path) -> bool;
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("there is no such file")]
    Missing,
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it is not UTF-8 text")]
    NotText,
    /// The operating system's own words.
    #[error("{0}")]
    Other(String),
}
