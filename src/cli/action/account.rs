use std::io;
use std::sync::{Mutex, PoisonError};

use crate::cli::Kind;
use crate::drill::Verdict;
use crate::github::{Runner, markdown};
use crate::model::{OperationId, Span};
use crate::ports::DeploymentState;
use crate::run::{Blame, News, OperationError, Receipt, Update, UpdateKind, Watch};

use super::figures::{self, OfBackup, OfDrill, OfRelease};
use super::request::{Action, Requested};

/// Steps that the summary lists.
const STEPS: usize = 200;

/// What a step has to say at its end; exit code, outputs, annotation, summary and status all come from here.
pub(super) struct Account {
    pub outcome: String,
    pub ok: bool,
    pub kind: Kind,
    pub because: Option<String>,
    pub operation: Option<OperationId>,
    pub receipt: Option<Receipt>,
}

impl Account {
    pub fn of(action: Action, receipt: Receipt) -> Self {
        let ok = receipt.ok && action.good().contains(&receipt.outcome.as_str());
        let kind = match receipt.outcome.as_str() {
            "stuck" => Kind::Stuck,
            "inconclusive" => Kind::Inconclusive,
            _ => Kind::Failed,
        };
        Account {
            outcome: receipt.outcome.clone(),
            ok,
            kind,
            because: receipt.because.clone().or_else(|| {
                let drill: OfDrill = figures::of(Some(&receipt).filter(|_| action == Action::RestoreDrill && !ok));
                drill.because()
            }),
            operation: Some(receipt.operation.clone()),
            receipt: Some(receipt),
        }
    }

    /// The host refused the order, or cannot bring the operation to an end.
    pub fn refused(error: OperationError, operation: Option<OperationId>) -> Self {
        let (outcome, kind) = match error.blame {
            Blame::Stuck => ("stuck", Kind::Stuck),
            Blame::Input => ("refused", Kind::Input),
            Blame::Engine => ("refused", Kind::Engine),
            Blame::Host => ("refused", Kind::Host),
            Blame::Busy => ("refused", Kind::Busy),
            Blame::Damaged => ("refused", Kind::Damaged),
            Blame::NotFound => ("refused", Kind::NotFound),
            Blame::Failed => ("refused", Kind::Failed),
            Blame::Refused => ("refused", Kind::Refused),
        };
        let because = match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        };
        Self::without_receipt(outcome, kind, because, operation)
    }

    /// The host is lost sight of.
    pub fn unknown(error: &OperationError, operation: &OperationId) -> Self {
        let because = format!("{}; what became of the operation is not known here", error.message);
        Self::without_receipt("unknown", Kind::Host, because, Some(operation.clone()))
    }

    /// The host cannot go on now and tries again later.
    pub fn held(outcome: &str, error: &OperationError, operation: &OperationId) -> Self {
        let because = format!(
            "{}; the host tries again, and `arkwright history` there says what becomes of it",
            error.message
        );
        Self::without_receipt(outcome, Kind::Host, because, Some(operation.clone()))
    }

    pub fn without_receipt(
        outcome: &str,
        kind: Kind,
        because: impl Into<String>,
        operation: Option<OperationId>,
    ) -> Self {
        Account {
            outcome: outcome.to_owned(),
            ok: false,
            kind,
            because: Some(because.into()),
            operation,
            receipt: None,
        }
    }

    /// How GitHub is told of it.
    pub fn state(&self) -> DeploymentState {
        match self.outcome.as_str() {
            _ if self.ok => DeploymentState::Success,
            // Someone's wish; a release whose new colour never got traffic is `aborted` too, and a failure.
            "aborted"
                if self
                    .because
                    .as_ref()
                    .is_none_or(|because| because.starts_with("aborted by")) =>
            {
                DeploymentState::Inactive
            }
            "aborted" if self.receipt.is_none() => DeploymentState::Inactive,
            _ if self.receipt.is_some() && self.outcome != "stuck" => DeploymentState::Failure,
            _ => DeploymentState::Error,
        }
    }

    /// One line for a person.
    pub fn headline(&self) -> String {
        match &self.because {
            Some(because) => format!("{}: {because}", self.outcome),
            None => self.outcome.clone(),
        }
    }

    /// Every output of the action, empty where nothing is known.
    pub fn outputs(
        &self,
        action: Action,
        requested: Option<&Requested>,
        deployment: Option<u64>,
    ) -> Vec<(&str, String)> {
        let receipt = self.receipt.as_ref();
        let operation = self.operation.as_ref().map(OperationId::to_string).unwrap_or_default();
        let mut outputs = vec![("outcome", self.outcome.clone()), ("operation", operation)];
        match action {
            Action::Deploy | Action::Rollback => {
                let release: OfRelease = figures::of(receipt);
                outputs.extend([
                    (
                        "url",
                        requested
                            .and_then(|requested| requested.url.clone())
                            .unwrap_or_default(),
                    ),
                    ("deployment-id", deployment.map(|id| id.to_string()).unwrap_or_default()),
                    ("digest", release.serving(self.ok, &self.outcome)),
                    ("previous-digest", release.previous()),
                ]);
            }
            Action::Backup => {
                let backup: OfBackup = figures::of(receipt);
                outputs.extend([
                    ("generation", backup.generation()),
                    ("files", backup.files()),
                    ("bytes", backup.bytes()),
                    ("stored-bytes", backup.stored_bytes()),
                    ("set", backup.set),
                ]);
            }
            Action::RestoreDrill => {
                let drill: OfDrill = figures::of(receipt);
                outputs.extend([
                    ("rto", drill.rto()),
                    ("rpo", drill.rpo()),
                    ("evidence", drill.evidence()),
                ]);
            }
        }
        outputs
    }

    pub fn summary(&self, action: Action, steps: &Steps) -> String {
        let mark = if self.ok { "✅" } else { "❌" };
        let subject = self
            .receipt
            .as_ref()
            .map(|receipt| receipt.subject.as_str())
            .unwrap_or_default();
        let mut lines = vec![format!(
            "### {mark} {} {}: {}",
            action.name(),
            markdown(subject),
            markdown(&self.outcome)
        )];
        if let Some(because) = &self.because {
            lines.extend([String::new(), format!("> {}", markdown(because))]);
        }
        if let Some(receipt) = &self.receipt {
            lines.extend([String::new(), "| | |".into(), "|---|---|".into()]);
            let row = |label: &str, value: &str| format!("| {} | {} |", markdown(label), markdown(value));
            lines.extend(figures::lines(receipt).iter().map(|line| row(&line.label, &line.value)));
            lines.push(row("took", &span(receipt.ended - receipt.started)));
            lines.push(row("by", &receipt.by));
        }
        lines.extend(steps.table());
        if let Some(operation) = &self.operation {
            lines.extend([String::new(), format!("Operation `{operation}`")]);
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Writes everything the runner keeps; the first write that fails is the error.
    pub fn tell(
        &self,
        action: Action,
        runner: &Runner,
        requested: Option<&Requested>,
        deployment: Option<u64>,
        steps: &Steps,
    ) -> io::Result<()> {
        let title = format!("arkwright {}", action.name());
        match self.ok {
            true => runner.log(&format!("{title}: {}", self.headline())),
            false => runner.error(&title, &self.headline()),
        }
        for (name, value) in self.outputs(action, requested, deployment) {
            runner.output(name, &value)?;
        }
        runner.summary(&self.summary(action, steps))
    }
}

fn span(length: chrono::TimeDelta) -> String {
    Span::from(length.to_std().unwrap_or_default()).human()
}

/// Prints the news as they come and keeps the steps for the summary.
pub(super) struct Steps<'a> {
    action: Action,
    runner: &'a Runner,
    heard: Mutex<Vec<Update>>,
}

