use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::config::AgentConfig;
use crate::model::{Logins, OperationId, ProjectName, Timestamp};
use crate::run::{Blame, Host, OperationError, Operator, Order, Petition, Receipt, Schedules, Watch};

use super::{BuildError, LoadProjectError, Project, Selection};

/// A project whose files and edges are taken as they are at the time: read again before an operation begins, the engine
/// and the stores opened again whenever one is taken on. What is under way keeps the files it began with.
pub struct Living {
    selection: Selection,
    fixed: Fixed,
    /// Reads the journals.
    host: Host,
    read: Mutex<Arc<Project>>,
    begun: Mutex<BTreeMap<OperationId, Begun>>,
    /// What was logged of the files last, so that it is not logged at every look.
    said: Mutex<Option<String>>,
}

/// What an operation under way was begun with.
#[derive(Clone)]
struct Begun {
    project: Arc<Project>,
    logins: Logins,
}

/// What an agent takes from the files once, at its start.
#[derive(PartialEq)]
struct Fixed {
    name: ProjectName,
    state: PathBuf,
    agent: AgentConfig,
}

impl Fixed {
    fn of(project: &Project) -> Self {
        Fixed {
            name: project.stack().name.clone(),
            state: project.config.state.clone(),
            agent: project.config.agent.clone(),
        }
    }

    fn changed_in(&self, project: &Project) -> Vec<&'static str> {
        let now = Fixed::of(project);
        let kinds = [
            ("the project's name", self.name != now.name),
            ("`state`", self.state != now.state),
            ("`agent`", self.agent != now.agent),
        ];
        let changed = kinds.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(kind, _)| kind).collect()
    }
}

impl Living {
    pub async fn of(project: Project) -> Result<Self, BuildError> {
        let host = project.host().await?;
        Ok(Living {
            selection: project.selection.clone(),
            fixed: Fixed::of(&project),
            host,
            read: Mutex::new(Arc::new(project)),
            begun: Mutex::default(),
            said: Mutex::default(),
        })
    }

    /// The files as they could last be read.
    pub(super) fn last(&self) -> Arc<Project> {
        whole(&self.read).clone()
    }

    /// The files as they are.
    fn read(&self) -> Result<Arc<Project>, OperationError> {
        let (project, kept) = self.load().map_err(|e| OperationError::new(Blame::Input, e))?;
        let mut read = whole(&self.read);
        if read.loaded.stack != project.loaded.stack || read.config != project.config {
            tracing::info!("the project's files have changed, and hold from now on");
        }
        *read = Arc::new(project);
        let said = (!kept.is_empty()).then(|| kept.join(", "));
        if self.news(said.clone())
            && let Some(kept) = said
        {
            tracing::warn!("{kept} changed in the project's files; restart the agent, which goes by what was there");
        }
        Ok(read.clone())
    }

    /// The second says what stays as it was at the start.
    fn load(&self) -> Result<(Project, Vec<&'static str>), LoadProjectError> {
        let project = Project::load(&self.selection)?.with_config()?;
        let kept = self.fixed.changed_in(&project);
        if kept.is_empty() {
            return Ok((project, kept));
        }
        let selection = Selection {
            project_name: Some(self.fixed.name.to_string()),
            state: Some(self.fixed.state.clone()),
            ..self.selection.clone()
        };
        Ok((Project::load(&selection)?.with_config()?, kept))
    }

    /// The same, and where they cannot be read what they last said; the reason is logged once.
    fn read_or_last(&self) -> Arc<Project> {
        self.read().unwrap_or_else(|error| {
            if self.news(Some(error.message.clone())) {
                tracing::error!("the project's files cannot be used, and what they last said holds: {error}");
            }
            self.last()
        })
    }

    pub(super) async fn host(&self, project: &Project) -> Result<Host, OperationError> {
        project.host().await.map_err(|e| OperationError::new(Blame::Host, e))
    }

    fn news(&self, said: Option<String>) -> bool {
        let mut last = whole(&self.said);
        let news = *last != said;
        *last = said;
        news
    }
}

