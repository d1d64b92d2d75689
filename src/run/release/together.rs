//! What is done of several services at once: their traffic moves, and is judged, together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::journal::Saga;
use crate::model::{Colour, ServiceName, Timestamp};
use crate::release::{Finding, Judged, ReleaseStep, Subject};
use crate::run::{Judgement, Progress, StepFailed};

use super::perform::ReleasePerformer;
use super::watch::{Gauges, Moment, Watch};

impl ReleasePerformer {
    /// Every one is looked at before the first is moved, on the way back too: they stay together.
    pub(super) async fn shift_together(
        &self,
        to: &[(ServiceName, Colour)],
        weight: u8,
        saga: &Saga<ReleaseStep>,
        progress: &dyn Progress,
    ) -> Result<Finding, StepFailed> {
        let members = saga.subject().members();
        let mut works = Vec::new();
        for (service, colour) in to {
            let unknown = || StepFailed::because("the journal names a service that the release does not move");
            let subject = members
                .iter()
                .find(|member| member.service == *service)
                .ok_or_else(unknown)?;
            works.push((self.work(subject, saga, progress), *colour));
        }
        let looks = works.iter().map(async |(work, colour)| {
            let fit = work.may_shift(*colour, weight).await;
            fit.map_err(|why| of(&work.subject.service, &why.to_string()))
        });
        for fit in join_all(looks).await {
            fit.map_err(StepFailed::because)?;
        }
        // What was named last goes back first.
        if weight == 0 {
            works.reverse();
        }
        let mut took = Duration::ZERO;
        for (work, colour) in &works {
            took += work.shift(*colour, weight).await?.std();
        }
        Ok(Finding::Shifted { took: took.into() })
    }
}

/// What is remembered of each service between two looks at a held release.
#[derive(Default)]
pub struct Watches(BTreeMap<ServiceName, Watch>);

impl Watches {
    pub fn every(saga: &Saga<ReleaseStep>) -> Duration {
        let judged = judged(saga).into_iter();
        judged.map(Watch::every).min().unwrap_or(Duration::from_secs(1))
    }

    /// One hold of all that have traffic: what fails of one fails all, and what cannot be told of one keeps all.
    pub async fn judge(
        &mut self,
        gauges: &Arc<dyn Gauges>,
        saga: &Saga<ReleaseStep>,
        now: Timestamp,
        over: bool,
    ) -> Judgement<Finding> {
        let moment = Moment {
            now,
            over,
            asked_again: saga.undecided().is_some(),
        };
        let subjects = judged(saga);
        for subject in &subjects {
            self.0.entry(subject.service.clone()).or_default();
        }
        let several = saga.subject().members().len() > 1;
        let watches = self.0.iter_mut().filter_map(|(service, watch)| {
            let subject = subjects.iter().find(|subject| subject.service == *service)?;
            Some((*subject, watch))
        });
        let mut judgements: BTreeMap<&ServiceName, Judgement<Finding>> =
            join_all(watches.map(async |(subject, watch)| {
                let judgement = watch.judge(gauges, subject, moment).await;
                (
                    &subject.service,
                    if several {
                        said_of(&subject.service, judgement)
                    } else {
                        judgement
                    },
                )
            }))
            .await
            .into_iter()
            .collect();
        // In the order they were named, whoever answered first.
        let judgements = subjects
            .iter()
            .filter_map(|subject| judgements.remove(&subject.service));
        all(judgements.collect())
    }
}

/// The services that have been given traffic by the share a release stands at.
fn judged(saga: &Saga<ReleaseStep>) -> Vec<&Subject> {
    let members = saga.subject().members();
    let shifts = saga.finished().filter_map(|(step, ..)| match step {
        ReleaseStep::ShiftTogether { to, .. } => Some(to),
        _ => None,
    });
    match shifts.last() {
        Some(to) => {
            let moved = |member: &&Subject| to.iter().any(|(service, _)| *service == member.service);
            members.iter().filter(moved).collect()
        }
        None => members.iter().collect(),
    }
}

fn said_of(service: &ServiceName, judgement: Judgement<Finding>) -> Judgement<Finding> {
    match judgement {
        Judgement::Failed(why) => Judgement::Failed(of(service, &why)),
        Judgement::Undecided(why) => Judgement::Undecided(of(service, &why)),
        Judgement::Passed(Finding::Judged { gates }) => {
            let named = |one: Judged| Judged {
                gate: format!("{} of {service}", one.gate),
                ..one
            };
            let gates = gates.into_iter().map(named).collect();
            Judgement::Passed(Finding::Judged { gates })
        }
        Judgement::Passed(other) => Judgement::Passed(other),
    }
}

fn all(judgements: Vec<Judgement<Finding>>) -> Judgement<Finding> {
    let (mut gates, mut unclear) = (Vec::new(), Vec::new());
    for judgement in judgements {
        match judgement {
            Judgement::Failed(why) => return Judgement::Failed(why),
            Judgement::Undecided(why) => unclear.push(why),
            Judgement::Passed(Finding::Judged { gates: more }) => gates.extend(more),
            Judgement::Passed(_) => {}
        }
    }
    match (unclear.is_empty(), gates.is_empty()) {
        (false, _) => Judgement::Undecided(unclear.join("; ")),
        (true, true) => Judgement::Passed(Finding::Nothing),
        (true, false) => Judgement::Passed(Finding::Judged { gates }),
    }
}

fn of(service: &ServiceName, what: &str) -> String {
    format!("{service}: {what}")
}
