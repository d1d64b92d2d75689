//! One HTTP/1.1 request over one connection.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Sends `request` (its URI absolute, `http` only) and returns status and body.
///
/// The error is a sentence for a log; whether the server acted on the request is then unknown.
pub async fn send(request: Request<Full<Bytes>>, patience: Duration) -> Result<(u16, Bytes), String> {
    match timeout(patience, exchange(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    }
}

async fn exchange(request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String> {
    let (mut head, body) = request.into_parts();
    if head.uri.scheme_str() != Some("http") {
        return Err("only http:// can be asked".to_owned());
    }
    let authority = head.uri.authority().ok_or("the URL has no host")?.clone();
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect: {error}"))?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse::<Uri>().map_err(|error| error.to_string())?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
    head.headers.insert(header::HOST, host);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Its error, if any, also reaches the request below.
    let connection = tokio::spawn(connection);
    let answer = async {
        let answer = sender
            .send_request(Request::from_parts(head, body))
            .await
            .map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    }
    .await;
    connection.abort();
    answer
}
