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

    /// For a wait that is judged when it ends: what becomes of one about which nothing can be said.
    fn patience(&self) -> Option<Patience> {
        None
    }

    /// Whether the operation may stand still before this step, or in it, for as long as somebody likes.
    fn pausable(&self) -> bool {
        false
    }

    /// Whether a wait is passed over by one who wants to see the end.
    fn skippable(&self) -> bool {
        false
    }
}

/// How long a wait that is over and undecided is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    pub span: Span,
    /// Then it counts as failed; else the operation pauses.
    pub fails: bool,
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
    /// Stand still where it is.
    Pause,
    /// Go on; time that was paused does not count.
    Resume,
    /// The wait that is under way is over, whatever its judges say.
    Promote,
    /// This wait and those after it are over.
    PromoteFully,
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
    /// A wait has ended, and whether it went well cannot be told (yet).
    Undecided {
        step: S,
        why: String,
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
