use crate::model::{Span, Timestamp};

use super::{Event, Patience, Plan, Record, Request, Step};

/// An operation as a value: forward through its plan; before the commit point a failure unwinds, after it only forward.
#[derive(Clone, Debug, PartialEq)]
pub struct Saga<S: Step> {
    subject: S::Subject,
    plan: Plan<S>,
    by: String,
    started: Timestamp,
    done: Vec<Done<S>>,
    place: Place<S>,
    open: Option<Open<S>>,
    paused: Option<Asked>,
    /// Skippable waits are passed over.
    hurried: bool,
    asked: Vec<Asked>,
    /// Failures in a row of a step that may not unwind, and when the last one was.
    strikes: u32,
    struck: Option<(Timestamp, String)>,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
struct Done<S: Step> {
    step: S,
    output: S::Output,
    began: Timestamp,
    ended: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
struct Open<S> {
    step: S,
    began: Timestamp,
    /// Since when a wait that is over is undecided, and why.
    undecided: Option<(Timestamp, String)>,
    promoted: bool,
}

/// A request that was taken.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Asked {
    pub at: Timestamp,
    pub request: Request,
    pub by: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Place<S> {
    Forward(usize),
    /// What is left to take back, the next one last.
    Unwind(Vec<S>),
    Finally(usize),
    Over,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// A step before the commit point failed and everything was taken back.
    Unwound {
        step: String,
        error: String,
    },
    Aborted {
        by: String,
    },
    /// Ended where it was stuck: what had been done stays.
    GivenUp {
        by: String,
        step: String,
    },
}

/// What the driver does now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next<S> {
    Do(S),
    /// Nothing until then; the second is the open step that is finished by waiting, where there is one.
    WaitUntil(Timestamp, Option<S>),
    /// The open step was only waiting, and is over.
    Elapsed(S),
    /// The open wait is over, and whether it went well is asked again until then.
    Undecided {
        step: S,
        until: Timestamp,
        why: String,
    },
    /// It was asked for as long as it may be.
    Exhausted {
        step: S,
        why: String,
        patience: Patience,
    },
    /// Someone has to let it go on; the step is the open wait, where it stands in one.
    Paused {
        step: Option<S>,
        by: String,
    },
    Done(Outcome),
    /// A step that must succeed did not, repeatedly. Someone has to look.
    Stuck {
        step: S,
        error: String,
    },
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Illegal {
    #[error("the operation is over")]
    Over,
    #[error("the journal does not begin with a plan")]
    NoPlan,
    #[error("{event} does not fit where the operation stands: {expected}")]
    Unexpected { event: String, expected: String },
    #[error("it can no longer be aborted: the change is made; use `arkwright rollback`")]
    Committed,
    #[error("nothing is stuck")]
    NotStuck,
    #[error("it cannot be paused where it stands: {0}")]
    NotPausable(String),
    #[error("it is not paused")]
    NotPaused,
    #[error("it does not wait for anything that could be promoted")]
    NotWaiting,
}

/// A step that may not unwind is tried this often before the operation counts as stuck.
const STRIKES: u32 = 5;

impl<S: Step> Saga<S> {
    pub fn replay(records: &[Record<S>]) -> Result<Self, Illegal> {
        let (first, rest) = records.split_first().ok_or(Illegal::NoPlan)?;
        let mut saga = Self::begin(first)?;
        for record in rest {
            saga = saga.apply(record)?;
        }
        Ok(saga)
    }

    pub fn begin(first: &Record<S>) -> Result<Self, Illegal> {
        let Event::Planned { subject, plan, by } = &first.event else {
            return Err(Illegal::NoPlan);
        };
        Ok(Saga {
            subject: subject.clone(),
            plan: plan.clone(),
            by: by.clone(),
            started: first.at,
            done: Vec::new(),
            place: Place::Forward(0).settle(plan),
            open: None,
            paused: None,
            hurried: false,
            asked: Vec::new(),
            strikes: 0,
            struck: None,
            outcome: Outcome::Succeeded,
        })
    }

    pub fn subject(&self) -> &S::Subject {
        &self.subject
    }

    pub fn plan(&self) -> &Plan<S> {
        &self.plan
    }

    pub fn by(&self) -> &str {
        &self.by
    }

    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// When the last finished step ended; the start where none has.
    pub fn ended(&self) -> Timestamp {
        self.done.last().map_or(self.started, |done| done.ended)
    }

    /// Every finished step with what it found and how long it took, in order, those taken back included.
    pub fn finished(&self) -> impl Iterator<Item = (&S, &S::Output, Span)> {
        self.done.iter().map(|d| {
            (
                &d.step,
                &d.output,
                Span::from((d.ended - d.began).to_std().unwrap_or_default()),
            )
        })
    }

    /// Every request that was taken, in order.
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Who paused it, while it is.
    pub fn paused(&self) -> Option<&Asked> {
        self.paused.as_ref()
    }

