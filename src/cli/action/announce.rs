use std::time::Duration;

use crate::github::{Context, GitHub, Runner};
use crate::ports::{DeploymentState, DeploymentStatus, Forge};
use crate::run::StepFailed;

use super::account::Account;
use super::request::Requested;

const TITLE: &str = "GitHub Deployment";
/// What a step that is being ended has left for GitHub.
pub(super) const HURRY: Duration = Duration::from_millis(1200);

/// The GitHub Deployment of a step that has a token. GitHub's refusals are warnings: they never change the outcome.
pub(super) struct Announcer<'a> {
    runner: &'a Runner,
    made: Option<(GitHub, u64)>,
    url: Option<String>,
    log_url: Option<String>,
}

impl<'a> Announcer<'a> {
    /// Makes the deployment and says that it has begun.
    pub async fn begin(runner: &'a Runner, context: &Context, requested: &Requested) -> Self {
        let mut announcer = Announcer {
            runner,
            made: None,
            url: requested.url.clone(),
            log_url: context.run_url(),
        };
        let Some(announcement) = &requested.announcement else {
            return announcer;
        };
        let api = context.api_url.as_deref();
        let github = match GitHub::new(api, &announcement.repository, &announcement.token) {
            Ok(github) => github,
            Err(error) => {
                announcer.warn(StepFailed::from(error));
                return announcer;
            }
        };
        match github.create_deployment(&announcement.deployment).await {
            Ok(id) => announcer.made = Some((github, id)),
            Err(error) => announcer.warn(StepFailed::from(error)),
        }
        let begun = announcement.deployment.description.clone();
        announcer.say(DeploymentState::InProgress, begun).await;
        announcer
    }

    /// One that announces nothing.
    pub fn silent(runner: &'a Runner) -> Self {
        Announcer {
            runner,
            made: None,
            url: None,
            log_url: None,
        }
    }

    pub fn id(&self) -> Option<u64> {
        self.made.as_ref().map(|(_, id)| *id)
    }

    pub async fn end(&self, account: &Account) {
        self.say(account.state(), account.headline()).await;
    }

    /// The same for a step that has hardly any time left.
    pub async fn end_in_a_hurry(&self, account: &Account) {
        if tokio::time::timeout(HURRY, self.end(account)).await.is_err() {
            tracing::debug!("GitHub was too slow to be told");
        }
    }

    async fn say(&self, state: DeploymentState, description: String) {
        let Some((github, id)) = &self.made else { return };
        let status = DeploymentStatus {
            state,
            description,
            environment_url: self.url.clone(),
            log_url: self.log_url.clone(),
        };
        if let Err(error) = github.set_status(*id, &status).await {
            self.warn(StepFailed::from(error));
        }
    }

    fn warn(&self, error: StepFailed) {
        self.runner
            .warning(TITLE, &format!("{error}; the release goes on without it"));
    }
}
