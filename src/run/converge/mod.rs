//! Makes a plan so: whatever may be done at the same time is.

mod act;
mod error;
mod in_order;
mod wait;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::plan::Plan;
use crate::plan::desired::HostFolders;
use crate::ports::{Engine, Router};

use super::Progress;

pub(in crate::run) use act::with_volumes;
pub use error::ConvergeError;
use in_order::in_order;

/// Makes a [`Plan`] so.
pub struct Converge<'a> {
    pub engine: &'a dyn Engine,
    /// Needed by plans that change routes.
    pub router: Option<&'a dyn Router>,
    pub folders: &'a HostFolders,
    /// The project's variables, which secrets may name.
    pub environment: &'a BTreeMap<String, String>,
    pub progress: &'a dyn Progress,
    pub patience: Patience,
}

/// The longest each kind of wait may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub started: Duration,
    pub healthy: Duration,
    /// For a container that is called unhealthy to recover: what it needs may have been started a moment ago.
    pub unhealthy: Duration,
    pub completed: Duration,
    /// For a router that was just started to answer.
    pub router: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            started: Duration::from_secs(60),
            healthy: Duration::from_secs(600),
            unhealthy: Duration::from_secs(60),
            completed: Duration::from_secs(3600),
            router: Duration::from_secs(20),
        }
    }
}

impl Converge<'_> {
    /// [`Self::perform_until`] nobody interrupts it.
    pub async fn perform(&self, plan: &Plan) -> Result<(), ConvergeError> {
        self.perform_until(plan, &CancellationToken::new()).await
    }

    /// Every change as soon as those it comes after are done. After a failure or an interruption nothing new is begun,
    /// and what changes something comes to its end; what was done stays, and another plan from there does the rest.
    pub async fn perform_until(&self, plan: &Plan, over: &CancellationToken) -> Result<(), ConvergeError> {
        if !plan.blocked.is_empty() {
            return Err(ConvergeError::Blocked(plan.blocked.clone()));
        }
        for (at, change) in plan.changes.iter().enumerate() {
            if change.after.iter().any(|before| *before >= at) {
                return Err(ConvergeError::Impossible {
                    change: change.to_string(),
                    why: "the plan has it after something that comes later; make the plan anew".into(),
                });
            }
        }
        // An engine's own work is bound by its processors: more at once only delays what others wait for.
        let at_once = (2 * self.engine.info().cpus as usize).max(4);
        let act = |change| self.act(plan, change, over);
        let mut ended = in_order(&plan.changes, at_once, self.progress, over, act).await;
        ended
            .failures
            .retain(|failure| !matches!(failure, ConvergeError::LeftOff));
        match (ended.failures.len(), ended.done == plan.changes.len()) {
            (0, true) => Ok(()),
            (0, false) => Err(ConvergeError::Interrupted {
                done: ended.done,
                all: plan.changes.len(),
            }),
            (1, _) => Err(ended.failures.remove(0)),
            _ => Err(ConvergeError::Several(ended.failures)),
        }
    }
}
