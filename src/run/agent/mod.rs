//! Owns a project's operations: orders go into lanes, news to any number of followers, schedules and chores are kept.

mod book;
mod feed;
mod figures;
mod lane;
mod operation;
mod scheduler;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::journal::Request;
use crate::model::{OperationId, Timestamp};
use crate::ports::{Clock, Entropy};
use crate::schedule::Memory;
use crate::state::ProjectFolder;

use super::{Blame, News, OperationError, Operator, Order, Petition, Receipt};
use book::{Book, Taken};
pub use feed::Follower;
pub use figures::{Figures, LaneFigures, ScheduleFigures};
use operation::Operation;
use scheduler::Schedule;

/// How many orders of one lane may wait.
const QUEUE: usize = 16;
/// Operations that are over and whose news are kept.
const KEPT: usize = 50;
/// How long whoever gave an order waits to hear whether it could be planned.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long whoever made a request waits for the answer.
const ANSWER: Duration = Duration::from_secs(20);
/// An order that waited in line is given up when the agent comes back later than this.
const STALE: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// An order as a client gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    pub order: Order,
    /// For the records: who asks, in the client's own words.
    pub by: String,
    /// The same for every attempt of one client at one thing, such as a workflow run and its job. A release that went
    /// well and was the last one is not done again under its key.
    #[serde(default)]
    pub key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    pub operation: OperationId,
    /// The same order was at work already, and is now followed by one more.
    pub attached: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(
        "{path} cannot be read; mend it, or move it away: orders that were waiting and the times of schedules are then forgotten"
    )]
    Damaged {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the operations of the project cannot be told")]
    Operations(#[source] OperationError),
}

/// A handle on the agent; clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
}

struct Shared {
    operator: Arc<dyn Operator>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    zone: Tz,
    memory_path: PathBuf,
    schedules: Vec<Schedule>,
    state: Mutex<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct State {
    lanes: BTreeMap<&'static str, Lane>,
    /// Those in lanes and the last that are over.
    operations: BTreeMap<OperationId, Arc<Operation>>,
    over: VecDeque<OperationId>,
    book: Book,
    memory: Memory,
    tally: BTreeMap<(String, String), u64>,
    pulse: Option<Timestamp>,
    /// Schedules whose being due and not taken was logged.
    complained: BTreeSet<String>,
}

#[derive(Default)]
struct Lane {
    current: Option<Arc<Operation>>,
    /// The current one needs someone to look, or time.
    held: bool,
    queue: VecDeque<Arc<Operation>>,
    working: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Terms {
    Wait,
    OnlyIdle,
}

type Beginning = oneshot::Receiver<Result<(), OperationError>>;

impl Agent {
    /// Reads what an agent before this one left; nothing is done until [`Agent::run`].
    pub fn open(
        operator: Arc<dyn Operator>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        folder: &ProjectFolder,
        zone: Tz,
    ) -> Result<Self, AgentError> {
        let now = clock.now();
        let schedules: Vec<Schedule> = operator
            .scheduled()
            .into_iter()
            .map(|(order, line)| Schedule {
                name: order.to_string(),
                order,
                line,
            })
            .collect();
        let memory_path = folder.last_runs();
        let mut memory = read_memory(&memory_path)?;
        memory.keep(&schedules.iter().map(|s| s.name.clone()).collect::<Vec<_>>());
        let mut tally = BTreeMap::new();
        for receipt in operator.history().map_err(AgentError::Operations)? {
            if receipt.outcome != "running" && receipt.outcome != lane::STUCK {
                *tally.entry((receipt.kind, receipt.outcome)).or_default() += 1;
            }
        }
        let mut state = State {
            lanes: BTreeMap::new(),
            operations: BTreeMap::new(),
            over: VecDeque::new(),
            book: Book::open(&folder.orders())?,
            memory,
            tally,
            pulse: None,
            complained: BTreeSet::new(),
        };
        state.take_up(&*operator, now)?;
        let shared = Shared {
            operator,
            clock,
            entropy,
            zone,
            memory_path,
            schedules,
            state: Mutex::new(state),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        Ok(Agent {
            shared: Arc::new(shared),
        })
    }

    /// Takes an order, or joins the same one that is waiting or at work. One whose turn has come is planned before this
    /// returns, so what cannot be planned is refused here.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, OperationError> {
        let (accepted, beginning) = self.shared.enqueue(submission, Terms::Wait)?;
        if let Some(beginning) = beginning
            && let Ok(Ok(Err(error))) = tokio::time::timeout(PATIENCE, beginning).await
        {
            return Err(error);
        }
        Ok(accepted)
    }

