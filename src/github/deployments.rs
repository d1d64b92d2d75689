use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderName};
use octocrab::Octocrab;
use octocrab::service::middleware::retry::RetryConfig;
use serde::{Deserialize, Serialize};

use crate::ports::{DeploymentState, DeploymentStatus, Forge, ForgeError, NewDeployment};

const API: &str = "https://api.github.com";
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-github-api-version");
const VERSION: &str = "2022-11-28";
/// How long a request may take; a release never waits longer for GitHub.
const LONGEST: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const LARGEST: usize = 1 << 20;
/// Characters of a description, the API's own limit.
const DESCRIPTION: usize = 140;

/// Deployments and issues of one repository. Writes are sent once: the API would make a second deployment of a repeated one.
pub struct GitHub {
    client: Octocrab,
    /// `owner/name`.
    repository: String,
}

#[derive(Debug, thiserror::Error)]
#[error("no connection to GitHub can be set up; check GITHUB_API_URL and the host's certificates")]
pub struct GitHubError(#[source] octocrab::Error);

#[derive(Serialize)]
struct Create<'a> {
    #[serde(rename = "ref")]
    git_ref: &'a str,
    task: &'a str,
    environment: &'a str,
    description: String,
    /// What is deployed is what was asked for, never a merge GitHub makes on the way.
    auto_merge: bool,
    /// The workflow that calls this is a check of the commit itself and still runs.
    required_contexts: [&'static str; 0],
    production_environment: bool,
    transient_environment: bool,
}

#[derive(Deserialize)]
struct Created {
    id: u64,
}

#[derive(Serialize)]
struct Status<'a> {
    state: DeploymentState,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_url: Option<&'a str>,
    auto_inactive: bool,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

impl GitHub {
    /// `api` is `GITHUB_API_URL`, with the path a GitHub Enterprise Server has; `repository` is `owner/name`.
    pub fn new(api: Option<&str>, repository: &str, token: &str) -> Result<Self, GitHubError> {
        let client = Octocrab::builder()
            .base_uri(api.unwrap_or(API))
            .map_err(GitHubError)?
            .personal_token(token)
            .add_retry_config(RetryConfig::None)
            .add_header(ACCEPT, "application/vnd.github+json".to_owned())
            .add_header(VERSION_HEADER, VERSION.to_owned())
            .set_connect_timeout(Some(LONGEST))
            .build()
            .map_err(GitHubError)?;
        Ok(GitHub {
            client,
            repository: repository.to_owned(),
        })
    }

    /// Sends once and reads a bounded answer.
    pub(super) async fn post(
        &self,
        what: &'static str,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<(StatusCode, Bytes), ForgeError> {
        let unreachable = |source| ForgeError::Unreachable { what, source };
        let exchange = async {
            let response = self
                .client
                ._post(format!("/repos/{}{path}", self.repository), Some(body))
                .await
                .map_err(|error| unreachable(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok((status, body.map_err(unreachable)?.to_bytes()))
        };
        tokio::time::timeout(LONGEST, exchange)
            .await
            .map_err(|late| unreachable(late.into()))?
    }
}

#[async_trait]
impl Forge for GitHub {
    async fn create_deployment(&self, deployment: &NewDeployment) -> Result<u64, ForgeError> {
        let what = "create a deployment";
        let body = Create {
            git_ref: &deployment.git_ref,
            task: &deployment.task,
            environment: &deployment.environment,
            description: cut(&deployment.description),
            auto_merge: false,
            required_contexts: [],
            production_environment: deployment.production,
            transient_environment: deployment.transient,
        };
        let (status, answer) = self.post(what, "/deployments", &body).await?;
        match status {
            StatusCode::CREATED => match serde_json::from_slice(&answer) {
                Ok(Created { id }) => Ok(id),
                Err(_) => Err(garbled(what, &answer)),
            },
            // A 202 has a message and no deployment.
            _ => Err(refused(what, status, &answer)),
        }
    }

    async fn set_status(&self, id: u64, status: &DeploymentStatus) -> Result<(), ForgeError> {
        let what = "set a deployment's status";
        let body = Status {
            state: status.state,
            description: cut(&status.description),
            environment_url: status.environment_url.as_deref(),
            log_url: status.log_url.as_deref(),
            auto_inactive: true,
        };
        let (code, answer) = self.post(what, &format!("/deployments/{id}/statuses"), &body).await?;
        match code {
            // What is in the answer is not needed, so a state unknown here does no harm.
            StatusCode::CREATED => Ok(()),
            _ => Err(refused(what, code, &answer)),
        }
    }
}

pub(super) fn refused(what: &'static str, status: StatusCode, answer: &[u8]) -> ForgeError {
    let message = match serde_json::from_slice(answer) {
        Ok(Message { message }) => shown(&message),
        Err(_) => shown(&String::from_utf8_lossy(answer)),
    };
    ForgeError::Refused {
        what,
        status: status.as_u16(),
        message,
    }
}

pub(super) fn garbled(what: &'static str, answer: &[u8]) -> ForgeError {
    ForgeError::Garbled {
        what,
        answer: shown(&String::from_utf8_lossy(answer)),
    }
}

/// An answer's beginning, on one line.
fn shown(text: &str) -> String {
    text.chars()
        .take(300)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.chars().count() > DESCRIPTION {
        true => line.chars().take(DESCRIPTION - 1).chain(['…']).collect(),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_cut_by_characters() {
        assert_eq!(cut("a\nb"), "a b");
        assert_eq!(cut(&"漢".repeat(140)).chars().count(), 140);
        let long = cut(&"漢".repeat(141));
        assert_eq!(long.chars().count(), 140);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_refusal_tells_githubs_words_on_one_line() {
        let error = refused(
            "x",
            StatusCode::FORBIDDEN,
            br#"{"message":"Resource not\naccessible","status":"403"}"#,
        );
        assert_eq!(error.to_string(), "GitHub refused to x: 403 Resource not accessible");
        let html = refused("x", StatusCode::BAD_GATEWAY, b"<html>\xff");
        assert!(html.to_string().contains("502 <html>"));
    }
}
