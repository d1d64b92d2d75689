use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::model::{OperationId, Timestamp};
use crate::ports::{Clock, Entropy};
use crate::schedule::Memory;

use super::super::{Blame, News, OperationError, Operator, Receipt, Schedules};
use super::book::{Book, Taken};
use super::operation::Operation;
use super::{Accepted, AgentError, Submission, lane};

/// How many orders of one lane may wait.
const QUEUE: usize = 16;
/// Operations that are over and whose news are kept.
const KEPT: usize = 50;
/// An order that waited in line is given up when the agent comes back later than this.
const STALE: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// What every handle on the agent, and all its work, have in common.
pub(super) struct Shared {
    pub operator: Arc<dyn Operator>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub memory_path: PathBuf,
    pub state: Mutex<State>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

pub(super) struct State {
    pub lanes: BTreeMap<&'static str, Lane>,
    /// Those in lanes and the last that are over.
    pub operations: BTreeMap<OperationId, Arc<Operation>>,
    pub over: VecDeque<OperationId>,
    /// The last name given, or read.
    pub newest: Option<OperationId>,
    pub book: Book,
    pub memory: Memory,
    pub schedules: Schedules,
    pub tally: BTreeMap<(String, String), u64>,
    pub pulse: Option<Timestamp>,
    /// Schedules whose being due and not taken was logged.
    pub complained: BTreeSet<String>,
}

#[derive(Default)]
pub(super) struct Lane {
    pub current: Option<Arc<Operation>>,
    /// The current one needs someone to look, or time.
    pub held: bool,
    pub queue: VecDeque<Arc<Operation>>,
    pub working: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Terms {
    Wait,
    OnlyIdle,
}

pub(super) type Beginning = oneshot::Receiver<Result<(), OperationError>>;

impl State {
    /// Puts into the lanes what an agent before this one left: first what has a journal, then what waited.
    pub fn take_up(&mut self, operator: &dyn Operator, now: Timestamp) -> Result<(), AgentError> {
        let mut unfinished = operator.unfinished().map_err(AgentError::Operations)?;
        unfinished.sort();
        let taken = self.book.taken().to_vec();
        for (id, lane) in &unfinished {
            let known = taken.iter().find(|t| t.operation == *id);
            let (order, by, at) = match known {
                Some(t) => (Some(t.order.clone()), t.by.clone(), t.at),
                None => (None, String::new(), now),
            };
            self.line_up(Operation::new(id.clone(), lane, order, by, at, true));
        }
        for taken in taken {
            let (id, lane) = (taken.operation, taken.order.lane());
            if unfinished.iter().any(|(unfinished, _)| *unfinished == id) {
                continue;
            }
            let good = match operator.receipt(&id) {
                Err(error) if error.blame == Blame::NotFound && now - taken.at < STALE => {
                    let mut waiting = Operation::new(id, lane, Some(taken.order), taken.by, taken.at, false);
                    waiting.lost = taken.logins;
                    self.line_up(waiting);
                    continue;
                }
                Err(error) if error.blame == Blame::NotFound => {
                    tracing::warn!("`{}` waited for its turn too long and is given up", taken.order);
                    None
                }
                Err(error) => return Err(AgentError::Operations(error)),
                Ok(receipt) => Some(receipt.ok),
            };
            if let Err(error) = self.book.close(&id, lane, good) {
                tracing::error!("the book of orders cannot be written: {error}");
            }
        }
        Ok(())
    }

    /// Whether the memory of schedules changed.
    pub fn schedule(&mut self, schedules: Schedules) -> bool {
        let names: Vec<String> = schedules.lines.iter().map(|(order, _)| order.to_string()).collect();
        self.schedules = schedules;
        self.memory.keep(&names)
    }

    pub fn line_up(&mut self, operation: Operation) -> Arc<Operation> {
        let operation = Arc::new(operation);
        self.operations.insert(operation.id.clone(), operation.clone());
        let lane = self.lanes.entry(operation.lane).or_default();
        lane.queue.push_back(operation.clone());
        operation
    }

