use crate::run::{Receipt, Schedules};

use super::scene::Scene;
use super::{Finding, Severity, Subject};

/// Who owns operations, and how they stand.
pub struct Affairs {
    pub agent: AgentState,
    /// Every operation there is a record of, or why they cannot be read.
    pub history: Result<Vec<Receipt>, String>,
    /// Whether somebody is at work on what has no end yet.
    pub driven: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentState {
    Answers,
    Absent,
    /// Why the one that may be there cannot be asked.
    Unreachable(String),
}

const INTERRUPTED: &str = "everything is as it was in its middle; the next one of its kind finishes it first";

/// The agent, and operations that wait for a person.
pub fn check(scene: &Scene<'_>, affairs: &Affairs) -> Vec<Finding> {
    let mut found: Vec<Finding> = agent(scene, &affairs.agent).into_iter().collect();
    match &affairs.history {
        Ok(history) => found.extend(history.iter().filter_map(|receipt| open(receipt, affairs.driven))),
        Err(why) => found.push(Finding::unchecked(
            Severity::Warning,
            "operations-unchecked",
            Subject::Project,
            "whether an operation is stuck or was interrupted",
            why,
            "run this as root, or look at `arkwright history`",
        )),
    }
    found
}

fn agent(scene: &Scene<'_>, agent: &AgentState) -> Option<Finding> {
    match agent {
        AgentState::Answers => None,
        AgentState::Unreachable(why) => Some(Finding::unchecked(
            Severity::Warning,
            "agent-unreachable",
            Subject::Agent,
            "the agent of this project",
            why,
            "look at its log, or start it again",
        )),
        AgentState::Absent => {
            let schedules = Schedules::of(scene.config).lines.len();
            let (reason, number) = match schedules {
                0 => return None,
                1 => ("it comes", "one schedule is".to_owned()),
                more => ("they come", format!("{more} schedules are")),
            };
            Some(Finding::new(
                Severity::Note,
                "agent-absent",
                Subject::Agent,
                format!("no agent runs, and {number} set"),
                format!("{reason} due in an agent only; without one nothing is backed up or drilled by itself"),
                "`arkwright agent` as a service of this host, or cron lines of `arkwright backup run SET`",
            ))
        }
    }
}

fn open(receipt: &Receipt, driven: bool) -> Option<Finding> {
    let id = &receipt.operation;
    let because = receipt
        .because
        .as_deref()
        .map(|why| format!(" at {why}"))
        .unwrap_or_default();
    let (code, what, reason) = match receipt.outcome.as_str() {
        "stuck" => (
            "operation-stuck",
            format!("is stuck{because}"),
            "no other one of its kind begins before it has come to an end",
        ),
        "interrupted" => ("operation-interrupted", "was interrupted".to_owned(), INTERRUPTED),
        "running" | "paused" if !driven => ("operation-interrupted", "was interrupted".to_owned(), INTERRUPTED),
        _ => return None,
    };
    Some(Finding::new(
        Severity::Warning,
        code,
        Subject::Operation(id.to_string()),
        format!("the {} {id} of {} {what}", receipt.kind, receipt.subject),
        reason,
        format!("`arkwright resume {id}`; `--give-up` ends it as it stands"),
    ))
}
