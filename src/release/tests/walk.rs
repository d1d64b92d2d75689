//! Releases that go any way they can: steps that end well, badly or not at all, requests at any time. Whatever happens,
//! every request has a colour to go to that can answer it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::Swap;
use crate::journal::{Event, Illegal, Next, Outcome, Record, Request, Saga};
use crate::model::Timestamp;

const REQUESTS: [Request; 7] = [
    Request::Abort,
    Request::Retry,
    Request::GiveUp,
    Request::Pause,
    Request::Resume,
    Request::Promote,
    Request::PromoteFully,
];

/// What the router and the engine have, as far as the steps that were taken tell.
struct Model {
    weights: [u8; 2],
    /// Healthy when it was last looked at, and not stopped or taken from the router since.
    able: [bool; 2],
    closed: bool,
}

fn at(colour: Colour) -> usize {
    usize::from(colour == Colour::Green)
}

impl Model {
    fn take(&mut self, step: &ReleaseStep) {
        match *step {
            ReleaseStep::Shift { colour, weight } => {
                self.weights[at(colour)] = weight;
                self.weights[at(colour.other())] = 100 - weight;
            }
            ReleaseStep::AwaitHealthy { colour } | ReleaseStep::StartAgain { colour } => self.able[at(colour)] = true,
            ReleaseStep::Stop { colour }
            | ReleaseStep::Unpoint { colour }
            | ReleaseStep::Clear { colour }
            | ReleaseStep::StopServing { colour } => self.able[at(colour)] = false,
            ReleaseStep::CloseGate => self.closed = true,
            ReleaseStep::OpenGate => self.closed = false,
            _ => {}
        }
    }

    fn check(&self, after: &str) {
        assert_eq!(self.weights[0] + self.weights[1], 100, "after {after}");
        for colour in Colour::BOTH {
            let has = self.weights[at(colour)];
            assert!(
                has == 0 || self.able[at(colour)] || self.closed,
                "{colour} has {has} % and cannot answer after {after}"
            );
        }
    }
}

/// One release on its way, with choices that come from outside; when they run out, everything goes well.
struct Walk<'a> {
    saga: Saga<ReleaseStep>,
    plan: Plan<ReleaseStep>,
    model: Model,
    now: Timestamp,
    seq: u64,
    open: Option<ReleaseStep>,
    choices: std::slice::Iter<'a, u8>,
}

impl Walk<'_> {
    fn choose(&mut self) -> u8 {
        self.choices.next().copied().unwrap_or(255)
    }

    fn record(&self, event: Event<ReleaseStep>) -> Record<ReleaseStep> {
        let (seq, at) = (self.seq, self.now);
        Record { seq, at, event }
    }

    fn hear(&mut self, event: Event<ReleaseStep>) -> Result<(), Illegal> {
        self.saga = self.saga.clone().apply(&self.record(event))?;
        self.seq += 1;
        Ok(())
    }

    fn request(&mut self, request: Request) -> Result<(), Illegal> {
        let committed = self.saga.committed();
        let by = "someone".to_owned();
        let heard = self.hear(Event::Requested {
            request: request.clone(),
            by,
        });
        if request == Request::Abort && committed {
            assert!(matches!(heard, Err(Illegal::Committed | Illegal::Over)), "{heard:?}");
        }
        if heard.is_ok() && matches!(request, Request::Abort | Request::GiveUp) {
            self.open = None;
        }
        heard
    }

    fn ends(&mut self, step: &ReleaseStep, well: bool) {
        let event = match well {
            true => Event::Finished {
                step: step.clone(),
                output: Finding::Nothing,
            },
            false => Event::Failed {
                step: step.clone(),
                error: "told to".into(),
            },
        };
        self.hear(event).expect("it was begun");
        self.open = None;
    }

    /// Everything that could be said of any step; what is heard fits the one that is expected.
    fn nothing_else_fits(&self) {
        let steps = self.plan.forward.iter().chain(&self.plan.finally);
        let words: BTreeSet<String> = steps.clone().map(|step| format!("{step:?}")).collect();
        let undone = steps.clone().filter_map(Step::undo);
        let undone: Vec<ReleaseStep> = undone.filter(|step| !words.contains(&format!("{step:?}"))).collect();
        let mut begun: Vec<&ReleaseStep> = Vec::new();
        for step in steps.chain(&undone) {
            let heard = |event| self.saga.clone().apply(&self.record(event)).is_ok();
            let closes = [
                Event::Finished {
                    step: step.clone(),
                    output: Finding::Nothing,
                },
                Event::Failed {
                    step: step.clone(),
                    error: String::new(),
                },
                Event::Undecided {
                    step: step.clone(),
                    why: String::new(),
                },
            ];
            for event in closes {
                assert!(!heard(event.clone()) || self.open.as_ref() == Some(step), "{event:?}");
            }
            if heard(Event::Began { step: step.clone() }) && !begun.contains(&step) {
                begun.push(step);
            }
        }
        assert!(begun.len() <= 1, "one step is expected, not {begun:?}");
        let second = Event::Planned {
            subject: self.saga.subject().clone(),
            plan: self.plan.clone(),
            by: String::new(),
        };
        assert!(self.saga.clone().apply(&self.record(second)).is_err(), "a second plan");
    }

    fn over(&self) {
        for request in REQUESTS {
            let by = String::new();
            let refused = self.saga.clone().apply(&self.record(Event::Requested { request, by }));
            assert_eq!(refused.map(drop), Err(Illegal::Over));
        }
    }

    fn take(&mut self, step: &ReleaseStep, commits: bool) {
        // Traffic goes to a colour only after it was looked at; going back to a warm one asks the router itself.
        if let ReleaseStep::Shift { colour, weight: 1.. } = *step
            && self.saga.subject().goal() == Goal::Rollback
        {
            self.model.able[at(colour)] = true;
        }
        self.model.take(step);
        self.model
            .check(&format!("{step}{}", if commits { ", made" } else { "" }));
    }

    /// To its end, or to where someone has given it up.
    fn run(&mut self) -> Outcome {
        for _ in 0..2_000 {
            if self.seq.is_multiple_of(3) {
                self.nothing_else_fits();
            }
            if self.choose() < 20 {
                let request = REQUESTS[usize::from(self.choose()) % REQUESTS.len()].clone();
                let over = matches!(self.saga.next(self.now), Next::Done(_));
                assert_eq!(self.request(request) == Err(Illegal::Over), over);
            }
            match self.saga.next(self.now) {
                Next::Do(step) => {
                    self.hear(Event::Began { step: step.clone() }).expect("it is expected");
                    self.open = Some(step.clone());
                    if step.wait().is_some() {
                        continue;
                    }
                    match self.choose() {
                        // The process is gone, with the step done or not.
                        0..20 => {}
                        20..40 => self.take(&step, false),
                        40..70 => self.ends(&step, false),
                        70..90 => {
                            self.take(&step, false);
                            self.ends(&step, false);
                        }
                        _ => {
                            self.take(&step, true);
                            self.ends(&step, true);
                        }
                    }
                }
                Next::WaitUntil(until, _) => self.now = until,
                Next::Elapsed(step) | Next::Undecided { step, .. } => match self.choose() {
                    0..40 => self.ends(&step, false),
                    40..120 if step.patience().is_some() => {
                        let why = "thin".to_owned();
                        self.hear(Event::Undecided { step, why }).expect("it is open");
                        self.now += Span::seconds(600).chrono();
                    }
                    _ => self.ends(&step, true),
                },
                Next::Exhausted { step, .. } => match self.request(Request::Pause) {
                    Ok(()) => {}
                    Err(_) => self.ends(&step, false),
                },
                Next::Paused { .. } => {
                    self.now += Span::seconds(60).chrono();
                    let wish =
                        [Request::Promote, Request::Abort, Request::Resume][usize::from(self.choose()) % 3].clone();
                    self.request(wish).expect("it is paused");
                }
                Next::Stuck { .. } => {
                    let wish = match self.choose() {
                        0..60 => Request::GiveUp,
                        _ => Request::Retry,
                    };
                    self.request(wish).expect("it is stuck");
                }
                Next::Done(outcome) => {
                    self.over();
                    return outcome;
                }
            }
        }
        panic!("it comes to no end")
    }
}

