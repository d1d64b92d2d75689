use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::{Outcome, Saga};
use crate::model::Span;

use super::{CheckResult, DrillOutput, DrillStep, Measure, Measured, NewestFound, Stage, Timing, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Passed,
    Failed,
    /// Nothing failed, and something was not looked at.
    Inconclusive,
    Aborted,
}

impl Word {
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Passed => "passed",
            Word::Failed => "failed",
            Word::Inconclusive => "inconclusive",
            Word::Aborted => "aborted",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a drill amounts to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    pub word: Word,
    /// What failed or was not run; empty for a pass.
    pub because: Vec<String>,
    pub results: Vec<CheckResult>,
    pub timings: Vec<Timing>,
    pub rto: Measured,
    pub rpo: Measured,
}

/// Everything that was to be looked at, in the plan's order; what was not reached is NOT RUN.
pub fn results(saga: &Saga<DrillStep>) -> Vec<CheckResult> {
    let why = unreached(saga);
    let planned = saga.plan().forward.iter();
    planned
        .filter_map(|step| {
            let output = saga
                .finished()
                .find(|(done, _, _)| *done == step)
                .map(|(_, output, _)| output);
            match (output, step) {
                (Some(DrillOutput::Checked(result)), _) => Some(result.clone()),
                (Some(DrillOutput::Booted(booted)), _) => Some(booted.result.clone()),
                (_, DrillStep::Check(at)) => saga
                    .subject()
                    .checks
                    .get(*at)
                    .map(|assertion| assertion.not_run(why.clone())),
                (_, DrillStep::Seal) => Some(CheckResult::not_run("sealed", "no way out", why.clone())),
                (_, DrillStep::Boot(service)) => {
                    Some(CheckResult::not_run(format!("boot {service}"), "ready", why.clone()))
                }
                _ => None,
            }
        })
        .collect()
}

fn unreached(saga: &Saga<DrillStep>) -> String {
    match saga.heading() {
        Outcome::Succeeded => "the drill has not come to it".into(),
        Outcome::Unwound { step, .. } => format!("the drill ended before: it could not {step}"),
        Outcome::Aborted { by } => format!("the drill was aborted by {by}"),
        Outcome::GivenUp { by, step } => format!("{by} gave the drill up at `{step}`"),
    }
}

/// Judges a drill whose forward steps are over.
pub fn conclude(saga: &Saga<DrillStep>) -> Conclusion {
    let results = results(saga);
    let timings = timings(saga);
    let objectives = &saga.subject().objectives;
    let stopped = saga
        .plan()
        .forward
        .iter()
        .find(|step| !saga.finished().any(|(done, _, _)| done == *step));
    let took = match stopped {
        None => Ok(timings
            .iter()
            .fold(Span::ZERO, |sum, t| (sum.std() + t.took.std()).into())),
        Some(_) => Err(unreached(saga)),
    };
    let newest: Vec<NewestFound> = saga
        .finished()
        .find_map(|(_, output, _)| match output {
            DrillOutput::Newest { newest } => Some(newest.clone()),
            _ => None,
        })
        .unwrap_or_default();
    let rto = Measured::rto(objectives.rto, took);
    let rpo = Measured::rpo(objectives.rpo, saga.started(), &newest);

    let of = |wanted| results.iter().filter(move |result| result.verdict == wanted);
    let mut failed: Vec<String> = of(Verdict::Failed).map(told).collect();
    let mut not_run: Vec<String> = of(Verdict::NotRun).map(told).collect();
    for (name, measured) in [("RTO", &rto), ("RPO", &rpo)] {
        match measured.verdict {
            Measure::Missed => failed.push(format!("{name} {measured}")),
            Measure::NotRun => not_run.push(format!("{name} {measured}")),
            Measure::Met | Measure::NoObjective => {}
        }
    }
    if let (Outcome::Unwound { step, error }, Some(stopped)) = (saga.heading(), stopped) {
        let list = if stopped.is_about_the_host() {
            &mut not_run
        } else {
            &mut failed
        };
        list.insert(0, format!("could not {step}: {error}"));
    }
    let (word, because) = match saga.heading() {
        Outcome::Aborted { by } => (Word::Aborted, vec![format!("aborted by {by}")]),
        Outcome::GivenUp { by, step } => (Word::Aborted, vec![format!("given up by {by} at `{step}`")]),
        _ if !failed.is_empty() => (Word::Failed, failed),
        _ if !not_run.is_empty() || stopped.is_some() => (Word::Inconclusive, not_run),
        _ => (Word::Passed, Vec::new()),
    };
    Conclusion {
        word,
        because,
        results,
        timings,
        rto,
        rpo,
    }
}

fn told(result: &CheckResult) -> String {
    format!("{}: {result}", result.name)
}

/// The time of every stage that was begun and finished.
fn timings(saga: &Saga<DrillStep>) -> Vec<Timing> {
    let of = |stage: Stage| {
        let steps = saga.finished().filter(move |(step, _, _)| step.stage() == Some(stage));
        let mut took = None;
        for (_, _, span) in steps {
            took = Some(Span::from(took.unwrap_or(Span::ZERO).std() + span.std()));
        }
        took.map(|took| Timing { stage, took })
    };
    Stage::ALL.into_iter().filter_map(of).collect()
}
