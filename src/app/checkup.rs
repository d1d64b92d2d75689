use std::sync::Arc;

use crate::http::AgentClient;
use crate::machine::ThisHost;
use crate::plan::{Plan, Wishes};
use crate::ports::{Clock, Engine, EngineError};
use crate::run::check::{self, Affairs, AgentState, EngineView, Finding, Scene, Severity, Subject};
use crate::run::{Ledger, OperationError, history};
use crate::state::{HostLock, LockError, ProjectFolder};

use super::{Project, SiteError, SystemClock, SystemEntropy};

impl Project {
    /// What is wrong with the configuration or this host, worst first; changes nothing.
    pub async fn check(&self) -> Vec<Finding> {
        let mut found = self.warnings();
        let (engine, plan) = match self.engine().await {
            Ok(engine) => {
                let (view, silent) = EngineView::ask(engine.as_ref(), self.stack(), &self.config).await;
                found.extend(silent);
                let plan = self.plan_of_up(engine).await.map_err(|error| found.extend(error)).ok();
                (Some(view), plan)
            }
            Err(error) => {
                found.push(no_engine(error));
                (None, None)
            }
        };
        let folder = ProjectFolder::named(&self.config.state, &self.stack().name);
        let scene = Scene {
            stack: self.stack(),
            config: &self.config,
            folder: &folder,
            machine: &ThisHost,
            now: SystemClock.now(),
            engine: engine.as_ref(),
            plan: plan.as_ref(),
        };
        found.extend(check::check(&scene, &self.affairs(&folder).await).await);
        check::sort(&mut found);
        found
    }

    fn warnings(&self) -> Vec<Finding> {
        let warnings = self.loaded.warnings.iter();
        warnings
            .map(|warning| {
                Finding::new(
                    Severity::Warning,
                    "compose-warning",
                    Subject::Project,
                    self.loaded.secrets.redact(&warning.to_string()),
                    "it is passed over, and the stack is what the rest of the file says",
                    "correct the Compose file, or the variables it reads",
                )
            })
            .collect()
    }

    /// What `up` would do now; `Err(None)` where a check of the files says already why that is unknown.
    async fn plan_of_up(&self, engine: Arc<dyn Engine>) -> Result<Plan, Option<Finding>> {
        let planned = async {
            let site = self.site_on(engine).await?;
            let observed = site.observe().await?;
            site.plan(&observed, Wishes::default()).await
        };
        match planned.await {
            Ok(plan) => Ok(plan),
            Err(SiteError::Desired(crate::plan::desired::DesiredError::ExternalFile { service, object })) => {
                Err(Some(Finding::new(
                    Severity::Error,
                    "external-file",
                    Subject::service(&service),
                    format!("{service} takes `{object}`, which is external"),
                    "arkwright reads secrets and configs from files; what would have to be done is not known before",
                    "give it a `file:`, `environment:` or `content:`",
                )))
            }
            Err(SiteError::Desired(_)) => Err(None),
            Err(error) => Err(Some(Finding::unchecked(
                Severity::Warning,
                "plan-unchecked",
                Subject::Project,
                "what `up` would do, and what keeps it from it",
                OperationError::new(crate::run::Blame::Host, error).message,
                "`arkwright plan` fails alike until this is mended",
            ))),
        }
    }

    async fn affairs(&self, folder: &ProjectFolder) -> Affairs {
        let text = |error: OperationError| error.message;
        let client = match AgentClient::find(&self.socket()).await {
            Ok(Some(client)) => client,
            other => {
                return Affairs {
                    agent: match other {
                        Err(error) => AgentState::Unreachable(text(error.into())),
                        Ok(_) => AgentState::Absent,
                    },
                    history: journals(folder).map_err(text),
                    driven: at_work(folder),
                };
            }
        };
        Affairs {
            agent: AgentState::Answers,
            history: client.history().await.map_err(|error| text(error.into())),
            driven: true,
        }
    }
}

fn journals(folder: &ProjectFolder) -> Result<Vec<crate::run::Receipt>, OperationError> {
    if !folder.root().join("journal").exists() {
        return Ok(Vec::new());
    }
    history(&Ledger {
        folder,
        clock: &SystemClock,
        entropy: &SystemEntropy,
    })
}

/// Nobody drives where the lock is free.
fn at_work(folder: &ProjectFolder) -> bool {
    folder.lock().exists()
        && matches!(
            HostLock::take(&folder.lock(), "arkwright check"),
            Err(LockError::Held { .. })
        )
}

fn no_engine(error: EngineError) -> Finding {
    let (what, remedy) = match error {
        EngineError::Unreachable { tried } if tried.contains("permission denied") => (
            format!("no engine answers at {tried}"),
            "run this as root, or name another engine's socket with --host or DOCKER_HOST",
        ),
        EngineError::Unreachable { tried } => (
            format!("no engine answers at {tried}"),
            "start Docker or Podman, or name its socket with --host or DOCKER_HOST",
        ),
        other => (
            OperationError::new(crate::run::Blame::Engine, other).message,
            "name the engine's socket with --host or DOCKER_HOST",
        ),
    };
    Finding {
        unchecked: true,
        ..Finding::new(
            Severity::Error,
            "engine-unreachable",
            Subject::Engine,
            what,
            "nothing of the stack can run; containers, images, ports, limits and memory could not be checked",
            remedy,
        )
    }
}
