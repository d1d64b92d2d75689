use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::Instant;

use crate::journal::Request;
use crate::model::{OperationId, Timestamp};
use crate::run::agent::{Accepted, Submission};
use crate::run::{Blame, News, OperationError, Receipt, Watch};

use super::api::{About, Asked};

/// How long an answer may take; the agent itself gives up a little earlier.
const LONGEST: Duration = Duration::from_secs(70);
/// How long the news may be silent; the agent gives a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How long an agent that went away may take to come back, as it does when it is upgraded.
const ABSENCE: Duration = Duration::from_secs(120);
const BETWEEN: Duration = Duration::from_secs(1);
/// Bytes of one answer.
const LARGEST: usize = 64 << 20;
/// Bytes of one line of news.
const LARGEST_LINE: usize = 4 << 20;

/// Speaks to a project's agent over its socket.
#[derive(Clone, Debug)]
pub struct AgentClient {
    socket: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no agent answers on {socket}; start one with `arkwright agent`")]
    Absent { socket: PathBuf },
    #[error(
        "the socket {socket} may not be used by this user; add the user to the group of `agent: {{ group: … }}` in arkwright.yaml"
    )]
    Forbidden { socket: PathBuf },
    #[error("the connection to the agent on {socket} broke")]
    Broken {
        socket: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(
        "what answers on {socket} is not an agent this arkwright understands: {why}; use the same version on both ends"
    )]
    Garbled { socket: PathBuf, why: String },
    #[error(transparent)]
    Refused(OperationError),
}

impl From<ClientError> for OperationError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(error) => error,
            other => OperationError::new(Blame::Host, other),
        }
    }
}

