//! The saga alone, over a small vocabulary: every step failed, every step repeated, the journal cut at every byte.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::*;
use crate::model::{Span, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Word {
    Put(u8),
    Take(u8),
    Hold,
    Look,
    Sweep,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Nothing;

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing")
    }
}

impl Step for Word {
    const KIND: &'static str = "test";
    type Subject = String;
    type Output = Nothing;

    fn undo(&self) -> Option<Self> {
        match self {
            Word::Put(what) => Some(Word::Take(*what)),
            _ => None,
        }
    }

    fn wait(&self) -> Option<Span> {
        (*self == Word::Hold).then_some(Span::seconds(60))
    }

    fn patience(&self) -> Option<Patience> {
        (*self == Word::Hold).then_some(Patience {
            span: Span::seconds(30),
            fails: false,
        })
    }

    fn pausable(&self) -> bool {
        matches!(self, Word::Hold | Word::Put(_))
    }

    fn skippable(&self) -> bool {
        *self == Word::Hold
    }
}

fn plan() -> Plan<Word> {
    use Word::*;
    Plan {
        forward: vec![Put(1), Look, Put(2), Hold, Put(3), Look],
        commit: 5,
        finally: vec![Sweep],
    }
}

/// A driver without a disk: a set of things put, and a clock that jumps.
struct World {
    records: Vec<Record<Word>>,
    put: Vec<u8>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            records: Vec::new(),
            put: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
        };
        world.append(Event::Planned {
            subject: "x".into(),
            plan: plan(),
            by: "test".into(),
        });
        world
    }

    fn append(&mut self, event: Event<Word>) {
        self.records.push(Record {
            seq: self.records.len() as u64,
            at: self.now,
            event,
        });
    }

    fn perform(&mut self, step: &Word) {
        match step {
            Word::Put(what) if !self.put.contains(what) => self.put.push(*what),
            Word::Take(what) => self.put.retain(|p| p != what),
            _ => {}
        }
    }

    /// Runs to the end; `fails(step, nth attempt at it)` says which attempts fail, after having taken effect.
    fn run(&mut self, fails: impl Fn(&Word, usize) -> bool) -> Next<Word> {
        for _ in 0..200 {
            let saga = Saga::replay(&self.records).expect("what was written replays");
            match saga.next(self.now) {
                Next::Do(step) => {
                    self.append(Event::Began { step: step.clone() });
                    if step.wait().is_some() {
                        continue;
                    }
                    self.perform(&step);
                    let tried = self
                        .records
                        .iter()
                        .filter(|r| r.event == Event::Began { step: step.clone() })
                        .count();
                    self.append(if fails(&step, tried) {
                        Event::Failed {
                            step,
                            error: "told to".into(),
                        }
                    } else {
                        Event::Finished { step, output: Nothing }
                    });
                }
                Next::WaitUntil(then, _) => {
                    assert!(then > self.now, "waiting goes forward");
                    self.now = then;
                }
                Next::Elapsed(step) => self.append(Event::Finished { step, output: Nothing }),
                end => return end,
            }
        }
        panic!("no end after 200 turns");
    }
}

#[test]
fn a_plan_runs_to_its_end() {
    let mut world = World::new();
    assert_eq!(world.run(|_, _| false), Next::Done(Outcome::Succeeded));
    assert_eq!(world.put, [1, 2, 3]);
    assert_eq!(world.now, Timestamp::UNIX_EPOCH + Span::seconds(60).chrono());
}

#[test]
fn a_failure_before_the_commit_point_unwinds_the_failed_step_too() {
    for failing in [Word::Put(1), Word::Put(2), Word::Put(3)] {
        let mut world = World::new();
        let end = world.run(|step, _| *step == failing);
        assert!(matches!(end, Next::Done(Outcome::Unwound { .. })), "{failing}: {end:?}");
        assert_eq!(world.put, [0u8; 0], "{failing}");
        assert!(world.records.iter().any(|r| r.event
            == Event::Finished {
                step: Word::Sweep,
                output: Nothing
            }));
    }
}

#[test]
fn after_the_commit_point_it_goes_only_forward_and_then_is_stuck() {
    // The second Look comes after the commit; the first is before it and passes.
    let mut world = World::new();
    assert_eq!(
        world.run(|step, n| *step == Word::Look && (2..=3).contains(&n)),
        Next::Done(Outcome::Succeeded)
    );
    let mut world = World::new();
    let end = world.run(|step, n| *step == Word::Look && n > 1);
    assert!(matches!(end, Next::Stuck { step: Word::Look, .. }), "{end:?}");
    assert_eq!(world.put, [1, 2, 3]);
    let given_up = Event::Requested {
        request: Request::GiveUp,
        by: "someone".into(),
    };
    let seq = world.records.len() as u64;
    let (saga, at) = (Saga::replay(&world.records).expect("replays"), world.now);
    let over = saga.apply(&Record {
        seq,
        at,
        event: given_up,
    });
    let (by, step) = ("someone".to_owned(), Word::Look.to_string());
    assert_eq!(
        over.expect("it fits").next(at),
        Next::Done(Outcome::GivenUp { by, step }),
        "nothing more is done"
    );
    world.append(Event::Requested {
        request: Request::Retry,
        by: "test".into(),
    });
    assert_eq!(world.run(|_, _| false), Next::Done(Outcome::Succeeded));
}

