use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Where a release is announced: GitHub's deployments. Nothing is sent twice, for the API is not idempotent.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The deployment's id.
    async fn create_deployment(&self, deployment: &NewDeployment) -> Result<u64, ForgeError>;
    async fn set_status(&self, id: u64, status: &DeploymentStatus) -> Result<(), ForgeError>;
}

/// Descriptions are cut at 140 characters, the most the API takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewDeployment {
    pub git_ref: String,
    /// `deploy` or `rollback`.
    pub task: String,
    pub environment: String,
    pub description: String,
    pub production: bool,
    /// Whether the environment will be gone one day, as one made for a pull request.
    pub transient: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentStatus {
    pub state: DeploymentState,
    pub description: String,
    /// Where what was deployed answers.
    pub environment_url: Option<String>,
    /// Where the log of the run is read.
    pub log_url: Option<String>,
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
    #[error("GitHub did not answer when asked to {what}; whether it did is not known")]
    Unreachable {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("GitHub's answer when asked to {what} was not understood: {answer}")]
    Garbled { what: &'static str, answer: String },
}