impl<'a> Steps<'a> {
    pub fn new(action: Action, runner: &'a Runner) -> Self {
        Steps {
            action,
            runner,
            heard: Mutex::default(),
        }
    }

    fn table(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = heard.first() else { return Vec::new() };
        let mut lines = vec![String::new(), "| after | | step |".into(), "|---|---|---|".into()];
        for update in heard.iter() {
            let mark = if update.kind == UpdateKind::Failed { "✗" } else { "" };
            let after = span(update.at - first.at);
            lines.push(format!("| {after} | {mark} | {} |", markdown(&update.text)));
        }
        lines
    }
}

impl Watch for Steps<'_> {
    fn hear(&self, news: News) {
        let News::Update(mut update) = news else { return };
        if self.action == Action::RestoreDrill && update.kind == UpdateKind::Finished {
            update.text = without_finding(&update.text);
        }
        let time = update.at.format("%H:%M:%S");
        match update.kind {
            UpdateKind::Failed => self.runner.log(&format!("{time} failed: {}", update.text)),
            _ => self.runner.log(&format!("{time} {}", update.text)),
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let told = matches!(
            update.kind,
            UpdateKind::Planned | UpdateKind::Finished | UpdateKind::Failed | UpdateKind::Requested
        );
        if told && heard.len() < STEPS {
            heard.push(update);
        }
    }
}

/// `check 3: FAILED` of `check 3: FAILED: 1 without a file: baptism.jpg (…)`: a finding may name files and rows.
fn without_finding(text: &str) -> String {
    let verdict = [Verdict::Failed, Verdict::NotRun].into_iter().find_map(|verdict| {
        let (step, _) = text.split_once(&format!(": {}: ", verdict.word()))?;
        Some(format!("{step}: {}", verdict.word()))
    });
    verdict.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_told_by_its_verdict() {
        for (text, told) in [
            (
                "check 3: FAILED: 1 without a file: baptism.jpg (gone)",
                "check 3: FAILED",
            ),
            ("check 1: NOT RUN: not looked at (baptism.jpg)", "check 1: NOT RUN"),
            ("check 2: 7 files", "check 2: 7 files"),
        ] {
            assert_eq!(without_finding(text), told);
        }
    }
}
