//! A real S3 server (s3s: signatures are checked) in this process, and what can be made to go wrong with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arkwright::config::S3Config;
use arkwright::store::{Patience, S3Store};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;

use super::bucket::{Kept, Settings};

pub const ACCESS_KEY: &str = "ARKTESTACCESS";
pub const SECRET_KEY: &str = "ark-test-secret-that-nobody-may-see";

type AnyBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// What happens to a request instead of its answer, or to the answer.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// Answered with a status and a code, and not performed.
    Refuse(u16, &'static str),
    /// The connection is cut before anything is done.
    Reset,
    /// Performed, and the connection cut before the answer.
    Lost,
    /// Never answered.
    Silence,
    /// So many bytes of the answer, then the connection is cut.
    Cut(usize),
    /// So many bytes of the answer, then nothing.
    Stall(usize),
    /// Refused as too far from the server's time, which is this many seconds ahead.
    Clock(i64),
}

struct Planned {
    method: Method,
    part: &'static str,
    trouble: Trouble,
    times: usize,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub target: String,
    pub headers: hyper::HeaderMap,
}

#[derive(Default)]
struct Script {
    planned: Vec<Planned>,
    seen: Vec<Seen>,
}

pub struct Server {
    pub endpoint: String,
    pub settings: Arc<Mutex<Settings>>,
    folder: tempfile::TempDir,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("objects/ark-backups")).expect("a bucket");
        let text = format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n");
        std::fs::write(folder.path().join("credentials"), text).expect("written");
        let settings: Arc<Mutex<Settings>> = Arc::default();
        let files = s3s_fs::FileSystem::new(folder.path().join("objects")).expect("a file system");
        let mut builder = S3ServiceBuilder::new(Kept::new(files, settings.clone()));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let script: Arc<Mutex<Script>> = Arc::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(listen(listener, service, script.clone()));
        Server {
            endpoint,
            settings,
            folder,
            script,
        }
    }

    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("objects/ark-backups")
    }

    pub fn credentials(&self) -> PathBuf {
        self.folder.path().join("credentials")
    }

    /// Where uploads are remembered.
    pub fn unfinished(&self) -> PathBuf {
        self.folder.path().join("unfinished")
    }

    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().expect("the settings")
    }

    /// `more` as in arkwright.yaml.
    pub fn config(&self, more: serde_json::Value) -> S3Config {
        let mut config = serde_json::json!({
            "bucket": "ark-backups",
            "prefix": "ark/host-1",
            "endpoint": self.endpoint,
            "path_style": true,
            "credentials": { "file": self.credentials() },
        });
        let all = config.as_object_mut().expect("an object");
        all.extend(more.as_object().cloned().unwrap_or_default());
        let config: S3Config = serde_json::from_value(config).expect("a configuration");
        config.checked().expect("a configuration that makes sense");
        config
    }

    pub fn store_with(&self, more: serde_json::Value) -> S3Store {
        S3Store::open_patiently(self.config(more), "/".as_ref(), Some(self.unfinished()), None, hasty())
    }

    pub fn store_at(&self, at: arkwright::model::Timestamp) -> S3Store {
        S3Store::open_patiently(
            self.config(serde_json::json!({})),
            "/".as_ref(),
            None,
            Some(at),
            hasty(),
        )
    }

    pub fn store(&self) -> S3Store {
        self.store_with(serde_json::json!({}))
    }

    /// For requests of a method whose target holds `part`.
    pub fn plan(&self, method: Method, part: &'static str, trouble: Trouble, times: usize) {
        self.script.lock().expect("the script").planned.push(Planned {
            method,
            part,
            trouble,
            times,
        });
    }

    /// Whether all that was planned came to pass.
    pub fn played(&self) -> bool {
        self.script
            .lock()
            .expect("the script")
            .planned
            .iter()
            .all(|planned| planned.times == 0)
    }

    pub fn clear(&self) {
        *self.script.lock().expect("the script") = Script::default();
    }

    pub fn seen(&self, method: Method, part: &str) -> Vec<Seen> {
        let script = self.script.lock().expect("the script");
        let fits = |seen: &&Seen| seen.method == method && seen.target.contains(part);
        script.seen.iter().filter(fits).cloned().collect()
    }
}

