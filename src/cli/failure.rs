use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::run::{Blame, OperationError};

/// What went wrong, by who can do something about it; the numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The operation ran and did not do what was asked: rolled back, damaged, a check failed.
    Failed = 1,
    /// The command line itself.
    Usage = 2,
    /// A Compose file, arkwright.yaml, `.env` or another file that was given.
    Input = 3,
    /// No engine answers, or it refused.
    Engine = 4,
    /// This host: permissions, a full disk, a taken port, a state folder that cannot be used.
    Host = 5,
    /// Another process is at work on the project.
    Busy = 6,
    /// Stored bytes or signatures are not what they should be.
    Damaged = 7,
    /// What was named is not there: a snapshot, a service, a path.
    NotFound = 8,
    /// Something that should have been checked could not be: neither passed nor failed.
    Inconclusive = 9,
    /// An operation that can go neither forward nor back; someone has to look.
    Stuck = 10,
    /// Outside a release window, in a freeze, or without room on this host: nothing was begun.
    Refused = 11,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::Failed,
        Kind::Usage,
        Kind::Input,
        Kind::Engine,
        Kind::Host,
        Kind::Busy,
        Kind::Damaged,
        Kind::NotFound,
        Kind::Inconclusive,
        Kind::Stuck,
        Kind::Refused,
        Kind::Interrupted,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::Usage => "usage",
            Kind::Input => "input",
            Kind::Engine => "engine",
            Kind::Host => "host",
            Kind::Busy => "busy",
            Kind::Damaged => "damaged",
            Kind::NotFound => "not_found",
            Kind::Inconclusive => "inconclusive",
            Kind::Stuck => "stuck",
            Kind::Refused => "refused",
            Kind::Interrupted => "interrupted",
        }
    }

    pub fn code(self) -> u8 {
        self as u8
    }
}

/// The one error type of the command line: a kind, the cause with its own causes, and what to do.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: Box<dyn Error + Send + Sync>,
    hints: Vec<String>,
    /// The command has printed its own account already; only the exit code is left.
    told: bool,
}

impl Failure {
    pub fn new(kind: Kind, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Failure {
            kind,
            error: error.into(),
            hints: Vec::new(),
            told: false,
        }
    }

    /// For a command whose output already says what failed.
    pub fn told(kind: Kind) -> Self {
        Failure {
            kind,
            error: kind.word().into(),
            hints: Vec::new(),
            told: true,
        }
    }

    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Prints to standard error (a JSON object with `--json`) and gives the exit code.
    pub fn report(&self, json: bool) -> ExitCode {
        if !self.told {
            if json {
                let causes: Vec<String> = self.causes().collect();
                let object = serde_json::json!({
                    "error": { "kind": self.kind.word(), "exit_code": self.kind.code(),
                               "message": self.error.to_string(), "causes": causes, "hints": self.hints }
                });
                super::terminal::tell(&object.to_string());
            } else {
                super::terminal::tell(&self.to_string());
            }
        }
        ExitCode::from(self.kind.code())
    }

    fn causes(&self) -> impl Iterator<Item = String> {
        let mut cause = self.error.source();
        std::iter::from_fn(move || {
            let text = cause?.to_string();
            cause = cause?.source();
            Some(text)
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        for cause in self.causes() {
            write!(f, "\n  because: {cause}")?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        let kind = match error.blame {
            Blame::Failed => Kind::Failed,
            Blame::Input => Kind::Input,
            Blame::Engine => Kind::Engine,
            Blame::Host => Kind::Host,
            Blame::Busy => Kind::Busy,
            Blame::Damaged => Kind::Damaged,
            Blame::NotFound => Kind::NotFound,
            Blame::Stuck => Kind::Stuck,
            Blame::Refused => Kind::Refused,
        };
        let hint = error.hint.clone();
        let failure = Failure::new(kind, error);
        match hint {
            Some(hint) => failure.hinted(hint),
            None => failure,
        }
    }
}

/// Gives an error its kind where it is handed up.
pub trait OrFail<T> {
    fn or_fail(self, kind: Kind) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_fail(self, kind: Kind) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(kind, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|k| k.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(
            !codes.contains(&0) && !codes.contains(&101),
            "success and a crash are no kinds"
        );
    }
}
