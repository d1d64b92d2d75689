use std::sync::Arc;

use crate::http::AgentClient;
use crate::machine::ThisHost;
use crate::plan::{Plan, Wishes};
use crate::ports::{Clock, Engine, EngineError};
use crate::run::check::{self, Affairs, AgentState, EngineView, Finding, Scene, Severity, Subject};
use crate::run::{Blame, Ledger, OperationError, Receipt, history};
use crate::state::{HostLock, ProjectFolder};

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
                OperationError::new(Blame::Host, error).message,
                "`arkwright plan` fails alike until this is mended",
            ))),
        }
    }

    async fn affairs(&self, folder: &ProjectFolder) -> Affairs {
        let text = |error: OperationError| error.message;
        let agent = match AgentClient::find(&self.socket()).await {
            Ok(Some(client)) => {
                return Affairs {
                    agent: AgentState::Answers,
                    history: client.history().await.map_err(|error| text(error.into())),
                    driven: true,
                };
            }
            Ok(None) => AgentState::Absent,
            Err(error) => AgentState::Unreachable(text(error.into())),
        };
        let history = journals(folder).map_err(text);
        let open = |receipts: &Vec<Receipt>| receipts.iter().any(Receipt::under_way);
        Affairs {
            agent,
            driven: history.as_ref().is_ok_and(open) && at_work(folder),
            history,
        }
    }
}

fn journals(folder: &ProjectFolder) -> Result<Vec<Receipt>, OperationError> {
    match folder.root().join("journal").try_exists() {
        Ok(false) => Ok(Vec::new()),
        Ok(true) => history(&Ledger {
            folder,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }),
        Err(error) => Err(OperationError::new(Blame::Host, error)),
    }
}

/// Nobody drives where the lock is free.
fn at_work(folder: &ProjectFolder) -> bool {
    HostLock::is_free(&folder.lock()).is_ok_and(|free| !free)
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
            OperationError::new(Blame::Engine, other).message,
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
