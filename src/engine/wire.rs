use std::path::PathBuf;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::ports::EngineError;

/// The most bytes of one answer: a list of several thousand containers stays below.
const LARGEST: usize = 64 << 20;
/// The most bytes of one line of a streamed answer.
const LARGEST_LINE: usize = 1 << 20;

/// What a registry is shown, passed on by the engine.
pub(super) const AUTH: &str = "x-registry-auth";

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Address {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Address {
    pub fn parse(host: &str) -> Result<Self, EngineError> {
        if let Some(path) = host.strip_prefix("unix://").filter(|path| path.starts_with('/')) {
            return Ok(Address::Unix(path.into()));
        }
        if let Some(authority) = host.strip_prefix("tcp://").filter(|authority| !authority.is_empty()) {
            return Ok(Address::Tcp(authority.trim_end_matches('/').to_owned()));
        }
        Err(EngineError::Unsupported {
            what: format!("be reached at `{host}`"),
            why: "write unix:///path/to/the.sock or tcp://host:port".into(),
        })
    }
}

/// One GET a connection; `Ok(Err(message))` is the engine's refusal, `Ok(Ok(None))` a 404.
pub(super) async fn get(
    address: &Address,
    path_and_query: &str,
    limit: Duration,
) -> Result<Result<Option<Value>, String>, EngineError> {
    get_with(address, path_and_query, None, limit).await
}

/// The same with what a registry is shown, in the engine's own encoding.
pub(super) async fn get_with(
    address: &Address,
    path_and_query: &str,
    auth: Option<&str>,
    limit: Duration,
) -> Result<Result<Option<Value>, String>, EngineError> {
    let what = || format!("GET {}", path_and_query.split('?').next().unwrap_or_default());
    let asked = async {
        let request = request(Method::GET, path_and_query, auth)?;
        match address {
            Address::Unix(path) => ask(UnixStream::connect(path).await?, request).await,
            Address::Tcp(authority) => ask(TcpStream::connect(authority).await?, request).await,
        }
    };
    let (status, body) = tokio::time::timeout(limit, asked)
        .await
        .map_err(|_| EngineError::Timeout {
            what: what(),
            seconds: limit.as_secs(),
        })?
        .map_err(|source| EngineError::Broken { what: what(), source })?;
    if status == StatusCode::NOT_FOUND || gone(status, &body) {
        return Ok(Ok(None));
    }
    if !status.is_success() {
        return Ok(Err(format!("{} {}", status.as_u16(), message(&body))));
    }
    match serde_json::from_slice(&body) {
        Ok(value) => Ok(Ok(Some(value))),
        Err(error) => Err(EngineError::Broken {
            what: what(),
            source: Box::new(error),
        }),
    }
}

/// What the engine calls itself in its answer to a ping: `Docker/20.10.24 (linux)`, `Libpod/4.3.1 (linux)`.
pub(super) async fn server(address: &Address, limit: Duration) -> Result<String, Cause> {
    let asked = async {
        let request = request(Method::GET, "/_ping", None)?;
        reach(address, request).await
    };
    let response = tokio::time::timeout(limit, asked).await??;
    if !response.status().is_success() {
        return Err(response.status().to_string().into());
    }
    let said = response.headers().get("server").map(|said| said.to_str());
    Ok(said.transpose()?.unwrap_or_default().to_owned())
}

/// Podman 4.3 answers 500 where something goes away while it is looked at: `container … does not exist in database: no
/// such container`.
fn gone(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::INTERNAL_SERVER_ERROR && message(body).contains(": no such ")
}

fn request(method: Method, path_and_query: &str, auth: Option<&str>) -> Result<Request<Empty<Bytes>>, Cause> {
    let mut request = Request::builder()
        .method(method)
        .uri(path_and_query)
        .header("host", "engine")
        .header("connection", "close");
    if let Some(auth) = auth {
        let mut value = hyper::header::HeaderValue::from_str(auth)?;
        value.set_sensitive(true);
        request = request.header(AUTH, value);
    }
    Ok(request.body(Empty::new())?)
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Bytes), Cause> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST).collect().await?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection's end wakes the exchange with the rest of the body or the error.
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.into()),
        },
    }
}