    pub fn follow(&self, id: &OperationId) -> Result<Follower, OperationError> {
        let known = self.shared.state().operations.get(id).cloned();
        let operation = match known {
            Some(operation) => operation,
            None => {
                let receipt = self.shared.operator.receipt(id)?;
                let past = Operation::new(id.clone(), "", None, receipt.by.clone(), receipt.started, true);
                past.feed.end(News::Ended(Box::new(receipt)));
                Arc::new(past)
            }
        };
        Ok(Follower::new(operation, self.shared.stop.clone()))
    }

    pub fn receipt(&self, id: &OperationId) -> Result<Receipt, OperationError> {
        let known = self.shared.state().operations.get(id).cloned();
        if let Some(receipt) = known.as_ref().and_then(|operation| operation.receipt()) {
            return Ok(receipt);
        }
        let mut receipt = self.shared.operator.receipt(id)?;
        if let Some(News::Broken(error)) = known.and_then(|operation| operation.feed.ended()) {
            if error.blame == Blame::Stuck {
                receipt.outcome = lane::STUCK.to_owned();
            }
            receipt.because.get_or_insert(error.message);
        }
        Ok(receipt)
    }

    /// Everything there is a journal of, then what waits for its turn.
    pub fn history(&self) -> Result<Vec<Receipt>, OperationError> {
        let mut history = self.shared.operator.history()?;
        let state = self.shared.state();
        let waiting = state.lanes.values().flat_map(|lane| &lane.queue);
        history.extend(waiting.filter(|op| !op.begun()).filter_map(|op| op.receipt()));
        Ok(history)
    }

    /// Hands a request to an operation; the answer is the operation's own.
    pub async fn request(&self, id: &OperationId, request: Request, by: &str) -> Result<(), OperationError> {
        let Some(operation) = self.shared.find(id)? else {
            return Err(over());
        };
        if request == Request::Abort && self.shared.withdraw(&operation, by) {
            return Ok(());
        }
        if self.shared.is_held(&operation) && request == Request::Abort {
            let trouble = operation.trouble().map(|e| e.message).unwrap_or_default();
            let message = format!("it cannot be aborted now, for it is held up: {trouble}");
            return Err(OperationError::because(Blame::Busy, message).hinted("mend the cause, then `arkwright resume`"));
        }
        let (answer, answered) = oneshot::channel();
        let petition = Petition {
            request,
            by: by.to_owned(),
            answer,
        };
        let Some(sender) = operation.petitions() else {
            return Err(over());
        };
        if sender.try_send(petition).is_err() {
            return Err(OperationError::because(
                Blame::Busy,
                "too many requests wait for this operation already",
            ));
        }
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(refusal))) => Err(OperationError::new(Blame::Failed, refusal)),
            Ok(Err(_)) => Err(over()),
            Err(_) => Err(OperationError::because(
                Blame::Busy,
                "the request was handed over and not answered yet; follow the operation to see what comes of it",
            )),
        }
    }

    /// No order is taken any more, followers are let go, and [`Agent::run`] returns; the journals hold what was at work.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Cancelled once the agent stops.
    pub fn stopping(&self) -> CancellationToken {
        self.shared.stop.clone()
    }
}

fn over() -> OperationError {
    OperationError::because(Blame::Failed, "the operation is over")
}

