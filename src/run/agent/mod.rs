//! Owns a project's operations: orders go into lanes, news to any number of followers, schedules and chores are kept.

mod book;
mod feed;
mod figures;
mod lane;
mod operation;
mod scheduler;
mod shared;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::journal::Request;
use crate::model::{Logins, OperationId};
use crate::ports::{Clock, Entropy};
use crate::schedule::Memory;
use crate::state::ProjectFolder;

use super::{Blame, News, OperationError, Operator, Order, Petition, Receipt, Schedules};
use book::Book;
pub use feed::Follower;
pub use figures::{Figures, LaneFigures, ScheduleFigures};
use operation::Operation;
use shared::{Shared, State, Terms};

/// How long whoever gave an order waits to hear whether it could be planned.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long whoever made a request waits for the answer.
const ANSWER: Duration = Duration::from_secs(20);

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
    /// For the pulls of this order; held in memory until it is over, and never written.
    #[serde(default, skip_serializing_if = "Logins::is_empty")]
    pub logins: Logins,
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

impl Agent {
    /// Reads what an agent before this one left; nothing is done until [`Agent::run`].
    pub fn open(
        operator: Arc<dyn Operator>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        folder: &ProjectFolder,
    ) -> Result<Self, AgentError> {
        let now = clock.now();
        let memory_path = folder.last_runs();
        let mut tally = BTreeMap::new();
        let mut newest = None;
        for receipt in operator.history().map_err(AgentError::Operations)? {
            newest = newest.max(Some(receipt.operation.clone()));
            if !receipt.open() {
                *tally.entry((receipt.kind, receipt.outcome)).or_default() += 1;
            }
        }
        let mut state = State {
            lanes: BTreeMap::new(),
            operations: BTreeMap::new(),
            over: VecDeque::new(),
            newest,
            book: Book::open(&folder.orders())?,
            memory: read_memory(&memory_path)?,
            schedules: Schedules::default(),
            tally,
            pulse: None,
            complained: BTreeSet::new(),
        };
        state.schedule(operator.scheduled());
        state.take_up(&*operator, now)?;
        let shared = Shared {
            operator,
            clock,
            entropy,
            memory_path,
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

    /// What is at work or waits for its turn.
    pub fn under_way(&self) -> Result<Vec<Receipt>, OperationError> {
        let lanes: Vec<OperationId> = {
            let state = self.shared.state();
            let operations = state
                .lanes
                .values()
                .flat_map(|lane| lane.current.iter().chain(&lane.queue));
            operations.map(|operation| operation.id.clone()).collect()
        };
        lanes.iter().map(|id| self.receipt(id)).collect()
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
        if self.shared.is_held(&operation) && !matches!(request, Request::Retry | Request::GiveUp) {
            let trouble = operation.trouble().map(|e| e.message).unwrap_or_default();
            let message = format!("it cannot be steered now, for it is held up: {trouble}");
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
