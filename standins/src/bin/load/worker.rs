//! One keep-alive connection after another, one request at a time, none sent twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use standins::serve::VERSION_HEADER;
use standins::stop::Stopping;
use tokio::time::{sleep, sleep_until, timeout};

use crate::connect::Connector;
use crate::count::Count;

/// What all workers send, and how far they are together.
#[derive(Default)]
pub struct Plan {
    pub urls: Vec<Uri>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub post: Option<Post>,
    pub limit: u64,
    /// Requests a second over all workers.
    pub rate: Option<u32>,
    pub timeout: Duration,
    pub taken: AtomicU64,
    pub gone: AtomicU64,
}

pub struct Post {
    pub body: Bytes,
    pub headers: HashMap<HeaderName, HeaderValue>,
}

impl Plan {
    pub fn sent(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).min(self.limit)
    }

    pub fn lost(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }

    /// The number of the next request, or `None` when all were given out.
    fn take(&self) -> Option<u64> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.limit).then_some(number)
    }

    fn request(&self, url: &Uri) -> Result<Request<Full<Bytes>>, String> {
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let host = url.authority().map_or("", |authority| authority.as_str());
        let method = if self.post.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::builder().method(method).uri(path).header(HOST, host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut body = Bytes::new();
        if let Some(post) = &self.post {
            body = post.body.clone();
            for (name, value) in &post.headers {
                request = request.header(name, value);
            }
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }
}

type Sender = SendRequest<Full<Bytes>>;

/// Sends until the plan is used up or told to stop; a request that was begun is always waited for.
pub async fn run(plan: Arc<Plan>, connector: Arc<Connector>, mut stop: Stopping) -> Count {
    let mut count = Count::default();
    let mut open: HashMap<usize, Sender> = HashMap::new();
    let begun = tokio::time::Instant::now();
    while !stop.requested() {
        let Some(number) = plan.take() else { break };
        if let Some(rate) = plan.rate {
            let due = begun + Duration::from_secs_f64(number as f64 / f64::from(rate));
            tokio::select! {
                () = sleep_until(due) => {}
                () = stop.wait() => break,
            }
        }
        let which = usize::try_from(number).unwrap_or_default() % plan.urls.len();
        let asked = Instant::now();
        let lost = match timeout(plan.timeout, ask(&plan, &connector, which, &mut open, &mut count)).await {
            Ok(Ok((status, version))) => {
                count.answered(status, version, asked.elapsed());
                (!(200..400).contains(&status)).then(|| format!("status {status}"))
            }
            Ok(Err(why)) => Some(why),
            Err(_) => Some("timeout".to_owned()),
        };
        if let Some(why) = lost {
            // Whatever state the connection is in, the next request gets a new one.
            open.remove(&which);
            let refused = why.starts_with("connect");
            count.lost(why);
            plan.gone.fetch_add(1, Ordering::Relaxed);
            if refused {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
    count
}

async fn ask(
    plan: &Plan,
    connector: &Connector,
    which: usize,
    open: &mut HashMap<usize, Sender>,
    count: &mut Count,
) -> Result<(u16, Option<String>), String> {
    let url = &plan.urls[which];
    // A connection the server closed between two requests is replaced: no request was on it.
    let reusable = match open.remove(&which) {
        Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
        None => None,
    };
    let mut sender = match reusable {
        Some(sender) => sender,
        None => {
            let stream = connector.open(url).await?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| broke(&error))?;
            // How it ends shows in the request that was on it, or concerns none.
            tokio::spawn(connection);
            count.connections += 1;
            sender
        }
    };
    let answer = sender
        .send_request(plan.request(url)?)
        .await
        .map_err(|error| broke(&error))?;
    let status = answer.status().as_u16();
    let version = answer
        .headers()
        .get(VERSION_HEADER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| broke(&error))?;
    }
    open.insert(which, sender);
    Ok((status, version))
}

fn broke(error: &hyper::Error) -> String {
    let mut text = format!("connection broke: {error}");
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    text
}