#[test]
fn an_abort_unwinds_before_the_commit_point_and_is_refused_after() {
    let mut world = World::new();
    world.run(|_, _| false);
    let abort = Event::Requested {
        request: Request::Abort,
        by: "someone".into(),
    };
    for cut in 1..world.records.len() {
        let saga = Saga::replay(&world.records[..cut]).expect("a prefix replays");
        let committed = saga.committed();
        let record = Record {
            seq: cut as u64,
            at: world.now,
            event: abort.clone(),
        };
        match saga.apply(&record) {
            Ok(after) => {
                assert!(!committed);
                let mut rest = World {
                    records: world.records[..cut].to_vec(),
                    put: vec![1, 2, 3],
                    now: world.now,
                };
                rest.records.push(record);
                assert_eq!(after, Saga::replay(&rest.records).expect("replays"));
                assert_eq!(
                    rest.run(|_, _| false),
                    Next::Done(Outcome::Aborted { by: "someone".into() })
                );
            }
            Err(refusal) => assert_eq!((refusal, committed), (Illegal::Committed, true)),
        }
    }
}

#[test]
fn a_journal_cut_after_any_byte_resumes_to_the_same_end() {
    let mut whole = World::new();
    whole.run(|step, n| *step == Word::Put(3) && n == 1);
    let bytes: Vec<u8> = whole.records.iter().flat_map(|r| encode(r).expect("encodes")).collect();
    for cut in 0..=bytes.len() {
        let (records, covered) = parse::<Word>(&bytes[..cut]).expect("a cut is not damage");
        assert!(covered <= cut);
        if records.is_empty() {
            continue;
        }
        // What is there by then: a Put that began may have taken effect, a Take that finished has.
        let mut world = World {
            put: Vec::new(),
            records,
            now: whole.now,
        };
        for record in world.records.clone() {
            match record.event {
                Event::Began {
                    step: step @ Word::Put(_),
                } => world.perform(&step),
                Event::Finished {
                    step: step @ Word::Take(_),
                    ..
                } => world.perform(&step),
                _ => {}
            }
        }
        match world.run(|_, _| false) {
            Next::Done(Outcome::Succeeded) => assert_eq!(world.put.len(), 3),
            Next::Done(Outcome::Unwound { .. }) => assert!(world.put.is_empty()),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_noticed() {
    let mut world = World::new();
    world.run(|_, _| false);
    let bytes: Vec<u8> = world.records.iter().flat_map(|r| encode(r).expect("encodes")).collect();
    let original = parse::<Word>(&bytes).expect("whole").0;
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        match parse::<Word>(&damaged) {
            Err(_) => {}
            // The last line end gone: a torn write, the record before it is kept and nothing is invented.
            Ok((records, _)) => assert_eq!(records[..], original[..original.len() - 1], "byte {at}"),
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let world = World::new();
    let saga = Saga::replay(&world.records).expect("replays");
    let record = |event| Record {
        seq: 1,
        at: world.now,
        event,
    };
    for event in [
        Event::Began { step: Word::Put(2) },
        Event::Finished {
            step: Word::Put(1),
            output: Nothing,
        },
        Event::Failed {
            step: Word::Put(1),
            error: String::new(),
        },
        Event::Planned {
            subject: "y".into(),
            plan: plan(),
            by: "test".into(),
        },
    ] {
        assert!(matches!(
            saga.clone().apply(&record(event)),
            Err(Illegal::Unexpected { .. })
        ));
    }
    let retry = Event::Requested {
        request: Request::Retry,
        by: "test".into(),
    };
    assert_eq!(saga.apply(&record(retry)), Err(Illegal::NotStuck));
}

/// A saga that stands in its hold, which began at the epoch, and a way to go on with it.
struct Standing {
    saga: Saga<Word>,
    seq: u64,
}

impl Standing {
    fn new() -> Self {
        let mut world = World::new();
        for word in [Word::Put(1), Word::Look, Word::Put(2)] {
            world.append(Event::Began { step: word.clone() });
            world.append(Event::Finished {
                step: word,
                output: Nothing,
            });
        }
        world.append(Event::Began { step: Word::Hold });
        Standing {
            saga: Saga::replay(&world.records).expect("replays"),
            seq: world.records.len() as u64,
        }
    }

    fn hears(&mut self, seconds: u64, event: Event<Word>) -> Result<(), Illegal> {
        let (seq, at) = (self.seq, at(seconds));
        self.saga = self.saga.clone().apply(&Record { seq, at, event })?;
        self.seq += 1;
        Ok(())
    }

    fn asked(&mut self, seconds: u64, request: Request) -> Result<(), Illegal> {
        let by = "someone".into();
        self.hears(seconds, Event::Requested { request, by })
    }

    fn undecided(&mut self, seconds: u64) -> Result<(), Illegal> {
        let (step, why) = (Word::Hold, "thin".into());
        self.hears(seconds, Event::Undecided { step, why })
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Span::seconds(seconds).chrono()
}

#[test]
fn time_that_was_paused_does_not_count() {
    let mut standing = Standing::new();
    standing.asked(20, Request::Pause).expect("it may stand here");
    let paused = Next::Paused {
        step: Some(Word::Hold),
        by: "someone".into(),
    };
    assert_eq!(standing.saga.next(at(5000)), paused);
    standing.asked(30, Request::Pause).expect("twice is as once");
    standing.asked(5000, Request::Resume).expect("it is paused");
    let end = at(5000 + 40);
    assert_eq!(standing.saga.next(at(5001)), Next::WaitUntil(end, Some(Word::Hold)));
    assert_eq!(standing.saga.next(end), Next::Elapsed(Word::Hold));
    assert_eq!(standing.asked(5001, Request::Resume), Err(Illegal::NotPaused));
}

#[test]
fn an_end_that_cannot_be_told_is_asked_again_then_needs_someone_and_is_asked_afresh() {
    let mut standing = Standing::new();
    standing.undecided(60).expect("it is over");
    standing.undecided(70).expect("still");
    let waits = |why: &str| Next::Undecided {
        step: Word::Hold,
        until: at(90),
        why: why.into(),
    };
    assert_eq!(standing.saga.next(at(89)), waits("thin"), "counted from the first time");
    assert!(matches!(standing.saga.next(at(90)), Next::Exhausted { .. }));
    standing.asked(90, Request::Pause).expect("it may stand here");
    assert!(matches!(standing.saga.next(at(900)), Next::Paused { .. }));
    standing.asked(900, Request::Resume).expect("it is paused");
    assert_eq!(standing.saga.next(at(900)), Next::Elapsed(Word::Hold));
    standing.undecided(901).expect("again");
    assert!(
        matches!(standing.saga.next(at(930)), Next::Undecided { .. }),
        "with the whole patience"
    );
}

#[test]
fn promoting_ends_a_wait_whatever_is_said_of_it() {
    for pause_first in [false, true] {
        let mut standing = Standing::new();
        if pause_first {
            standing.asked(1, Request::Pause).expect("it may stand here");
        }
        standing.undecided(61).expect("it is over");
        standing.asked(62, Request::Promote).expect("it waits");
        assert_eq!(standing.saga.next(at(62)), Next::Elapsed(Word::Hold));
        assert!(standing.saga.promoted());
    }
    let world = World::new();
    let mut fresh = Standing {
        saga: Saga::replay(&world.records).expect("replays"),
        seq: 1,
    };
    assert_eq!(fresh.asked(1, Request::Promote), Err(Illegal::NotWaiting));
    fresh.asked(1, Request::PromoteFully).expect("there is a hold ahead");
    for (step, began) in [(Word::Put(1), 2), (Word::Look, 3), (Word::Put(2), 4)] {
        fresh
            .hears(began, Event::Began { step: step.clone() })
            .expect("it is next");
        let output = Nothing;
        fresh.hears(began, Event::Finished { step, output }).expect("it began");
    }
    fresh.hears(5, Event::Began { step: Word::Hold }).expect("it is next");
    assert_eq!(fresh.saga.next(at(5)), Next::Elapsed(Word::Hold));
}

#[test]
fn what_is_made_or_taken_back_is_not_paused() {
    let mut world = World::new();
    world.run(|step, n| *step == Word::Look && n == 2);
    let pause = Event::Requested {
        request: Request::Pause,
        by: "someone".into(),
    };
    let (mut taken, mut refused) = (0, 0);
    for cut in 1..world.records.len() {
        let saga = Saga::replay(&world.records[..cut]).expect("a prefix replays");
        let (seq, at) = (cut as u64, world.now);
        let event = pause.clone();
        match saga.clone().apply(&Record { seq, at, event }) {
            Ok(paused) => {
                taken += 1;
                assert!(!saga.committed());
                assert_eq!(paused.paused().map(|asked| asked.by.as_str()), Some("someone"));
            }
            Err(Illegal::NotPausable(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(taken > 3 && refused > 2, "{taken} taken, {refused} refused");
}

#[test]
fn an_abort_ends_a_pause() {
    let mut standing = Standing::new();
    standing.asked(1, Request::Pause).expect("it may stand here");
    standing.asked(2, Request::Abort).expect("before the commit point");
    assert_eq!(standing.saga.next(at(2)), Next::Do(Word::Take(2)));
    assert_eq!(standing.saga.asked().len(), 2);
}