    /// Whether an operation that did the same is the last of its lane: releases are not done twice under one key.
    pub fn done_under(&self, submission: &Submission) -> Option<OperationId> {
        let last = self.book.last(submission.order.lane())?;
        let same = submission.order.moves()
            && submission.key.is_some()
            && last.key == submission.key
            && last.order == submission.order;
        same.then(|| last.operation.clone())
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The second is there where the order's turn comes at once.
    pub fn enqueue(
        self: &Arc<Self>,
        submission: Submission,
        terms: Terms,
    ) -> Result<(Accepted, Option<Beginning>), OperationError> {
        let busy = |message: String| OperationError::because(Blame::Busy, message);
        if self.stop.is_cancelled() {
            return Err(busy("the agent is stopping; try again once it is back".into()));
        }
        let mut state = self.state();
        let name = submission.order.lane();
        let attach = |operation: &OperationId| {
            let accepted = Accepted {
                operation: operation.clone(),
                attached: true,
            };
            Ok((accepted, None))
        };
        let lane = state.lanes.entry(name).or_default();
        let mut present = lane.current.iter().chain(&lane.queue);
        if let Some(same) = present.find(|op| op.order.as_ref() == Some(&submission.order)) {
            return attach(&same.id);
        }
        if let Some(current) = lane.current.as_ref().filter(|_| lane.held) {
            let trouble = current.trouble().map(|e| e.message).unwrap_or_default();
            let error = busy(format!("{} is held up: {trouble}", current.id));
            return Err(error.hinted("mend the cause, then `arkwright resume`"));
        }
        let idle = lane.current.is_none() && lane.queue.is_empty();
        if !idle && terms == Terms::OnlyIdle {
            return Err(busy("another operation is at work".into()));
        }
        if lane.queue.len() >= QUEUE {
            return Err(busy(format!(
                "{QUEUE} orders wait in the {name} lane already; try again later"
            )));
        }
        if idle && let Some(done) = state.done_under(&submission) {
            return attach(&done);
        }
        let now = self.clock.now();
        let id = self.new_id(&mut state, now);
        let Submission { order, by, key, logins } = submission;
        let entry = Taken {
            operation: id.clone(),
            order: order.clone(),
            by: by.clone(),
            key,
            at: now,
            logins: logins.registries().cloned().collect(),
        };
        state.book.enter(entry).map_err(|error| {
            OperationError::new(Blame::Host, error)
                .hinted("the order could not be written down; free space on the disk")
        })?;
        let operation = Operation::new(id.clone(), name, Some(order), by, now, false).with_logins(logins);
        let operation = state.line_up(operation);
        let beginning = idle.then(|| operation.beginning());
        self.wake(&mut state, name);
        let accepted = Accepted {
            operation: id,
            attached: false,
        };
        Ok((accepted, beginning))
    }

    /// Later in order than all before it, also when the clock was set back.
    pub fn new_id(&self, state: &mut State, now: Timestamp) -> OperationId {
        let mut chance = [0; 2];
        self.entropy.fill(&mut chance);
        let id = OperationId::new(now, chance);
        let id = match &state.newest {
            Some(newest) if *newest >= id => newest.next(),
            _ => id,
        };
        state.newest = Some(id.clone());
        id
    }

    pub fn wake_all(self: &Arc<Self>) {
        let mut state = self.state();
        let lanes: Vec<&'static str> = state.lanes.keys().copied().collect();
        for lane in lanes {
            self.wake(&mut state, lane);
        }
    }

    pub fn wake(self: &Arc<Self>, state: &mut State, name: &'static str) {
        let lane = state.lanes.entry(name).or_default();
        if !lane.working && !self.stop.is_cancelled() {
            lane.working = true;
            self.tasks.spawn(lane::work(self.clone(), name));
        }
    }

    pub fn take_next(&self, name: &'static str) -> Option<Arc<Operation>> {
        let mut state = self.state();
        let lane = state.lanes.entry(name).or_default();
        lane.current = lane.queue.pop_front();
        lane.working = lane.current.is_some();
        lane.current.clone()
    }

    /// Takes an operation that has not begun out of its queue; whether it was there.
    pub fn withdraw(&self, operation: &Arc<Operation>, by: &str) -> bool {
        let mut state = self.state();
        let lane = state.lanes.entry(operation.lane).or_default();
        let Some(at) = lane
            .queue
            .iter()
            .position(|op| Arc::ptr_eq(op, operation) && !op.begun())
        else {
            return false;
        };
        lane.queue.remove(at);
        let receipt = operation.without_journal("aborted", Some(format!("aborted by {by} while it waited")));
        drop(state);
        self.close(operation, None, News::Ended(Box::new(receipt)));
        true
    }

    pub fn find(&self, id: &OperationId) -> Result<Option<Arc<Operation>>, OperationError> {
        match self.state().operations.get(id) {
            Some(operation) => Ok(Some(operation.clone())),
            None => self.operator.receipt(id).map(|_| None),
        }
    }

    pub fn is_held(&self, operation: &Arc<Operation>) -> bool {
        let state = self.state();
        let lane = state.lanes.get(operation.lane);
        lane.is_some_and(|lane| lane.held && lane.current.as_ref().is_some_and(|op| Arc::ptr_eq(op, operation)))
    }

    pub fn refused(&self, operation: &Arc<Operation>, error: OperationError) {
        self.close(operation, None, News::Broken(error.clone()));
        operation.set_begun(Err(error));
    }

    pub fn ended(&self, operation: &Arc<Operation>, receipt: Receipt) {
        {
            let mut state = self.state();
            let key = (receipt.kind.clone(), receipt.outcome.clone());
            *state.tally.entry(key).or_default() += 1;
            if let Some(order) = operation.order.as_ref().filter(|_| receipt.ok) {
                state.memory.succeeded(&order.to_string(), receipt.ended);
            }
        }
        self.remember();
        self.close(operation, Some(receipt.ok), News::Ended(Box::new(receipt)));
    }

    /// Off the books first, then the followers hear of it: an order given upon hearing is a new one.
    pub fn close(&self, operation: &Arc<Operation>, good: Option<bool>, end: News) {
        let mut state = self.state();
        if let Err(error) = state.book.close(&operation.id, operation.lane, good) {
            tracing::error!("the book of orders cannot be written: {error}");
        }
        let lane = state.lanes.entry(operation.lane).or_default();
        if lane.current.as_ref().is_some_and(|op| Arc::ptr_eq(op, operation)) {
            lane.current = None;
        }
        state.over.push_back(operation.id.clone());
        if state.over.len() > KEPT
            && let Some(oldest) = state.over.pop_front()
        {
            state.operations.remove(&oldest);
        }
        drop(state);
        operation.close_petitions();
        operation.forget_logins();
        operation.feed.end(end);
    }

    pub fn hold(&self, operation: &Arc<Operation>, trouble: News) {
        if let News::Broken(error) = &trouble {
            tracing::error!(operation = %operation.id, "held up: {error}");
        }
        operation.feed.end(trouble);
        self.state().lanes.entry(operation.lane).or_default().held = true;
    }

    pub fn let_go(&self, operation: &Arc<Operation>) {
        self.state().lanes.entry(operation.lane).or_default().held = false;
        operation.feed.reopen();
    }
}