fn walk(planned: (Subject, Plan<ReleaseStep>), choices: &[u8]) {
    let (subject, plan) = planned;
    let first = Record {
        seq: 0,
        at: Timestamp::UNIX_EPOCH,
        event: Event::Planned {
            subject: subject.clone().into(),
            plan: plan.clone(),
            by: "a test".into(),
        },
    };
    let mut walk = Walk {
        saga: Saga::begin(&first).expect("a plan"),
        plan,
        model: Model {
            weights: [100, 0],
            able: [true, false],
            closed: false,
        },
        now: Timestamp::UNIX_EPOCH,
        seq: 1,
        open: None,
        choices: choices.iter(),
    };
    let outcome = walk.run();
    let serving = match outcome {
        Outcome::Succeeded if subject.goal == Goal::Retire => subject.from,
        Outcome::Succeeded => subject.to,
        Outcome::Unwound { .. } | Outcome::Aborted { .. } => subject.from,
        Outcome::GivenUp { .. } => return,
    };
    assert_eq!(walk.model.weights[at(serving)], 100, "{outcome:?}");
    assert!(walk.model.able[at(serving)] && !walk.model.closed, "{outcome:?}");
}

const CANARY: &str = ", steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }], settle: 10m, \
                      before: [{ run: [migrate], class: reversible }], after: [{ run: [smoke], class: reversible }]";
const IRREVERSIBLE: &str = ", steps: [{ weight: 5, hold: 15m }], before: [{ run: [migrate], class: irreversible }]";
const HELD: &str = ", swap: hold, before: [{ backup: db }, { run: [migrate], class: reversible }]";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_way_a_release_can_go_leaves_traffic_where_it_is_answered(
        kind in 0..6u8,
        choices in proptest::collection::vec(any::<u8>(), 0..250),
    ) {
        let mut ground = ground(match kind {
            0 | 3 | 4 => CANARY,
            1 => IRREVERSIBLE,
            _ => HELD,
        });
        let planned = match kind {
            0..3 => deploy(ground.ask(), image("web:2"), false),
            3 => {
                ground.runs(Colour::Green, "web:0", true);
                rollback(ground.ask(), None, None)
            }
            4 => rollback(ground.ask(), Some(image("web:0")), None),
            _ => {
                ground.runs(Colour::Green, "web:0", false);
                rollback(ground.ask(), None, None)
            }
        };
        let planned = planned.expect("a plan");
        prop_assert_eq!(planned.0.swap == Swap::Hold, kind == 2 || kind == 5);
        walk(planned, &choices);
    }
}
