//! How a plan is shown: never with what containers are told, which holds secrets.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{Failure, Kind, Terminal};
use crate::app::{Project, Site, SiteError};
use crate::plan::{Adoption, Leftover, Notice, Plan};
use crate::run::{ConvergeError, Progress};
use crate::stack::Secrets;

#[derive(Serialize)]
pub struct PlanView<'a> {
    project: &'a str,
    /// Whether it has been done.
    performed: bool,
    /// Calls of the engine's API that changed something.
    writes: u64,
    changes: Vec<ChangeView<'a>>,
    blocked: &'a [String],
    orphans: &'a [Leftover],
    drift: &'a [Notice],
    adoption: &'a [Adoption],
    strays: &'a [Leftover],
}

#[derive(Serialize)]
struct ChangeView<'a> {
    action: &'static str,
    subject: String,
    reason: &'a str,
}

impl<'a> PlanView<'a> {
    pub fn shown(plan: &'a Plan) -> Self {
        Self::of(plan, false, 0)
    }

    pub fn performed(plan: &'a Plan, writes: u64) -> Self {
        Self::of(plan, true, writes)
    }

    fn of(plan: &'a Plan, performed: bool, writes: u64) -> Self {
        PlanView {
            project: plan.project.as_str(),
            performed,
            writes,
            changes: plan
                .changes
                .iter()
                .map(|change| ChangeView {
                    action: change.action.kind(),
                    subject: change.action.subject(),
                    reason: &change.reason,
                })
                .collect(),
            blocked: &plan.blocked,
            orphans: &plan.orphans,
            drift: &plan.drift,
            adoption: &plan.adoption,
            strays: &plan.strays,
        }
    }
}

/// The changes, one a line with its reason.
pub fn changes(terminal: &Terminal, plan: &Plan) -> Result<(), Failure> {
    if plan.changes.is_empty() && plan.blocked.is_empty() {
        return terminal.print(&format!("{}: nothing to do", plan.project));
    }
    let rows: Vec<Vec<String>> = plan
        .changes
        .iter()
        .map(|change| {
            vec![
                change.action.kind().to_owned(),
                change.action.subject(),
                change.reason.clone(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => Ok(()),
        false => terminal.table(&["ACTION", "WHAT", "WHY"], &rows),
    }
}

/// What was noticed and is not changed.
pub fn notices(terminal: &Terminal, plan: &Plan) {
    for stray in &plan.strays {
        terminal.warn(&format!("{}: {}", stray.container, stray.what));
    }
    for notice in &plan.drift {
        terminal.warn(&format!("{}: {}", notice.subject, notice.what));
    }
    for adoption in &plan.adoption {
        terminal.warn(&format!(
            "{} is to be released and still runs as it was ({}); it is left alone until `arkwright up --adopt` puts the \
             router in front of it, with one short interruption",
            adoption.service,
            match adoption.containers.is_empty() {
                true => "waiting for another service's adoption".to_owned(),
                false => adoption.containers.join(", "),
            }
        ));
    }
    for orphan in &plan.orphans {
        terminal.warn(&format!("{}: {}", orphan.container, orphan.what));
    }
}

/// Why a plan cannot be performed, as one failure.
pub fn blocked(plan: &Plan) -> Result<(), Failure> {
    match plan.blocked.split_first() {
        None => Ok(()),
        Some(_) => Err(Failure::new(Kind::Host, ConvergeError::Blocked(plan.blocked.clone()))
            .hinted("`arkwright check` says what else may be wrong")),
    }
}

/// Performs a plan; an interrupt lets what has begun come to its end, a second one does not.
pub async fn perform(site: &Site<'_>, plan: &Plan, terminal: &Terminal) -> Result<(), SiteError> {
    let over = CancellationToken::new();
    let performing = site.perform_until(plan, terminal, &over);
    tokio::pin!(performing);
    loop {
        tokio::select! {
            performed = &mut performing => return performed,
            signal = tokio::signal::ctrl_c() => {
                let left = ConvergeError::Interrupted { done: 0, all: plan.changes.len() };
                if signal.is_err() || over.is_cancelled() {
                    return Err(left.into());
                }
                terminal.note("interrupted: what has begun comes to its end; once more stops at once");
                over.cancel();
            }
        }
    }
}

/// The failure an error of the site is, without the secrets that an engine's words or a container's log may repeat.
pub fn failure(project: &Project, error: SiteError) -> Failure {
    let kind = match &error {
        SiteError::Converge(error) => converge_kind(error),
        SiteError::Engine(_) | SiteError::Facts(_) => Kind::Engine,
        SiteError::Desired(_) => Kind::Input,
        SiteError::Journals(_) => Kind::Damaged,
        SiteError::Lost { .. } | SiteError::Undecided { .. } => Kind::Host,
    };
    Failure::new(kind, Hidden::of(&error, &project.loaded.secrets))
}

fn converge_kind(error: &ConvergeError) -> Kind {
    match error {
        ConvergeError::Several(errors) => errors.first().map_or(Kind::Failed, converge_kind),
        ConvergeError::Interrupted { .. } => Kind::Interrupted,
        ConvergeError::Engine { .. } => Kind::Engine,
        ConvergeError::Blocked(_) | ConvergeError::Host { .. } => Kind::Host,
        _ => Kind::Failed,
    }
}

/// An error and its causes, in words without secrets.
#[derive(Debug)]
struct Hidden {
    text: String,
    cause: Option<Box<Hidden>>,
}

impl Hidden {
    fn of(error: &dyn Error, secrets: &Secrets) -> Self {
        Hidden {
            text: secrets.redact(&error.to_string()),
            cause: error.source().map(|cause| Box::new(Hidden::of(cause, secrets))),
        }
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Hidden {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

pub fn warnings(terminal: &Terminal, project: &Project) {
    for warning in &project.loaded.warnings {
        terminal.warn(&project.loaded.secrets.redact(&warning.to_string()));
    }
}

impl Progress for Terminal {
    fn say(&self, text: &str) {
        self.note(text);
    }

    fn keeps_lines(&self) -> bool {
        self.keeps()
    }

    fn keep(&self, what: &str, text: Option<&str>) {
        self.keep_line(what, text);
    }
}
