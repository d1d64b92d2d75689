use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Colour, ContainerId, Health, ServiceName, Span};
use crate::plan::desired::{HostFolders, ROUTER};
use crate::plan::{Action, Container, ContainerSpec, ContainerState, Plan, labels};
use crate::ports::{Engine, EngineError, Router, RouterError};
use crate::stack::Condition;
use crate::state::{make_folder, write_atomic};

use super::Progress;
use super::facts::text_of;

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

/// Restarts by the engine after which a container that is waited for is given up.
const RESTARTS: i64 = 5;
const LAST_LINES: usize = 15;
/// Uid and gid inside [`crate::plan::desired::ROUTER_USER`].
const ROUTER_ID: u32 = 99;

#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    #[error("the plan cannot be performed: {}", .0.join("; "))]
    Blocked(Vec<String>),
    #[error("could not {change}")]
    Engine {
        change: String,
        #[source]
        source: EngineError,
    },
    #[error("could not {change}")]
    Router {
        change: String,
        #[source]
        source: RouterError,
    },
    #[error("could not {change} {path}; run as root, or mend the path")]
    Host {
        change: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not {change}: {why}")]
    Impossible { change: String, why: String },
    #[error("{service}: {container} {what}; {remedy}{}", last_lines(.log))]
    Service {
        service: String,
        container: String,
        what: String,
        remedy: &'static str,
        /// The container's newest lines.
        log: String,
    },
}

fn last_lines(log: &str) -> String {
    if log.trim().is_empty() {
        return "; it has logged nothing".into();
    }
    let lines: Vec<String> = log.trim_end().lines().map(|line| format!("\n  | {line}")).collect();
    format!("; its last lines:{}", lines.concat())
}

