use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::journal::Step;
use crate::model::{OperationId, Size};

use super::Subject;

/// What an emergency does; each word can be said twice with the effect of once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum EmergencyStep {
    /// The router answers for the services that use the data.
    RaisePage,
    /// Also takes [`EmergencyStep::RaisePage`] back.
    LowerPage,
    /// The present state of a set, as a set of its own.
    Save {
        set: String,
    },
    /// What the snapshot holds of a place, whole and checked, beside it.
    Stage {
        at: usize,
        path: PathBuf,
    },
    Unstage {
        at: usize,
        path: PathBuf,
    },
    /// Everything that uses the data.
    Stop,
    /// Takes [`EmergencyStep::Stop`] back.
    StartAgain,
    /// What is there is moved aside and kept, and the restored moved in.
    Replace {
        at: usize,
        path: PathBuf,
    },
    PutBack {
        at: usize,
        path: PathBuf,
    },
    /// A release of the version, with an operation of its own.
    Deploy,
    /// What was stopped and is not of the service.
    StartOthers,
    /// The router's checks pass, and what was started runs.
    Prove,
    Notify,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    #[default]
    Nothing,
    Saved {
        operation: OperationId,
        /// What the backup came to.
        what: String,
        /// Byte by byte, because the database could not be read as one; why.
        raw: Option<String>,
    },
    Staged {
        files: u64,
        bytes: u64,
    },
    Replaced {
        /// Where what was there is kept; `None`: nothing was there.
        kept: Option<PathBuf>,
    },
    Released {
        operation: OperationId,
        what: String,
    },
    Proven {
        what: String,
    },
    /// Something that the rest does not depend on; why.
    NotDone {
        why: String,
    },
}

impl Step for EmergencyStep {
    const KIND: &'static str = "emergency";
    type Subject = Subject;
    type Output = Found;

    fn undo(&self) -> Option<Self> {
        match self {
            EmergencyStep::RaisePage => Some(EmergencyStep::LowerPage),
            EmergencyStep::Stage { at, path } => Some(EmergencyStep::Unstage {
                at: *at,
                path: path.clone(),
            }),
            EmergencyStep::Stop => Some(EmergencyStep::StartAgain),
            EmergencyStep::Replace { at, path } => Some(EmergencyStep::PutBack {
                at: *at,
                path: path.clone(),
            }),
            _ => None,
        }
    }
}

impl fmt::Display for EmergencyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmergencyStep::RaisePage => f.write_str("maintenance page on"),
            EmergencyStep::LowerPage => f.write_str("maintenance page off"),
            EmergencyStep::Save { set } => write!(f, "save what {set} holds now"),
            EmergencyStep::Stage { path, .. } => write!(f, "restore {} beside its place", path.display()),
            EmergencyStep::Unstage { path, .. } => write!(f, "remove what was restored of {}", path.display()),
            EmergencyStep::Stop => f.write_str("stop what uses the data"),
            EmergencyStep::StartAgain => f.write_str("start what used the data"),
            EmergencyStep::Replace { path, .. } => write!(f, "put {} in place, what is there aside", path.display()),
            EmergencyStep::PutBack { path, .. } => write!(f, "put back what was at {}", path.display()),
            EmergencyStep::Deploy => f.write_str("deploy the version"),
            EmergencyStep::StartOthers => f.write_str("start what else was stopped"),
            EmergencyStep::Prove => f.write_str("prove that all of it is healthy"),
            EmergencyStep::Notify => f.write_str("notify"),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Nothing => f.write_str("done"),
            Found::Saved { what, raw: None, .. } => f.write_str(what),
            Found::Saved {
                what, raw: Some(why), ..
            } => write!(f, "{what}, byte by byte ({why})"),
            Found::Staged { files, bytes } => write!(f, "{files} files, {}", Size(*bytes)),
            Found::Replaced { kept: Some(kept) } => write!(f, "what was there is kept in {}", kept.display()),
            Found::Replaced { kept: None } => f.write_str("nothing was there"),
            Found::Released { what, .. } | Found::Proven { what } => f.write_str(what),
            Found::NotDone { why } => write!(f, "NOT DONE: {why}"),
        }
    }
}
