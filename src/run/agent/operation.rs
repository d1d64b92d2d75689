use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::model::{Logins, OperationId, Timestamp};

use super::super::{Blame, News, OperationError, Order, Petition, Receipt};
use super::feed::Feed;

/// How many requests may wait for an operation to hear them.
const PETITIONS: usize = 8;

/// One operation as the agent that has it sees it.
pub(super) struct Operation {
    pub id: OperationId,
    pub lane: &'static str,
    /// Not known of one that another arkwright began.
    pub order: Option<Order>,
    pub by: String,
    pub at: Timestamp,
    /// Registries whose logins an agent before this one had in memory.
    pub lost: BTreeSet<String>,
    pub feed: Feed,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Whether there is a journal of it.
    begun: bool,
    /// Told what came of beginning it.
    told: Option<oneshot::Sender<Result<(), OperationError>>>,
    sender: Option<mpsc::Sender<Petition>>,
    receiver: Option<mpsc::Receiver<Petition>>,
    /// Until it is over.
    logins: Logins,
}

impl Operation {
    pub fn new(
        id: OperationId,
        lane: &'static str,
        order: Option<Order>,
        by: String,
        at: Timestamp,
        begun: bool,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(PETITIONS);
        Operation {
            id,
            lane,
            order,
            by,
            at,
            lost: BTreeSet::new(),
            feed: Feed::new(),
            inner: Mutex::new(Inner {
                begun,
                told: None,
                sender: Some(sender),
                receiver: Some(receiver),
                logins: Logins::default(),
            }),
        }
    }

    pub fn with_logins(self, logins: Logins) -> Self {
        self.inner().logins = logins;
        self
    }

    pub fn logins(&self) -> Logins {
        self.inner().logins.clone()
    }

    /// Resolves once it is begun, or refused.
    pub fn beginning(&self) -> oneshot::Receiver<Result<(), OperationError>> {
        let (sender, receiver) = oneshot::channel();
        self.inner().told = Some(sender);
        receiver
    }

    pub fn begun(&self) -> bool {
        self.inner().begun
    }

    pub fn set_begun(&self, result: Result<(), OperationError>) {
        let mut inner = self.inner();
        inner.begun = result.is_ok();
        if let Some(told) = inner.told.take()
            && told.send(result).is_err()
        {
            tracing::debug!(operation = %self.id, "whoever ordered it is gone");
        }
    }

    pub fn petitions(&self) -> Option<mpsc::Sender<Petition>> {
        self.inner().sender.clone()
    }

    pub fn take_petitions(&self) -> mpsc::Receiver<Petition> {
        let mut inner = self.inner();
        inner.receiver.take().unwrap_or_else(|| {
            let (sender, receiver) = mpsc::channel(PETITIONS);
            inner.sender = Some(sender);
            receiver
        })
    }

    /// It is over: what was held for it in memory alone is not kept with the news of it.
    pub fn forget_logins(&self) {
        self.inner().logins = Logins::default();
    }

    /// From now on requests are answered with "it is over".
    pub fn close_petitions(&self) {
        let mut inner = self.inner();
        inner.sender = None;
        inner.receiver = None;
    }

    /// What can be said without a journal, or beside it; `None` where the journal says it best.
    pub fn receipt(&self) -> Option<Receipt> {
        let begun = self.begun();
        match self.feed.ended() {
            None if begun => None,
            None => Some(self.without_journal("queued", None)),
            Some(News::Ended(receipt)) => Some(*receipt),
            Some(News::Broken(error)) if !begun => Some(self.without_journal("refused", Some(error.message))),
            Some(_) => None,
        }
    }

    pub fn without_journal(&self, outcome: &str, because: Option<String>) -> Receipt {
        Receipt {
            operation: self.id.clone(),
            kind: self.lane.to_owned(),
            subject: self.order.as_ref().map(Order::to_string).unwrap_or_default(),
            outcome: outcome.to_owned(),
            ok: false,
            because,
            by: self.by.clone(),
            started: self.at,
            ended: self.at,
            lines: Vec::new(),
            detail: self.order.as_ref().map_or(serde_json::Value::Null, Order::detail),
        }
    }

    /// The error a held operation waits with.
    pub fn trouble(&self) -> Option<OperationError> {
        match self.feed.ended()? {
            News::Broken(error) => Some(error),
            News::Ended(receipt) => Some(OperationError::because(
                Blame::Stuck,
                receipt.because.unwrap_or(receipt.outcome),
            )),
            News::Update(_) => None,
        }
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