fn whole<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether there is nothing left to try again: it came to an end, or has no journal.
fn over(receipt: &Result<Receipt, OperationError>) -> bool {
    match receipt {
        Ok(receipt) => !receipt.open(),
        Err(error) => error.blame == Blame::NotFound,
    }
}

#[async_trait]
impl Operator for Living {
    async fn begin(&self, id: &OperationId, order: &Order, by: &str, logins: &Logins) -> Result<(), OperationError> {
        let project = match order.moves() {
            true => self.read()?,
            // Others come by themselves as well: a slip in a file must not cost a night's backup.
            false => self.read_or_last(),
        };
        self.host(&project).await?.begin(id, order, by, logins).await?;
        let logins = logins.clone();
        whole(&self.begun).insert(id.clone(), Begun { project, logins });
        Ok(())
    }

    async fn finish(
        &self,
        id: &OperationId,
        watch: &dyn Watch,
        petitions: mpsc::Receiver<Petition>,
    ) -> Result<Receipt, OperationError> {
        let begun = whole(&self.begun).get(id).cloned();
        let begun = begun.unwrap_or_else(|| Begun {
            project: self.last(),
            logins: Logins::default(),
        });
        let ended = async {
            let host = self.host(&begun.project).await?;
            host.given.hold(&begun.logins);
            host.finish(id, watch, petitions).await
        }
        .await;
        let receipt = match &ended {
            Ok(receipt) => Ok(receipt.clone()),
            Err(_) => self.host.receipt(id),
        };
        if over(&receipt) {
            whole(&self.begun).remove(id);
        }
        ended
    }

    fn receipt(&self, id: &OperationId) -> Result<Receipt, OperationError> {
        self.host.receipt(id)
    }

    fn history(&self) -> Result<Vec<Receipt>, OperationError> {
        self.host.history()
    }

    fn unfinished(&self) -> Result<Vec<(OperationId, &'static str)>, OperationError> {
        self.host.unfinished()
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Order>, OperationError> {
        self.host.due(now).await
    }

    fn scheduled(&self) -> Schedules {
        Schedules::of(&self.read_or_last().config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::{self, DrillStep};

    const CONFIG: &str = "state: ./state\nbackups:\n  recipients: []\n  stores: { local: { path: ./backups } }\n  \
                          sets: { data: { schedule: '0 2 * * *', sources: [{ path: ./data }] } }\n\
                          drills:\n  weekly: { of: data, checks: [{ sqlite: data/app.db, integrity: true }] }\n";

    struct Deaf;

    impl Watch for Deaf {
        fn hear(&self, _: crate::run::News) {}
    }

    #[tokio::test]
    async fn what_it_was_begun_with_is_held_until_there_is_nothing_to_try_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let compose = "name: ark\nservices: { web: { image: web } }\n";
        std::fs::write(path("compose.yaml"), compose).expect("written");
        std::fs::write(path("arkwright.yaml"), CONFIG).expect("written");
        let selection = Selection {
            files: vec![path("compose.yaml")],
            host: Some(format!("unix://{}", path("none.sock").display())),
            ..Selection::default()
        };
        let living = Living::of(Project::load(&selection).expect("a project"))
            .await
            .expect("alive");
        let id: OperationId = "20261120T120000Z-000001".parse().expect("an id");
        let project = living.last();
        let planned = drill::plan(
            &id,
            "weekly",
            &project.config,
            project.stack(),
            Timestamp::UNIX_EPOCH,
            &mut |_| {},
        );
        let (subject, plan) = planned.expect("a plan");
        let ledger = living.host.ledger();
        ledger.begin::<DrillStep>(&id, subject, plan, "a test").expect("begun");
        let logins = Logins::default();
        whole(&living.begun).insert(id.clone(), Begun { project, logins });
        let finish = async || living.finish(&id, &Deaf, mpsc::channel(1).1).await;
        finish().await.expect_err("no engine");
        assert!(whole(&living.begun).contains_key(&id), "it is tried again");
        std::fs::remove_dir_all(living.host.folder.root().join("journal")).expect("removed");
        let error = finish().await.expect_err("no journal");
        assert_eq!(error.blame, Blame::NotFound, "{error}");
        assert!(whole(&living.begun).is_empty());
    }
}