    /// When the open step began, pauses left out.
    pub fn opened(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|open| open.began)
    }

    /// Why it cannot be told how the open wait went, where that was found.
    pub fn undecided(&self) -> Option<&str> {
        let (_, why) = self.open.as_ref()?.undecided.as_ref()?;
        Some(why)
    }

    /// Whether the open wait is over because someone said so.
    pub fn promoted(&self) -> bool {
        let waved = |open: &Open<S>| open.promoted || (self.hurried && open.step.skippable());
        self.open.as_ref().is_some_and(waved)
    }

    /// How it ends as things stand: what a closing step may want to know before the end is there.
    pub fn heading(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether the point of no return is behind.
    pub fn committed(&self) -> bool {
        match &self.place {
            Place::Forward(at) => *at >= self.plan.commit,
            Place::Unwind(_) => false,
            Place::Finally(_) | Place::Over => self.outcome == Outcome::Succeeded,
        }
    }

    /// Whether what was done is being taken back.
    pub fn unwinding(&self) -> bool {
        matches!(self.place, Place::Unwind(_))
    }

    pub fn next(&self, now: Timestamp) -> Next<S> {
        let Some(step) = self.expected() else {
            return Next::Done(self.outcome.clone());
        };
        if let Some((at, error)) = &self.struck {
            if self.strikes >= STRIKES {
                return Next::Stuck {
                    step,
                    error: error.clone(),
                };
            }
            let again = *at + pause(self.strikes).chrono();
            if now < again {
                return Next::WaitUntil(again, None);
            }
        }
        if let Some(paused) = self.paused.as_ref().filter(|_| self.may_stand(&step)) {
            return Next::Paused {
                step: self.open.as_ref().map(|_| step).filter(|step| step.wait().is_some()),
                by: paused.by.clone(),
            };
        }
        match (step.wait(), &self.open) {
            (Some(wait), Some(open)) => self.waiting(step, wait, open, now),
            _ => Next::Do(step),
        }
    }

    fn waiting(&self, step: S, wait: Span, open: &Open<S>, now: Timestamp) -> Next<S> {
        let end = open.began + wait.chrono();
        if self.promoted() {
            return Next::Elapsed(step);
        }
        if now < end {
            return Next::WaitUntil(end, Some(step));
        }
        let (Some((since, why)), Some(patience)) = (&open.undecided, step.patience()) else {
            return Next::Elapsed(step);
        };
        let (until, why) = (*since + patience.span.chrono(), why.clone());
        match now < until {
            true => Next::Undecided { step, until, why },
            false => Next::Exhausted { step, why, patience },
        }
    }

    /// Whether it may stand still at this step.
    fn may_stand(&self, step: &S) -> bool {
        matches!(self.place, Place::Forward(_)) && !self.committed() && step.pausable()
    }

    pub fn apply(mut self, record: &Record<S>) -> Result<Self, Illegal> {
        let Some(expected) = self.expected() else {
            return Err(Illegal::Over);
        };
        match &record.event {
            Event::Planned { .. } => return Err(self.refuse("a second plan")),
            Event::Began { step } if *step != expected => return Err(self.refuse(&format!("beginning `{step}`"))),
            Event::Began { step } => {
                let again = self.open.take().filter(|_| step.wait().is_some());
                self.open = again.or_else(|| {
                    Some(Open {
                        step: step.clone(),
                        began: record.at,
                        undecided: None,
                        promoted: false,
                    })
                });
            }
            Event::Undecided { step, why } => match &mut self.open {
                Some(open) if open.step == *step && step.patience().is_some() => {
                    let since = open.undecided.take().map_or(record.at, |(since, _)| since);
                    open.undecided = Some((since, why.clone()));
                }
                _ => return Err(self.refuse(&format!("being undecided about `{step}`"))),
            },
            Event::Finished { step, output } => {
                let began = self.close(step, "finishing")?;
                self.done.push(Done {
                    step: step.clone(),
                    output: output.clone(),
                    began,
                    ended: record.at,
                });
                self.advance();
            }
            Event::Failed { step, error } => {
                self.close(step, "failure of")?;
                if matches!(self.place, Place::Forward(_)) && !self.committed() {
                    self.unwind(
                        Some(step),
                        Outcome::Unwound {
                            step: step.to_string(),
                            error: error.clone(),
                        },
                    );
                } else {
                    // What was judged is not judged better by waiting once more: someone has to look.
                    self.strikes = if step.wait().is_some() {
                        STRIKES
                    } else {
                        self.strikes + 1
                    };
                    self.struck = Some((record.at, error.clone()));
                }
            }
            Event::Requested { request, by } => {
                self.ask(request, by, record.at, &expected)?;
                self.asked.push(Asked {
                    at: record.at,
                    request: request.clone(),
                    by: by.clone(),
                });
            }
        }
        Ok(self)
    }

    fn ask(&mut self, request: &Request, by: &str, at: Timestamp, expected: &S) -> Result<(), Illegal> {
        let stuck = self.strikes >= STRIKES;
        match request {
            Request::Retry | Request::GiveUp if !stuck => return Err(Illegal::NotStuck),
            Request::Retry => self.forgive(),
            Request::GiveUp => {
                let (by, step) = (by.to_owned(), expected.to_string());
                self.outcome = Outcome::GivenUp { by, step };
                self.place = Place::Over;
                self.open = None;
            }
            Request::Abort => match self.place {
                Place::Forward(_) if !self.committed() => {
                    let open = self.open.take().map(|open| open.step);
                    self.unwind(open.as_ref(), Outcome::Aborted { by: by.to_owned() });
                }
                Place::Unwind(_) => {}
                _ => return Err(Illegal::Committed),
            },
            Request::Pause => {
                let ahead = match self.place {
                    Place::Forward(at) => &self.plan.forward[at.min(self.plan.commit)..self.plan.commit],
                    _ => &[],
                };
                if !ahead.iter().any(S::pausable) {
                    let why = match self.place {
                        Place::Unwind(_) => "it is being taken back",
                        _ => "nothing before its end can wait",
                    };
                    return Err(Illegal::NotPausable(why.to_owned()));
                }
                let (request, by) = (Request::Pause, by.to_owned());
                self.paused.get_or_insert(Asked { at, request, by });
            }
            Request::Resume => {
                let paused = self.paused.take().ok_or(Illegal::NotPaused)?;
                self.go_on(paused.at, at);
            }
            Request::Promote | Request::PromoteFully => {
                let fully = *request == Request::PromoteFully;
                let waits = self.open.as_ref().is_some_and(|open| open.step.wait().is_some());
                let forward = matches!(self.place, Place::Forward(_)) && !self.committed();
                if !forward || !(waits || fully || self.paused.is_some()) {
                    return Err(Illegal::NotWaiting);
                }
                self.paused = None;
                self.hurried |= fully;
                if let Some(open) = self.open.as_mut().filter(|open| open.step.wait().is_some()) {
                    open.promoted = true;
                }
            }
        }
        Ok(())
    }

    /// The open wait goes on as if the pause had not been; what was undecided is asked afresh.
    fn go_on(&mut self, paused: Timestamp, now: Timestamp) {
        if let Some(open) = &mut self.open {
            open.began += now - paused.max(open.began);
            open.undecided = None;
        }
    }

    fn expected(&self) -> Option<S> {
        match &self.place {
            Place::Forward(at) => self.plan.forward.get(*at).cloned(),
            Place::Unwind(left) => left.last().cloned(),
            Place::Finally(at) => self.plan.finally.get(*at).cloned(),
            Place::Over => None,
        }
    }

    fn refuse(&self, event: &str) -> Illegal {
        let expected = self
            .expected()
            .map_or_else(|| "nothing is left to do".to_owned(), |s| format!("next is `{s}`"));
        Illegal::Unexpected {
            event: event.to_owned(),
            expected,
        }
    }

    fn close(&mut self, step: &S, what: &str) -> Result<Timestamp, Illegal> {
        match self.open.take() {
            Some(open) if open.step == *step => Ok(open.began),
            other => {
                self.open = other;
                Err(self.refuse(&format!("{what} `{step}`")))
            }
        }
    }

    fn forgive(&mut self) {
        self.strikes = 0;
        self.struck = None;
    }

    fn advance(&mut self) {
        self.forgive();
        let place = match std::mem::replace(&mut self.place, Place::Over) {
            Place::Forward(at) => Place::Forward(at + 1),
            Place::Unwind(mut left) => {
                left.pop();
                Place::Unwind(left)
            }
            Place::Finally(at) => Place::Finally(at + 1),
            Place::Over => Place::Over,
        };
        self.place = place.settle(&self.plan);
    }

    /// Takes back the open step and every finished one, newest first; equal neighbours are one.
    fn unwind(&mut self, open: Option<&S>, outcome: Outcome) {
        let mut left: Vec<S> = self
            .done
            .iter()
            .map(|d| &d.step)
            .chain(open)
            .filter_map(Step::undo)
            .collect();
        left.dedup();
        self.paused = None;
        self.outcome = outcome;
        self.place = Place::Unwind(left).settle(&self.plan);
    }
}

impl<S> Place<S> {
    /// Skips stretches with nothing left in them.
    fn settle(self, plan: &Plan<S>) -> Self {
        let finally = || {
            if plan.finally.is_empty() {
                Place::Over
            } else {
                Place::Finally(0)
            }
        };
        match self {
            Place::Forward(at) if at >= plan.forward.len() => finally(),
            Place::Unwind(left) if left.is_empty() => finally(),
            Place::Finally(at) if at >= plan.finally.len() => Place::Over,
            other => other,
        }
    }
}

/// 1 s, 2 s, 4 s …: time for an engine or a router to come back.
fn pause(strikes: u32) -> Span {
    Span::seconds(1 << strikes.saturating_sub(1).min(6))
}