/// Enough for a server in the same process.
pub fn hasty() -> Patience {
    Patience {
        connect: Duration::from_secs(1),
        attempt: Duration::from_secs(2),
        stall: Duration::from_millis(500),
        deadline: Duration::from_secs(10),
        tries: 4,
        backoff: Duration::from_millis(10),
    }
}

async fn listen(listener: TcpListener, service: S3Service, script: Arc<Mutex<Script>>) {
    while let Ok((socket, _)) = listener.accept().await {
        let (service, script) = (service.clone(), script.clone());
        tokio::spawn(async move {
            let answering = service_fn(move |request| {
                let (service, script) = (service.clone(), script.clone());
                async move { answer(request, &service, &script).await }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // A connection that is cut ends with an error here.
            connection.serve_connection(TokioIo::new(socket), answering).await.ok();
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    script: &Mutex<Script>,
) -> Result<Response<AnyBody>, std::io::Error> {
    let (method, target) = (request.method().clone(), request.uri().to_string());
    let trouble = {
        let mut script = script.lock().expect("the script");
        script.seen.push(Seen {
            method: method.clone(),
            target: target.clone(),
            headers: request.headers().clone(),
        });
        let fits =
            |planned: &&mut Planned| planned.times > 0 && planned.method == method && target.contains(planned.part);
        script.planned.iter_mut().find(fits).map(|planned| {
            planned.times -= 1;
            planned.trouble.clone()
        })
    };
    let cut = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    match trouble {
        Some(Trouble::Refuse(status, code)) => return Ok(refusal(request, status, code).await),
        Some(Trouble::Clock(ahead)) => {
            let mut refused = refusal(request, 403, "RequestTimeTooSkewed").await;
            let date = chrono::Utc::now() + chrono::TimeDelta::seconds(ahead);
            let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            refused.headers_mut().insert("date", date.parse().expect("a header"));
            return Ok(refused);
        }
        Some(Trouble::Reset) => return Err(cut()),
        Some(Trouble::Silence) => std::future::pending::<()>().await,
        _ => {}
    }
    let (head, body) = request.into_parts();
    let answered = service.call(Request::from_parts(head, s3s::Body::from(body))).await;
    let answered = answered.map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    let (head, body) = answered.into_parts();
    let body = body.map_err(unreadable);
    Ok(match trouble {
        Some(Trouble::Lost) => {
            body.collect().await?;
            return Err(cut());
        }
        Some(Trouble::Cut(bytes)) => {
            let whole = body.collect().await?.to_bytes();
            let kept = [Ok(Frame::data(whole.slice(..bytes.min(whole.len()))))];
            // The head and these bytes get out first.
            let cut = stream::once(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(cut())
            });
            spoilt(head, whole.len(), stream::iter(kept).chain(cut))
        }
        Some(Trouble::Stall(bytes)) => {
            let whole = body.collect().await?.to_bytes();
            let kept = [Ok(Frame::data(whole.slice(..bytes.min(whole.len()))))];
            spoilt(head, whole.len(), stream::iter(kept).chain(stream::pending()))
        }
        _ => Response::from_parts(head, body.boxed_unsync()),
    })
}

fn unreadable(error: s3s::StdError) -> std::io::Error {
    std::io::Error::other(error)
}

fn spoilt(
    mut head: hyper::http::response::Parts,
    length: usize,
    frames: impl stream::Stream<Item = std::io::Result<Frame<Bytes>>> + Send + 'static,
) -> Response<AnyBody> {
    head.headers.insert("content-length", length.into());
    Response::from_parts(head, StreamBody::new(frames).boxed_unsync())
}

async fn refusal(request: Request<Incoming>, status: u16, code: &str) -> Response<AnyBody> {
    let head = *request.method() == Method::HEAD;
    // What was sent is read: the connection stays whole.
    request.into_body().collect().await.ok();
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as planned</Message></Error>");
    let body = if head { Bytes::new() } else { Bytes::from(text) };
    let body = Full::new(body).map_err(|never: Infallible| match never {});
    let refused = Response::builder().status(status).body(body.boxed_unsync());
    refused.expect("an answer")
}

/// Names of what is in the bucket, with the bytes of each.
pub fn tree(server: &Server) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let root = server.objects();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(&root).expect("below").display().to_string();
                found.insert(name, std::fs::read(&path).expect("read"));
            }
        }
    }
    found
}