/// A streamed answer: one JSON value a line.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    pending: BytesMut,
}

/// One POST without a body, on a connection of its own that ends when the lines are dropped; `Ok(Err(message))` is the
/// engine's refusal.
pub(super) async fn post(
    address: &Address,
    path_and_query: &str,
    auth: Option<&str>,
) -> Result<Result<Lines, String>, Cause> {
    lines(address, request(Method::POST, path_and_query, auth)?).await
}

/// The same for what an engine tells for as long as it is listened to.
pub(super) async fn follow(address: &Address, path_and_query: &str) -> Result<Result<Lines, String>, Cause> {
    lines(address, request(Method::GET, path_and_query, None)?).await
}

async fn lines(address: &Address, request: Request<Empty<Bytes>>) -> Result<Result<Lines, String>, Cause> {
    let response = reach(address, request).await?;
    if response.status().is_success() {
        let (body, pending) = (response.into_body(), BytesMut::new());
        return Ok(Ok(Lines { body, pending }));
    }
    let body = Limited::new(response.into_body(), LARGEST_LINE)
        .collect()
        .await?
        .to_bytes();
    Ok(Err(message(&body)))
}

/// Sends a request on a connection of its own.
async fn reach(address: &Address, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Cause> {
    match address {
        Address::Unix(path) => send(UnixStream::connect(path).await?, request).await,
        Address::Tcp(authority) => send(TcpStream::connect(authority).await?, request).await,
    }
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, Cause> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection to the engine ended: {error}");
        }
    });
    Ok(sender.send_request(request).await?)
}

impl Lines {
    /// `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Value>, Cause> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let line = self.pending.split_to(end);
                self.pending.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.pending.len() > LARGEST_LINE {
                return Err("a line without an end".into());
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.pending.extend_from_slice(&data);
                    }
                }
                None if self.pending.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Ok(Some(serde_json::from_slice(&self.pending.split())?)),
            }
        }
    }
}

/// The engines put their reason in `message` (Podman also in `cause`).
fn message(body: &[u8]) -> String {
    let parsed: Option<String> = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    let text = parsed.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned());
    text.chars().take(2000).collect()
}

/// Whether a name can be asked for at all: the engines redirect away from empty and walking segments.
pub(super) fn askable(name: &str) -> bool {
    !name.is_empty() && name.len() <= 1024 && !name.contains('/') && name != "." && name != ".."
}

/// One path segment or query value; everything but unreserved characters is escaped.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_unix_or_tcp() {
        assert_eq!(
            Address::parse("unix:///run/x.sock").expect("unix"),
            Address::Unix("/run/x.sock".into())
        );
        assert_eq!(
            Address::parse("tcp://10.0.0.1:2375/").expect("tcp"),
            Address::Tcp("10.0.0.1:2375".into())
        );
        for bad in ["", "unix://", "unix://relative", "ssh://host", "tcp://", "/run/x.sock"] {
            let error = Address::parse(bad).expect_err(bad);
            assert!(matches!(error, EngineError::Unsupported { .. }), "{bad}");
        }
    }

    #[test]
    fn nothing_in_a_name_leaves_its_segment() {
        assert_eq!(escape("a/../b?x=1#y é"), "a%2F..%2Fb%3Fx%3D1%23y%20%C3%A9");
    }

    #[test]
    fn what_went_away_while_it_was_looked_at_is_not_there() {
        let vanished = br#"{"cause":"no such container","message":"container 16 does not exist in database: no such container","response":500}"#;
        assert!(gone(StatusCode::INTERNAL_SERVER_ERROR, vanished));
        assert!(!gone(StatusCode::CONFLICT, vanished));
        assert!(!gone(
            StatusCode::INTERNAL_SERVER_ERROR,
            br#"{"message":"the database is locked"}"#
        ));
    }

    #[test]
    fn a_refusal_says_what_the_engine_said() {
        assert_eq!(
            message(br#"{"message":"no such thing","response":404}"#),
            "no such thing"
        );
        assert_eq!(message(b"  Not Found\n"), "Not Found");
        assert_eq!(message(br#"{"message":5}"#), r#"{"message":5}"#);
    }
}
