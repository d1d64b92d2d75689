use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_util::stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::journal::Request;
use crate::model::{OperationId, ProjectName};
use crate::run::agent::{Agent, Follower, Submission};
use crate::run::{Blame, News, OperationError};

use super::serve::Peer;

/// The largest body that is read, in bytes; an order is a few hundred.
const LARGEST: usize = 64 << 10;
/// How long an answer may take, the news of an operation apart.
const LONGEST: Duration = Duration::from_secs(60);
/// An empty line is sent when there was no news for so long: both ends learn that the other is there.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Characters of what a client says of itself.
const LONGEST_NAME: usize = 200;

/// What `GET /v1/about` tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub project: ProjectName,
    pub version: String,
}

/// What `POST /v1/operations/{id}/requests` takes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub request: Request,
    pub by: String,
}

#[derive(Clone)]
struct Served {
    agent: Agent,
    about: About,
}

/// The routes of the agent's API; served to whoever the socket's mode lets in.
pub fn api(agent: Agent, project: ProjectName) -> Router {
    let about = About {
        project,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Router::new()
        .route("/v1/about", get(tell_about))
        .route("/v1/orders", post(order))
        .route("/v1/operations", get(operations))
        .route("/v1/operations/{id}", get(operation))
        .route("/v1/operations/{id}/news", get(news))
        .route("/v1/operations/{id}/requests", post(request))
        .fallback(async || Refusal(OperationError::because(Blame::NotFound, "the API has no such path")))
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn(in_time))
        .with_state(Served { agent, about })
}

async fn in_time(request: axum::extract::Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal(OperationError::because(Blame::Busy, "the agent did not answer in time")).into_response(),
    }
}

async fn tell_about(State(served): State<Served>) -> Json<About> {
    Json(served.about)
}

async fn order(
    State(served): State<Served>,
    Extension(peer): Extension<Peer>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, Refusal> {
    let mut submission: Submission = strict(body)?;
    if submission.order.privileged() && !peer.may_do_anything() {
        let why = "an emergency, removing snapshots, and a deploy that overrides what stands against it, are for root on this host";
        return Err(Refusal(OperationError::because(Blame::Refused, why)));
    }
    submission.by = signed(peer, &submission.by);
    if submission.key.as_ref().is_some_and(|key| key.len() > 4 * LONGEST_NAME) {
        return Err(Refusal(OperationError::because(Blame::Input, "`key` is too long")));
    }
    let accepted = served.agent.submit(submission).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// `?open`: only those without an end.
async fn operations(State(served): State<Served>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let open = query.as_deref() == Some("open");
    let found = blocking(move || match open {
        true => served.agent.under_way(),
        false => served.agent.history(),
    });
    Ok(Json(found.await?).into_response())
}

async fn operation(State(served): State<Served>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = named(&id)?;
    let receipt = blocking(move || served.agent.receipt(&id)).await?;
    Ok(Json(receipt).into_response())
}

async fn request(
    State(served): State<Served>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let id = named(&id)?;
    let asked: Asked = strict(body)?;
    if !peer.may_do_anything() {
        let (agent, of) = (served.agent.clone(), id.clone());
        let receipt = blocking(move || agent.receipt(&of)).await?;
        if receipt.kind == "emergency" {
            let why = "an emergency is steered by root on this host";
            return Err(Refusal(OperationError::because(Blame::Refused, why)));
        }
    }
    let by = signed(peer, &asked.by);
    served.agent.request(&id, asked.request, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One JSON object a line until the operation's end, empty lines between as a sign of life; a stream that ends without
/// an end was cut off by the agent's own.
async fn news(State(served): State<Served>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let id = named(&id)?;
    let follower = blocking(move || served.agent.follow(&id)).await?;
    let lines = stream::unfold(follower, |mut follower| async move {
        let line = line(&mut follower).await?;
        Some((line, follower))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

async fn line(follower: &mut Follower) -> Option<Result<Bytes, serde_json::Error>> {
    let Ok(news) = tokio::time::timeout(HEARTBEAT, follower.next()).await else {
        return Some(Ok(Bytes::from_static(b"\n")));
    };
    let encode = |news: &News| {
        let mut line = serde_json::to_vec(news)?;
        line.push(b'\n');
        Ok(line.into())
    };
    Some(encode(&news?))
}

/// Journals are files: reading many of them must not hold up the others.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, OperationError> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Refusal(OperationError::new(Blame::Failed, error))),
    }
}

fn named(id: &str) -> Result<OperationId, Refusal> {
    id.parse()
        .map_err(|error| Refusal(OperationError::new(Blame::NotFound, error)))
}

fn strict<T: DeserializeOwned>(body: Result<Bytes, axum::extract::rejection::BytesRejection>) -> Result<T, Refusal> {
    let bytes = body.map_err(|error| Refusal(OperationError::new(Blame::Input, error)))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let refused = OperationError::new(Blame::Input, error);
        Refusal(refused.hinted("client and agent are of different versions, or the request is not one of arkwright's"))
    })
}

/// The kernel's word on who it was, then the client's own, on one line.
fn signed(Peer(uid): Peer, by: &str) -> String {
    let clean: String = by.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    match uid {
        Some(uid) if clean == format!("uid {uid}") => format!("{clean} via socket"),
        Some(uid) => format!("uid {uid} via socket: {clean}"),
        None => clean,
    }
}

struct Refusal(OperationError);

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        Refusal(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.blame {
            Blame::Input => StatusCode::UNPROCESSABLE_ENTITY,
            Blame::NotFound => StatusCode::NOT_FOUND,
            Blame::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Blame::Failed | Blame::Stuck | Blame::Refused => StatusCode::CONFLICT,
            Blame::Engine => StatusCode::BAD_GATEWAY,
            Blame::Host | Blame::Damaged => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_the_kernels_word_and_one_line() {
        assert_eq!(
            signed(Peer(Some(1001)), "evil\nuid 0 via socket: root"),
            "uid 1001 via socket: eviluid 0 via socket: root"
        );
        assert_eq!(signed(Peer(Some(0)), "uid 0"), "uid 0 via socket");
        assert!(signed(Peer(Some(1)), &"x".repeat(10_000)).len() < 300);
    }
}