fn read_memory(path: &Path) -> Result<Memory, AgentError> {
    let damaged = |source| AgentError::Damaged {
        path: path.to_path_buf(),
        source,
    };
    match fs::read(path) {
        Ok(bytes) => Memory::parse(&bytes).map_err(|e| damaged(e.into())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(e) => Err(damaged(e.into())),
    }
}

impl State {
    /// Puts into the lanes what an agent before this one left: first what has a journal, then what waited.
    fn take_up(&mut self, operator: &dyn Operator, now: Timestamp) -> Result<(), AgentError> {
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
                    self.line_up(Operation::new(id, lane, Some(taken.order), taken.by, taken.at, false));
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

    fn line_up(&mut self, operation: Operation) -> Arc<Operation> {
        let operation = Arc::new(operation);
        self.operations.insert(operation.id.clone(), operation.clone());
        let lane = self.lanes.entry(operation.lane).or_default();
        lane.queue.push_back(operation.clone());
        operation
    }

    /// Whether an operation that did the same is the last of its lane: releases are not done twice under one key.
    fn done_under(&self, submission: &Submission) -> Option<OperationId> {
        let last = self.book.last(submission.order.lane())?;
        let same = matches!(submission.order, Order::Deploy { .. } | Order::Rollback { .. })
            && submission.key.is_some()
            && last.key == submission.key
            && last.order == submission.order;
        same.then(|| last.operation.clone())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The second is there where the order's turn comes at once.
    fn enqueue(
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
        let id = self.new_id(&state, now);
        let Submission { order, by, key } = submission;
        let entry = Taken {
            operation: id.clone(),
            order: order.clone(),
            by: by.clone(),
            key,
            at: now,
        };
        state.book.enter(entry).map_err(|error| {
            OperationError::new(Blame::Host, error)
                .hinted("the order could not be written down; free space on the disk")
        })?;
        let operation = state.line_up(Operation::new(id.clone(), name, Some(order), by, now, false));
        let beginning = idle.then(|| operation.beginning());
        self.wake(&mut state, name);
        let accepted = Accepted {
            operation: id,
            attached: false,
        };
        Ok((accepted, beginning))
    }

    fn new_id(&self, state: &State, now: Timestamp) -> OperationId {
        loop {
            let mut chance = [0; 3];
            self.entropy.fill(&mut chance);
            let id = OperationId::new(now, chance);
            if !state.operations.contains_key(&id) {
                return id;
            }
        }
    }

    fn wake_all(self: &Arc<Self>) {
        let mut state = self.state();
        let lanes: Vec<&'static str> = state.lanes.keys().copied().collect();
        for lane in lanes {
            self.wake(&mut state, lane);
        }
    }

    fn wake(self: &Arc<Self>, state: &mut State, name: &'static str) {
        let lane = state.lanes.entry(name).or_default();
        if !lane.working && !self.stop.is_cancelled() {
            lane.working = true;
            self.tasks.spawn(lane::work(self.clone(), name));
        }
    }

    fn take_next(&self, name: &'static str) -> Option<Arc<Operation>> {
        let mut state = self.state();
        let lane = state.lanes.entry(name).or_default();
        lane.current = lane.queue.pop_front();
        lane.working = lane.current.is_some();
        lane.current.clone()
    }

    /// Takes an operation that has not begun out of its queue; whether it was there.
    fn withdraw(&self, operation: &Arc<Operation>, by: &str) -> bool {
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

    fn find(&self, id: &OperationId) -> Result<Option<Arc<Operation>>, OperationError> {
        match self.state().operations.get(id) {
            Some(operation) => Ok(Some(operation.clone())),
            None => self.operator.receipt(id).map(|_| None),
        }
    }

    fn is_held(&self, operation: &Arc<Operation>) -> bool {
        let state = self.state();
        let lane = state.lanes.get(operation.lane);
        lane.is_some_and(|lane| lane.held && lane.current.as_ref().is_some_and(|op| Arc::ptr_eq(op, operation)))
    }

    fn refused(&self, operation: &Arc<Operation>, error: OperationError) {
        self.close(operation, None, News::Broken(error.clone()));
        operation.set_begun(Err(error));
    }

    fn ended(&self, operation: &Arc<Operation>, receipt: Receipt) {
        {
            let mut state = self.state();
            let key = (receipt.kind.clone(), receipt.outcome.clone());
            *state.tally.entry(key).or_default() += 1;
            let kept = self
                .schedules
                .iter()
                .filter(|s| Some(&s.order) == operation.order.as_ref());
            for schedule in kept.filter(|_| receipt.ok) {
                state.memory.succeeded(&schedule.name, receipt.ended);
            }
        }
        self.remember();
        self.close(operation, Some(receipt.ok), News::Ended(Box::new(receipt)));
    }

    /// Off the books first, then the followers hear of it: an order given upon hearing is a new one.
    fn close(&self, operation: &Arc<Operation>, good: Option<bool>, end: News) {
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
        operation.feed.end(end);
    }

    fn hold(&self, operation: &Arc<Operation>, trouble: News) {
        if let News::Broken(error) = &trouble {
            tracing::error!(operation = %operation.id, "held up: {error}");
        }
        operation.feed.end(trouble);
        self.state().lanes.entry(operation.lane).or_default().held = true;
    }

    fn let_go(&self, operation: &Arc<Operation>) {
        self.state().lanes.entry(operation.lane).or_default().held = false;
        operation.feed.reopen();
    }
}
