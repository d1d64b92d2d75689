use crate::model::Timestamp;

use super::super::Schedules;
use super::Agent;

/// What a monitor wants to know of the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// When the loop last came round; `None` before the first time.
    pub pulse: Option<Timestamp>,
    /// How many operations of a kind have ended in an outcome, those before this start included.
    pub ended: Vec<(String, String, u64)>,
    pub lanes: Vec<LaneFigures>,
    pub schedules: Vec<ScheduleFigures>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LaneFigures {
    pub lane: &'static str,
    pub running: bool,
    /// Stuck, or waiting to be tried again.
    pub held: bool,
    pub queued: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleFigures {
    pub name: String,
    pub last_good: Option<Timestamp>,
    /// In the past where it is due and could not be taken yet.
    pub next: Option<Timestamp>,
}

impl Agent {
    /// Whether the loop came round within the last minute.
    pub fn alive(&self) -> bool {
        let now = self.shared.clock.now();
        let pulse = self.shared.state().pulse;
        pulse.is_some_and(|pulse| (now - pulse).abs() < chrono::TimeDelta::minutes(1))
    }

    pub fn figures(&self) -> Figures {
        let shared = &self.shared;
        let state = shared.state();
        let lanes = ["release", "backup", "drill"].map(|name| {
            let lane = state.lanes.get(name);
            LaneFigures {
                lane: name,
                running: lane.is_some_and(|lane| lane.current.is_some()),
                held: lane.is_some_and(|lane| lane.held),
                queued: lane.map_or(0, |lane| lane.queue.len()),
            }
        });
        let Schedules { zone, lines } = &state.schedules;
        let schedules = lines.iter().map(|(order, line)| {
            let name = order.to_string();
            ScheduleFigures {
                last_good: state.memory.last_good(&name),
                next: state.memory.next(&name, line, *zone),
                name,
            }
        });
        Figures {
            pulse: state.pulse,
            ended: state
                .tally
                .iter()
                .map(|((kind, outcome), count)| (kind.clone(), outcome.clone(), *count))
                .collect(),
            lanes: lanes.into(),
            schedules: schedules.collect(),
        }
    }
}
