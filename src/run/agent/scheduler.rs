use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Logins, Timestamp};
use crate::state::write_atomic;

use super::super::Schedules;
use super::shared::{Shared, Terms};
use super::{Agent, Submission};

/// The longest nap: a clock that was set, or a machine that slept, is noticed within it.
const TICK: Duration = Duration::from_secs(20);
const SHORTEST: Duration = Duration::from_millis(5);
/// How often the operator is asked for chores.
const CHORES: Duration = Duration::from_secs(60);
/// A chore that comes up again at once has failed; it is left alone this long.
const AGAIN: Duration = Duration::from_secs(600);
/// How long a stop waits for the work to let go.
const FAREWELL: Duration = Duration::from_secs(5);

impl Agent {
    /// Resumes what was left, then keeps schedules and chores until [`Agent::stop`]; what runs then stays resumable.
    pub async fn run(&self) {
        let shared = &self.shared;
        shared.wake_all();
        let mut chores_at = Instant::now();
        let mut tried: BTreeMap<String, Instant> = BTreeMap::new();
        while !shared.stop.is_cancelled() {
            let now = shared.clock.now();
            let next = shared.keep_schedules(now);
            shared.state().pulse = Some(now);
            if Instant::now() >= chores_at {
                chores_at = Instant::now() + CHORES;
                tokio::select! {
                    () = shared.stop.cancelled() => break,
                    () = shared.do_chores(now, &mut tried) => {}
                }
            }
            let nap = next.map_or(TICK, |next| (next - now).to_std().unwrap_or_default());
            tokio::select! {
                () = shared.stop.cancelled() => break,
                () = tokio::time::sleep(nap.clamp(SHORTEST, TICK)) => {}
            }
        }
        shared.tasks.close();
        if tokio::time::timeout(FAREWELL, shared.tasks.wait()).await.is_err() {
            tracing::warn!("some work would not stop; it is resumed at the next start");
        }
    }
}

impl Shared {
    /// Gives the orders that are due; the next one after `now`.
    fn keep_schedules(self: &Arc<Self>, now: Timestamp) -> Option<Timestamp> {
        let schedules = self.operator.scheduled();
        let mut changed = self.state().schedule(schedules.clone());
        let Schedules { zone, lines } = schedules;
        let mut soonest: Option<Timestamp> = None;
        for (order, line) in lines {
            let name = order.to_string();
            let next = {
                let mut state = self.state();
                changed |= state.memory.meet(&name, &line, now);
                state.memory.next(&name, &line, zone)
            };
            let Some(due) = next else { continue };
            if due > now {
                soonest = Some(soonest.map_or(due, |before| before.min(due)));
                continue;
            }
            let submission = Submission {
                order,
                by: format!("schedule {}", line.as_str()),
                key: None,
                logins: Logins::default(),
            };
            match self.enqueue(submission, Terms::Wait) {
                Ok((accepted, _)) => {
                    tracing::info!(operation = %accepted.operation, "{name} was due {due}");
                    let mut state = self.state();
                    state.memory.seen_to(&name, now);
                    state.complained.remove(&name);
                    changed = true;
                }
                Err(error) => {
                    if self.state().complained.insert(name.clone()) {
                        tracing::error!("{name} is due and cannot be taken: {error}; it stays due");
                    }
                }
            }
        }
        if changed {
            self.remember();
        }
        soonest
    }

    async fn do_chores(self: &Arc<Self>, now: Timestamp, tried: &mut BTreeMap<String, Instant>) {
        let orders = match self.operator.due(now).await {
            Ok(orders) => orders,
            Err(error) => {
                tracing::error!("the chores that are due cannot be told: {error}");
                return;
            }
        };
        tried.retain(|_, at| at.elapsed() < AGAIN);
        for order in orders {
            let name = order.to_string();
            if tried.contains_key(&name) {
                continue;
            }
            let submission = Submission {
                order,
                by: "the agent: it was due".into(),
                key: None,
                logins: Logins::default(),
            };
            // A chore is never queued: what is due now may not be once the release before it is through.
            match self.enqueue(submission, Terms::OnlyIdle) {
                Ok(_) => {
                    tried.insert(name, Instant::now());
                }
                Err(error) => tracing::debug!("{name} is due and waits: {error}"),
            }
        }
    }

    /// Puts the memory of schedules on the disk.
    pub(super) fn remember(&self) {
        let state = self.state();
        let written = serde_json::to_vec_pretty(&state.memory)
            .map_err(Into::into)
            .and_then(|bytes| write_atomic(&self.memory_path, &bytes, 0o600));
        if let Err(error) = written {
            let path = self.memory_path.display();
            tracing::error!("{path} cannot be written, so a restart may run a schedule again: {error}");
        }
    }
}
