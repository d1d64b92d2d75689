use std::io;
use std::path::{Path, PathBuf};

use crate::ports::{EngineError, RouterError};

#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    #[error("the plan cannot be performed: {}", .0.join("; "))]
    Blocked(Vec<String>),
    #[error("{}", several(.0))]
    Several(Vec<ConvergeError>),
    #[error("interrupted after {done} of {all} changes; run this again to do the rest")]
    Interrupted { done: usize, all: usize },
    /// It only waited, and the plan was given up.
    #[error("left off")]
    LeftOff,
    #[error("could not {change}")]
    Engine {
        change: String,
        #[source]
        source: EngineError,
    },
    #[error("could not {change}")]
    Router {
        change: String,
        #[source]
        source: RouterError,
    },
    #[error("could not {change} {path}; run as root, or mend the path")]
    Host {
        change: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not {change}: {why}")]
    Impossible { change: String, why: String },
    #[error("{service}: {container} {what}; {remedy}{}", last_lines(.log))]
    Service {
        service: String,
        container: String,
        what: String,
        remedy: &'static str,
        /// The container's newest lines.
        log: String,
    },
}

fn several(errors: &[ConvergeError]) -> String {
    let told: Vec<String> = errors
        .iter()
        .map(|error| match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
        .collect();
    told.join("\nand ")
}

fn last_lines(log: &str) -> String {
    if log.trim().is_empty() {
        return "; it has logged nothing".into();
    }
    let lines: Vec<String> = log.trim_end().lines().map(|line| format!("\n  | {line}")).collect();
    format!("; its last lines:{}", lines.concat())
}

pub(super) fn host(change: &'static str, path: &Path, source: io::Error) -> ConvergeError {
    ConvergeError::Host {
        change,
        path: path.to_path_buf(),
        source,
    }
}

pub(super) enum Unready {
    Router(RouterError),
    Other(Trouble),
}

/// An engine's error that still wants the name of the change, or one that is complete.
pub(super) enum Trouble {
    Engine(EngineError),
    Told(ConvergeError),
}

impl Trouble {
    pub(super) fn or(self, failed: impl FnOnce(EngineError) -> ConvergeError) -> ConvergeError {
        match self {
            Trouble::Engine(source) => failed(source),
            Trouble::Told(error) => error,
        }
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Trouble::Engine(error)
    }
}

impl From<ConvergeError> for Trouble {
    fn from(error: ConvergeError) -> Self {
        Trouble::Told(error)
    }
}
