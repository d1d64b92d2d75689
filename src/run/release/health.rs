use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::Swap;
use crate::model::{Colour, ContainerId, Health, Timestamp};
use crate::ports::{Container, ContainerState};
use crate::release::Finding;
use crate::run::StepFailed;

use super::perform::{Work, elapsed};

/// Starts of one container after which it counts as crashing again and again.
const STARTS: usize = 3;
/// A container that is to be started again by the engine may be down this long.
const DOWN: Duration = Duration::from_secs(5);
/// The engine calls a container unhealthy after several bad answers in a row; one that stays so this long is given up.
const UNHEALTHY: Duration = Duration::from_secs(15);
const LAST_LINES: usize = 20;

/// What was seen of the containers so far.
#[derive(Default)]
pub(super) struct Seen {
    starts: BTreeMap<ContainerId, BTreeSet<Option<Timestamp>>>,
    down_since: BTreeMap<ContainerId, Instant>,
    unhealthy_since: BTreeMap<ContainerId, Instant>,
}

impl Work<'_> {
    /// Until every container of the colour runs, its own check (where it has one) says healthy, and the router's
    /// checks pass. Ends early when a container keeps crashing.
    pub async fn healthy_within(&self, colour: Colour, limit: Duration) -> Result<Finding, StepFailed> {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let mut told = String::new();
        let mut pause = Duration::from_millis(20);
        loop {
            let containers = self.containers(colour).await?;
            for container in &containers {
                if container.running() && !matches!(container.health, Health::Healthy | Health::Unchecked) {
                    self.engine.poke_health(&container.id).await?;
                }
                if let Some(why) = seen.hopeless(container) {
                    return Err(self.with_logs(why, &containers).await);
                }
            }
            let missing = self.missing(colour, &containers).await?;
            if missing.is_empty() {
                return Ok(Finding::Healthy { after: elapsed(begun) });
            }
            let why = missing.join(", ");
            if begun.elapsed() >= limit {
                let why = format!("{colour} was not healthy within {:.0?}: {why}", limit);
                return Err(self.with_logs(why, &containers).await);
            }
            // Only figures that change are no news.
            let words: String = why.chars().filter(|c| !c.is_ascii_digit()).collect();
            if words != told {
                self.progress.say(&why);
                told = words;
            }
            sleep(pause).await;
            pause = (pause * 5 / 4).min(Duration::from_millis(250));
        }
    }

    /// What still keeps the colour from counting as healthy.
    async fn missing(&self, colour: Colour, containers: &[Container]) -> Result<Vec<String>, StepFailed> {
        let mut missing = Vec::new();
        if containers.len() != self.subject.replicas as usize {
            missing.push(format!(
                "{} of {} containers exist",
                containers.len(),
                self.subject.replicas
            ));
        }
        for container in containers {
            match (container.running(), container.health) {
                (false, _) => missing.push(format!("{} does not run", container.name)),
                // The engine asks for the first time when an interval has passed; requests wait at the gate, and the
                // router's own checks pass or do not.
                (true, Health::Starting) if self.subject.swap == Swap::Hold => {}
                (true, Health::Starting) => missing.push(format!("{} is starting", container.name)),
                (true, Health::Unhealthy) => missing.push(format!("{}: its own check says unhealthy", container.name)),
                (true, Health::Healthy | Health::Unchecked) => {}
            }
        }
        let slots = self.router.slots(&self.subject.service).await?;
        let ours: Vec<_> = slots.iter().filter(|slot| slot.colour == colour).collect();
        if ours.is_empty() {
            missing.push(format!("the router has no slot for {colour}"));
        }
        for slot in ours.into_iter().filter(|slot| !slot.up) {
            missing.push(format!(
                "the router's checks do not pass yet, the newest says {}",
                slot.last_check
            ));
        }
        Ok(missing)
    }

    /// A failure with the newest lines of each container. They are the program's own words, without
    /// the secrets among them.
    pub async fn with_logs(&self, why: String, containers: &[Container]) -> StepFailed {
        let mut text = why;
        for container in containers {
            let log = match self.engine.logs(&container.id, LAST_LINES).await {
                Ok(log) => self.secrets.redact(&log),
                Err(error) => format!("(its log cannot be read: {error})"),
            };
            if log.trim().is_empty() {
                text += &format!("\n{} has logged nothing", container.name);
                continue;
            }
            text += &format!("\nthe last lines of {}:", container.name);
            let lines: Vec<&str> = log.trim_end().lines().collect();
            for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
                let line: String = line
                    .chars()
                    .filter(|c| !c.is_control() || *c == '\t')
                    .take(300)
                    .collect();
                text += &format!("\n  | {line}");
            }
        }
        StepFailed::because(text)
    }
}

impl Seen {
    pub(super) fn hopeless(&mut self, container: &Container) -> Option<String> {
        let code = container.exit_code.unwrap_or_default();
        let starts = self.starts.entry(container.id.clone()).or_default();
        if container.running() {
            starts.insert(container.started);
            self.down_since.remove(&container.id);
        }
        if starts.len() >= STARTS || container.restart_count >= STARTS as i64 {
            return Some(format!("{} ends again and again (exit code {code})", container.name));
        }
        if container.running() && container.health == Health::Unhealthy {
            let since = *self
                .unhealthy_since
                .entry(container.id.clone())
                .or_insert_with(Instant::now);
            if since.elapsed() >= UNHEALTHY {
                return Some(format!("{}: its own check says unhealthy", container.name));
            }
        } else {
            self.unhealthy_since.remove(&container.id);
        }
        if matches!(container.state, ContainerState::Exited | ContainerState::Dead) {
            let since = *self.down_since.entry(container.id.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= DOWN {
                return Some(format!("{} ended with exit code {code}", container.name));
            }
        }
        None
    }
}
