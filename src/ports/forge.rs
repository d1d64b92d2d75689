use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Where a release is announced: GitHub's deployments.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The deployment's id.
    async fn create_deployment(&self, deployment: &NewDeployment) -> Result<u64, ForgeError>;
    /// `description` is cut at 140 characters, the most the API takes.
    async fn set_state(&self, id: u64, state: DeploymentState, description: &str) -> Result<(), ForgeError>;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewDeployment {
    pub git_ref: String,
    pub environment: String,
    pub description: String,
    /// Log address shown beside the statuses.
    pub log_url: Option<String>,
    pub production: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    InProgress,
    Success,
    Failure,
    Error,
    Inactive,
}

#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    #[error("GitHub refused to {what}: {status} {message}")]
    Refused {
        what: &'static str,
        status: u16,
        message: String,
    },
    #[error("GitHub did not answer when asked to {what}; it can be tried again")]
    Unreachable {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("GitHub's answer when asked to {what} was not understood: {answer}")]
    Garbled { what: &'static str, answer: String },
}
