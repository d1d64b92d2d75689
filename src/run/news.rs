use serde::{Deserialize, Serialize};

use crate::journal::{Outcome, Saga, Step};
use crate::model::{OperationId, Timestamp};

use super::OperationError;

/// What a follower of an operation hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    Update(Update),
    /// The last thing heard.
    Ended(Box<Receipt>),
    /// The last thing heard of one that was refused, or that could not be brought to an end.
    Broken(OperationError),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    pub operation: OperationId,
    pub at: Timestamp,
    pub kind: UpdateKind,
    /// One line for a person.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateKind {
    Planned,
    Began,
    Finished,
    Failed,
    Requested,
    Waiting,
    /// Not in the journal: how far a long step has come.
    Progress,
}

/// What became of an operation; made from its journal alone, so it reads the same at any later time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    pub operation: OperationId,
    /// `release`, `backup` or `drill`.
    pub kind: String,
    /// What it was about: `line-service → line-service:1.1.0`.
    pub subject: String,
    /// A word of the kind's own: `deployed`, `rolled_back`, `published`, `passed`, `stuck` …
    pub outcome: String,
    /// Whether it did what was asked.
    pub ok: bool,
    /// Why not, where it did not.
    pub because: Option<String>,
    pub by: String,
    pub started: Timestamp,
    pub ended: Timestamp,
    /// Figures for a person, in order.
    pub lines: Vec<Line>,
    /// The same and more for a program.
    pub detail: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub label: String,
    pub value: String,
}

impl Line {
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Line {
            label: label.into(),
            value: value.into(),
        }
    }
}

/// How the receipt of a kind is made.
pub trait Receipted: Step {
    fn subject(saga: &Saga<Self>) -> String;
    /// The word for how it ended, and whether that is what was asked.
    fn outcome(saga: &Saga<Self>, end: &Outcome) -> (String, bool);
    fn lines(saga: &Saga<Self>) -> Vec<Line>;
    fn detail(saga: &Saga<Self>) -> serde_json::Value;
}

/// The words of receipts without an end.
const OPEN: [&str; 4] = ["running", "paused", "interrupted", "stuck"];

impl Receipt {
    /// Whether the operation has no end yet.
    pub fn open(&self) -> bool {
        OPEN.contains(&self.outcome.as_str())
    }

    /// The services a release moves; none of other operations.
    pub fn services(&self) -> Vec<&str> {
        match self.detail["services"].as_array() {
            Some(services) => services.iter().filter_map(|name| name.as_str()).collect(),
            None => self.detail["service"].as_str().into_iter().collect(),
        }
    }

    /// Whether it would go on by itself, were somebody driving it.
    pub fn under_way(&self) -> bool {
        matches!(self.outcome.as_str(), "running" | "paused")
    }

    /// `end` is `None` for an operation that is stuck or still under way.
    pub fn of<S: Receipted>(operation: &OperationId, saga: &Saga<S>, end: Option<&Outcome>, now: &str) -> Self {
        let (outcome, ok, because) = match end {
            Some(end) => {
                let (word, ok) = S::outcome(saga, end);
                let because = match end {
                    Outcome::Succeeded => None,
                    Outcome::Unwound { step, error } => Some(format!("{step}: {error}")),
                    Outcome::Aborted { by } => Some(format!("aborted by {by}")),
                    Outcome::GivenUp { by, step } => Some(format!(
                        "given up by {by} at `{step}`: what had been done stays as it is"
                    )),
                };
                (word, ok, because)
            }
            None => (now.to_owned(), false, None),
        };
        Receipt {
            operation: operation.clone(),
            kind: S::KIND.to_owned(),
            subject: S::subject(saga),
            outcome,
            ok,
            because,
            by: saga.by().to_owned(),
            started: saga.started(),
            ended: saga.ended(),
            lines: S::lines(saga),
            detail: S::detail(saga),
        }
    }
}

/// Where news goes: a terminal, a socket, nowhere.
pub trait Watch: Send + Sync {
    fn hear(&self, news: News);

    /// As [`Progress::keeps_lines`].
    fn keeps_lines(&self) -> bool {
        false
    }

    /// As [`Progress::keep`].
    fn keep(&self, _what: &str, _text: Option<&str>) {}
}

/// What a performer can say while a step takes its time.
pub trait Progress: Send + Sync {
    fn say(&self, text: &str);

    /// Whether a line can be kept up to date: on a terminal.
    fn keeps_lines(&self) -> bool {
        false
    }

    /// The line about `what` says this from now on, or is taken away; nothing where lines cannot be kept.
    fn keep(&self, _what: &str, _text: Option<&str>) {}
}
