use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Colour, Health, ServiceName};
use crate::plan::{Container, ContainerState};
use crate::ports::{EngineError, Router, RouterError};
use crate::stack::Condition;

use super::Converge;
use super::error::{ConvergeError, Trouble, Unready};

/// Restarts by the engine after which a container that is waited for is given up.
const RESTARTS: i64 = 5;
const LAST_LINES: usize = 15;

impl Converge<'_> {
    pub(super) async fn named(&self, name: &str) -> Result<Container, EngineError> {
        self.engine.container(name).await?.ok_or_else(|| EngineError::NotFound {
            what: format!("container {name}"),
        })
    }

    pub(super) async fn wait(&self, service: &str, name: &str, condition: Condition) -> Result<(), Trouble> {
        let limit = match condition {
            Condition::Started => self.patience.started,
            Condition::Healthy => self.patience.healthy,
            Condition::Completed => self.patience.completed,
        };
        let deadline = Instant::now() + limit;
        let mut unhealthy_until = None;
        let mut pause = Duration::from_millis(50);
        loop {
            let container = self.named(name).await?;
            if condition == Condition::Healthy && container.running() && container.health != Health::Healthy {
                self.engine.poke_health(&container.id).await?;
            }
            let recovers = container.running() && container.health == Health::Unhealthy && {
                let until = *unhealthy_until.get_or_insert_with(|| Instant::now() + self.patience.unhealthy);
                Instant::now() < until
            };
            match judge(condition, &container) {
                Verdict::Holds => return Ok(()),
                Verdict::Hopeless(..) if recovers => tokio::time::sleep(pause).await,
                Verdict::Hopeless(what, remedy) => return Err(self.trouble(service, &container, what, remedy).await),
                Verdict::NotYet if Instant::now() >= deadline => {
                    let what = format!("was not {} within {} s", word(condition), limit.as_secs());
                    let remedy = "see why in its log, then run `arkwright up` again";
                    return Err(self.trouble(service, &container, what, remedy).await);
                }
                Verdict::NotYet => tokio::time::sleep(pause).await,
            }
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
        }
    }

    /// Until the router's own checks find every container it was just given healthy.
    pub(super) async fn serves(
        &self,
        router: &dyn Router,
        service: &ServiceName,
        colour: Colour,
        containers: &[String],
    ) -> Result<(), Unready> {
        let began = Instant::now();
        loop {
            let answers = Instant::now() + self.patience.router;
            let slots = patiently(answers, || router.slots(service))
                .await
                .map_err(Unready::Router)?;
            let waiting = slots
                .iter()
                .find(|slot| slot.colour == colour && slot.address.is_some() && !slot.up);
            let Some(slot) = waiting else { return Ok(()) };
            for name in containers {
                let container = self.named(name).await.map_err(|error| Unready::Other(error.into()))?;
                let patience = match container.health {
                    Health::Unhealthy => self.patience.unhealthy,
                    _ => self.patience.healthy,
                };
                let verdict = match judge(Condition::Started, &container) {
                    Verdict::Hopeless(what, remedy) => Some((what, remedy)),
                    _ if began.elapsed() < patience => None,
                    _ => {
                        let check = &slot.last_check;
                        let what = format!("does not answer the router's health check ({check})");
                        Some((
                            what,
                            "correct `health` in arkwright.yaml or mend the service, then run `arkwright up` again",
                        ))
                    }
                };
                if let Some((what, remedy)) = verdict {
                    return Err(Unready::Other(
                        self.trouble(service.as_str(), &container, what, remedy).await,
                    ));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn trouble(&self, service: &str, container: &Container, what: String, remedy: &'static str) -> Trouble {
        let log = match self.engine.logs(&container.id, LAST_LINES).await {
            Ok(log) => log,
            Err(error) => format!("(its log cannot be read: {error})"),
        };
        Trouble::Told(ConvergeError::Service {
            service: service.to_owned(),
            container: container.name.clone(),
            what,
            remedy,
            log,
        })
    }

    /// A container's address on a network; one that was just started may have to be asked twice.
    pub(super) async fn address(&self, name: &str, network: &str) -> Result<IpAddr, EngineError> {
        let deadline = Instant::now() + self.patience.started;
        loop {
            let container = self.named(name).await?;
            if let Some(ip) = container.networks.get(network).and_then(|endpoint| endpoint.ip) {
                return Ok(ip);
            }
            if !container.running() || Instant::now() >= deadline {
                return Err(EngineError::NotFound {
                    what: format!("the address of {name} on {network}"),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Asks a router that may have just been started until it answers, whatever it answers, or the time is up.
pub(super) async fn patiently<T, F>(deadline: Instant, mut ask: impl FnMut() -> F) -> Result<T, RouterError>
where
    F: Future<Output = Result<T, RouterError>>,
{
    loop {
        match ask().await {
            Err(RouterError::Unreachable { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            result => return result,
        }
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Holds,
    NotYet,
    /// Waiting longer cannot help: what it did, and what to do.
    Hopeless(String, &'static str),
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "running",
        Condition::Healthy => "healthy",
        Condition::Completed => "done",
    }
}

fn judge(condition: Condition, container: &Container) -> Verdict {
    let over = matches!(container.state, ContainerState::Exited | ContainerState::Dead);
    let code = container.exit_code.unwrap_or(-1);
    match condition {
        Condition::Completed if over && code == 0 => Verdict::Holds,
        Condition::Completed if over => Verdict::Hopeless(
            format!("ended with exit code {code}"),
            "mend it, then run `arkwright up` again; it runs once more",
        ),
        _ if container.restart_count > RESTARTS && container.health != Health::Healthy => Verdict::Hopeless(
            format!("was restarted {} times", container.restart_count),
            "mend what ends it, then run `arkwright up` again",
        ),
        Condition::Completed => Verdict::NotYet,
        // A job that was quick.
        Condition::Started if over && code == 0 => Verdict::Holds,
        _ if over => Verdict::Hopeless(
            format!("ended with exit code {code}"),
            "mend what ends it, then run `arkwright up` again",
        ),
        Condition::Started if container.running() => Verdict::Holds,
        Condition::Started => Verdict::NotYet,
        Condition::Healthy => match container.health {
            Health::Healthy => Verdict::Holds,
            Health::Unhealthy => Verdict::Hopeless(
                "is unhealthy".into(),
                "mend it, or give its check more retries or start_period, then run `arkwright up` again",
            ),
            Health::Unchecked if container.running() => Verdict::Hopeless(
                "has no health check, so it will never be healthy".into(),
                "give it a `healthcheck`, or wait for `service_started` only",
            ),
            Health::Unchecked | Health::Starting => Verdict::NotYet,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::model::ContainerId;

    use super::*;

    fn container(state: ContainerState, exit_code: Option<i64>, health: Health, restart_count: i64) -> Container {
        Container {
            id: ContainerId::new("c"),
            name: "c".into(),
            image: String::new(),
            image_id: String::new(),
            state,
            exit_code,
            health,
            labels: BTreeMap::new(),
            created: None,
            started: None,
            networks: BTreeMap::new(),
            ports: Vec::new(),
            restart_count,
            oom_killed: false,
        }
    }

    #[test]
    fn a_wait_ends_when_it_holds_or_when_it_never_will() {
        use Condition::{Completed, Healthy, Started};
        use ContainerState::{Created, Exited, Restarting, Running};
        let hopeless = |verdict| matches!(verdict, Verdict::Hopeless(..));
        for (condition, state, code, health, restarts, holds, never) in [
            (Started, Running, None, Health::Unchecked, 0, true, false),
            (Started, Created, None, Health::Unchecked, 0, false, false),
            (Started, Exited, Some(0), Health::Unchecked, 0, true, false),
            (Started, Exited, Some(3), Health::Unchecked, 0, false, true),
            (Healthy, Running, None, Health::Starting, 0, false, false),
            (Healthy, Running, None, Health::Healthy, 9, true, false),
            (Healthy, Running, None, Health::Unhealthy, 0, false, true),
            (Healthy, Running, None, Health::Unchecked, 0, false, true),
            (Healthy, Restarting, None, Health::Starting, 6, false, true),
            (Completed, Running, None, Health::Unchecked, 0, false, false),
            (Completed, Exited, Some(0), Health::Unchecked, 0, true, false),
            (Completed, Exited, Some(3), Health::Unchecked, 0, false, true),
        ] {
            let verdict = judge(condition, &container(state, code, health, restarts));
            assert_eq!(verdict == Verdict::Holds, holds, "{condition:?} {state:?} {health:?}");
            assert_eq!(hopeless(verdict), never, "{condition:?} {state:?} {health:?}");
        }
    }

    #[test]
    fn a_failure_names_the_service_shows_its_log_and_says_what_to_do() {
        let error = ConvergeError::Service {
            service: "web".into(),
            container: "ark-web-1".into(),
            what: "ended with exit code 3".into(),
            remedy: "mend it",
            log: "first\nsecond\n".into(),
        };
        assert_eq!(
            error.to_string(),
            "web: ark-web-1 ended with exit code 3; mend it; its last lines:\n  | first\n  | second"
        );
    }
}