impl AgentClient {
    /// A client of the agent that listens on `socket`, whether or not there is one.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        AgentClient { socket: socket.into() }
    }

    /// `None` where no agent lives there; an error where one may and cannot be asked.
    pub async fn find(socket: &Path) -> Result<Option<Self>, ClientError> {
        let client = Self::at(socket);
        match client.about().await {
            Ok(_) => Ok(Some(client)),
            Err(ClientError::Absent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn about(&self) -> Result<About, ClientError> {
        self.get("/v1/about").await
    }

    pub async fn submit(&self, submission: &Submission) -> Result<Accepted, ClientError> {
        let response = self
            .send(Method::POST, "/v1/orders", Some(self.encode(submission)?))
            .await?;
        self.decode(response).await
    }

    pub async fn receipt(&self, id: &OperationId) -> Result<Receipt, ClientError> {
        self.get(&format!("/v1/operations/{id}")).await
    }

    /// Every operation, oldest first, and what waits for its turn.
    pub async fn history(&self) -> Result<Vec<Receipt>, ClientError> {
        self.get("/v1/operations").await
    }

    /// Those without an end.
    pub async fn under_way(&self) -> Result<Vec<Receipt>, ClientError> {
        self.get("/v1/operations?open").await
    }

    pub async fn request(&self, id: &OperationId, request: Request, by: &str) -> Result<(), ClientError> {
        let asked = Asked {
            request,
            by: by.to_owned(),
        };
        let path = format!("/v1/operations/{id}/requests");
        let response = self.send(Method::POST, &path, Some(self.encode(&asked)?)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        self.decode::<serde_json::Value>(response).await?;
        Err(self.garbled("an answer of the wrong kind"))
    }

    /// Hears an operation to its end from wherever it stands; outlives a restart of the agent.
    pub async fn follow(&self, id: &OperationId, watch: &dyn Watch) -> Result<Receipt, ClientError> {
        let mut heard = Heard {
            watch,
            last: None,
            repeating: false,
        };
        let mut lost: Option<Instant> = None;
        loop {
            let error = match self.listen(id, &mut heard, &mut lost).await {
                Ok(Some(receipt)) => return Ok(receipt),
                // The agent stopped in good order, and the operation waits for it.
                Ok(None) => ClientError::Absent {
                    socket: self.socket.clone(),
                },
                Err(error @ (ClientError::Absent { .. } | ClientError::Broken { .. })) => error,
                Err(error) => return Err(error),
            };
            if lost.get_or_insert_with(Instant::now).elapsed() > ABSENCE {
                return Err(error);
            }
            heard.repeating = true;
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn listen(
        &self,
        id: &OperationId,
        heard: &mut Heard<'_>,
        lost: &mut Option<Instant>,
    ) -> Result<Option<Receipt>, ClientError> {
        let response = self
            .send(Method::GET, &format!("/v1/operations/{id}/news"), None)
            .await?;
        if response.status() != StatusCode::OK {
            self.decode::<serde_json::Value>(response).await?;
            return Err(self.garbled("an answer of the wrong kind"));
        }
        let mut body = response.into_body();
        let mut pending = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame())
                .await
                .map_err(|silent| self.broken(silent))?;
            let Some(frame) = frame else { return Ok(None) };
            *lost = None;
            if let Ok(data) = frame.map_err(|e| self.broken(e))?.into_data() {
                pending.extend_from_slice(&data);
            }
            while let Some(end) = pending.iter().position(|b| *b == b'\n') {
                let line = pending.split_to(end);
                pending.advance(1);
                if line.is_empty() {
                    continue;
                }
                let news = serde_json::from_slice(&line).map_err(|e| self.garbled(&e.to_string()))?;
                match news {
                    News::Ended(receipt) => return Ok(Some(*receipt)),
                    News::Broken(error) => return Err(ClientError::Refused(error)),
                    News::Update(update) => heard.hear(update),
                }
            }
            if pending.len() > LARGEST_LINE {
                return Err(self.garbled("a line without an end"));
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let response = self.send(Method::GET, path, None).await?;
        self.decode(response).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Response<Incoming>, ClientError> {
        tokio::time::timeout(LONGEST, self.exchange(method, path, body))
            .await
            .map_err(|late| self.broken(late))?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::Absent {
                    socket: self.socket.clone(),
                },
                io::ErrorKind::PermissionDenied => ClientError::Forbidden {
                    socket: self.socket.clone(),
                },
                _ => self.broken(error),
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to the agent ended: {error}");
            }
        });
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "agent")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| self.broken(error))?;
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    fn encode(&self, value: &impl Serialize) -> Result<Bytes, ClientError> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| self.broken(error))
    }

    async fn decode<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<T, ClientError> {
        let status = response.status();
        let body = tokio::time::timeout(LONGEST, Limited::new(response.into_body(), LARGEST).collect())
            .await
            .map_err(|late| self.broken(late))?
            .map_err(|source| ClientError::Broken {
                socket: self.socket.clone(),
                source,
            })?
            .to_bytes();
        if !status.is_success() {
            let error = serde_json::from_slice(&body).map_err(|_| self.garbled(&format!("status {status}")))?;
            return Err(ClientError::Refused(error));
        }
        serde_json::from_slice(&body).map_err(|error| self.garbled(&error.to_string()))
    }

    fn broken(&self, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            source: source.into(),
        }
    }

    fn garbled(&self, why: &str) -> ClientError {
        ClientError::Garbled {
            socket: self.socket.clone(),
            why: why.to_owned(),
        }
    }
}

/// What was passed on already is not passed on again when a new connection begins at the beginning.
struct Heard<'a> {
    watch: &'a dyn Watch,
    last: Option<Timestamp>,
    repeating: bool,
}

impl Heard<'_> {
    fn hear(&mut self, update: crate::run::Update) {
        let known = self.last.is_some_and(|last| update.at <= last);
        if self.repeating && known {
            return;
        }
        self.repeating = false;
        self.last = Some(self.last.map_or(update.at, |last| last.max(update.at)));
        self.watch.hear(News::Update(update));
    }
}
