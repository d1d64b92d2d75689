use std::fmt::{Debug, Display};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{Span, Timestamp};

/// The vocabulary of one kind of operation. Performing a step twice must have the effect of performing it once.
pub trait Step: Clone + PartialEq + Debug + Display + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// `release`, `backup` or `drill`: part of the journal's file name.
    const KIND: &'static str;
    /// What the operation is about, fixed when it is planned; a resumed run never re-decides.
    type Subject: Clone + PartialEq + Debug + Serialize + DeserializeOwned + Send + Sync;
    /// What a finished step found out.
    type Output: Clone + PartialEq + Debug + Default + Display + Serialize + DeserializeOwned + Send + Sync;

    /// The step that takes this one back, also when it failed halfway; `None` where nothing stays behind.
    fn undo(&self) -> Option<Self>;

    /// For a step that is only the passing of time: how long after it began it is finished.
    fn wait(&self) -> Option<Span> {
        None
    }
}

/// A complete, immutable list of what will be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan<S> {
    pub forward: Vec<S>,
    /// Once this many forward steps are finished there is no way back, only forward.
    pub commit: usize,
    /// Done at the end whatever happened before.
    pub finally: Vec<S>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Unwind; refused after the commit point.
    Abort,
    /// Try a stuck step again.
    Retry,
    /// End what is stuck where it stands; nothing more is done or taken back.
    GiveUp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", bound = "")]
pub enum Event<S: Step> {
    Planned {
        subject: S::Subject,
        plan: Plan<S>,
        by: String,
    },
    Began {
        step: S,
    },
    Finished {
        step: S,
        output: S::Output,
    },
    Failed {
        step: S,
        error: String,
    },
    Requested {
        request: Request,
        by: String,
    },
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Record<S: Step> {
    /// 0, 1, 2 … without a gap.
    pub seq: u64,
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event<S>,
}