impl Converge<'_> {
    /// In order, stopping at the first failure; what was done stays, and another plan from there does the rest.
    pub async fn perform(&self, plan: &Plan) -> Result<(), ConvergeError> {
        if !plan.blocked.is_empty() {
            return Err(ConvergeError::Blocked(plan.blocked.clone()));
        }
        for (at, change) in plan.changes.iter().enumerate() {
            self.progress
                .say(&format!("{}/{} {change}", at + 1, plan.changes.len()));
            self.act(plan, &change.action).await?;
        }
        Ok(())
    }

    async fn act(&self, plan: &Plan, action: &Action) -> Result<(), ConvergeError> {
        let change = || format!("{} {}", action.kind(), action.subject());
        let failed = |source| ConvergeError::Engine {
            change: change(),
            source,
        };
        let project = plan.project.as_str();
        match action {
            Action::CreateNetwork { spec } => match self.engine.create_network(spec).await {
                Err(EngineError::Conflict { what }) => {
                    // Made by an attempt that was cut off; anyone else's is not taken.
                    let found = self.engine.network(&spec.name).await.map_err(failed)?;
                    let ours =
                        found.is_some_and(|n| n.labels.get(labels::PROJECT).map(String::as_str) == Some(project));
                    ours.then_some(()).ok_or_else(|| failed(EngineError::Conflict { what }))
                }
                result => result.map_err(failed),
            },
            Action::CreateVolume { spec } => match self.engine.create_volume(spec).await {
                Err(EngineError::Conflict { what }) => {
                    let found = self.engine.volume(&spec.name).await.map_err(failed)?;
                    let ours =
                        found.is_some_and(|v| v.labels.get(labels::PROJECT).map(String::as_str) == Some(project));
                    ours.then_some(()).ok_or_else(|| failed(EngineError::Conflict { what }))
                }
                result => result.map_err(failed),
            },
            Action::CreateFolder { path } => {
                std::fs::create_dir_all(path).map_err(|source| host("create", path, source))
            }
            Action::WriteFile { path, from } => {
                let text = text_of(from, self.environment)
                    .map_err(|why| ConvergeError::Impossible { change: change(), why })?;
                let folder = path.parent().unwrap_or(Path::new("/"));
                make_folder(folder, 0o700).map_err(|source| host("create", folder, source))?;
                // Whoever the container runs as reads it; on this host the folder keeps others out.
                write_atomic(path, text.as_bytes(), 0o444).map_err(|source| host("write", path, source))
            }
            Action::PullImage { reference } => {
                let told = |step: crate::ports::PullProgress| {
                    if step.layer.is_empty() {
                        self.progress.say(&step.status);
                    }
                };
                self.engine.pull(reference, &told).await.map_err(failed)
            }
            Action::RenderRoutes { routes } => {
                self.router_folders()?;
                let router = self.router(&change())?;
                let applied = router.apply(routes).await;
                applied.map_err(|source| ConvergeError::Router {
                    change: change(),
                    source,
                })
            }
            Action::CreateContainer { service, spec } => self.create(service, spec).await.map_err(|e| e.or(failed)),
            Action::StartContainer { name, .. } => {
                let container = self.named(name).await.map_err(failed)?;
                self.engine.start_container(&container.id).await.map_err(failed)
            }
            Action::RecreateContainer {
                service,
                id,
                grace,
                spec,
            } => {
                self.remove(id, *grace).await.map_err(failed)?;
                self.create(service, spec).await.map_err(|e| e.or(failed))
            }
            Action::RestartContainer { id, grace, .. } => {
                self.engine
                    .stop_container(id, grace.map(Span::std))
                    .await
                    .map_err(failed)?;
                self.engine.start_container(id).await.map_err(failed)
            }
            Action::RemoveContainer { id, grace, .. } => self.remove(id, *grace).await.map_err(failed),
            Action::WaitFor {
                service,
                condition,
                containers,
            } => {
                for name in containers {
                    self.wait(service.as_str(), name, *condition)
                        .await
                        .map_err(|e| e.or(failed))?;
                }
                Ok(())
            }
            Action::Point {
                service,
                colour,
                network,
                containers,
            } => {
                let mut addresses = Vec::new();
                for name in containers {
                    addresses.push(self.address(name, network).await.map_err(failed)?);
                }
                let router = self.router(&change())?;
                let refused = |source| ConvergeError::Router {
                    change: change(),
                    source,
                };
                let deadline = Instant::now() + self.patience.router;
                patiently(deadline, || router.point(service, *colour, &addresses))
                    .await
                    .map_err(refused)?;
                self.serves(router, service, *colour, containers)
                    .await
                    .map_err(|trouble| match trouble {
                        Unready::Router(source) => refused(source),
                        Unready::Other(trouble) => trouble.or(failed),
                    })
            }
            Action::RemoveNetwork { name } => self.engine.remove_network(name).await.map_err(failed),
            Action::RemoveVolume { name } => self.engine.remove_volume(name).await.map_err(failed),
        }
    }

    fn router(&self, change: &str) -> Result<&dyn Router, ConvergeError> {
        self.router.ok_or_else(|| ConvergeError::Impossible {
            change: change.to_owned(),
            why: "no router is connected; only a project with a released service has one".into(),
        })
    }

    /// The folders the router's container is given, owned by its user.
    fn router_folders(&self) -> Result<(), ConvergeError> {
        for (folder, mode) in [(&self.folders.router_config, 0o755), (&self.folders.router_run, 0o770)] {
            make_folder(folder, mode).map_err(|source| host("create", folder, source))?;
            std::os::unix::fs::chown(folder, Some(ROUTER_ID), Some(ROUTER_ID))
                .map_err(|source| host("give the router", folder, source))?;
        }
        Ok(())
    }

    async fn named(&self, name: &str) -> Result<Container, EngineError> {
        self.engine.container(name).await?.ok_or_else(|| EngineError::NotFound {
            what: format!("container {name}"),
        })
    }

    async fn create(&self, service: &str, spec: &ContainerSpec) -> Result<(), Trouble> {
        if service == ROUTER {
            self.router_folders()?;
        }
        match self.engine.create_container(spec).await {
            Ok(_) => Ok(()),
            Err(EngineError::Conflict { what }) => {
                let made_before = |container: &Container| {
                    [labels::PROJECT, labels::SPEC_HASH]
                        .iter()
                        .all(|key| container.label(key) == spec.labels.get(*key).map(String::as_str))
                };
                match self.engine.container(&spec.name).await? {
                    Some(container) if made_before(&container) => Ok(()),
                    _ => Err(EngineError::Conflict { what }.into()),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, id: &ContainerId, grace: Option<Span>) -> Result<(), EngineError> {
        self.engine.stop_container(id, grace.map(Span::std)).await?;
        self.engine.remove_container(id).await
    }

    async fn wait(&self, service: &str, name: &str, condition: Condition) -> Result<(), Trouble> {
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
            pause = (pause * 3 / 2).min(Duration::from_millis(500));
        }
    }

    /// Until the router's own checks find every container it was just given healthy.
    async fn serves(
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
    async fn address(&self, name: &str, network: &str) -> Result<IpAddr, EngineError> {
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

fn host(change: &'static str, path: &Path, source: io::Error) -> ConvergeError {
    ConvergeError::Host {
        change,
        path: path.to_path_buf(),
        source,
    }
}

/// Asks a router that may have just been started until it answers, whatever it answers, or the time is up.
async fn patiently<T, F>(deadline: Instant, mut ask: impl FnMut() -> F) -> Result<T, RouterError>
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

enum Unready {
    Router(RouterError),
    Other(Trouble),
}

/// An engine's error that still wants the name of the change, or one that is complete.
enum Trouble {
    Engine(EngineError),
    Told(ConvergeError),
}

impl Trouble {
    fn or(self, failed: impl FnOnce(EngineError) -> ConvergeError) -> ConvergeError {
        match self {
            Trouble::Engine(source) => failed(source),
            Trouble::Told(error) => error,
        }
    }
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Self {
        Trouble::Engine(error)
    }
}

impl From<ConvergeError> for Trouble {
    fn from(error: ConvergeError) -> Self {
        Trouble::Told(error)
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
            (Started, Exited, Some(0), Health::Unchecked, 0, false, true),
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
