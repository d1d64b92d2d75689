//! One keep-alive connection after another, one request at a time, none sent twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

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
use crate::diary::Diary;

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
    /// How far away the server is said to be: waited before a request is sent and after its answer is there.
    pub delay: Duration,
    /// Time counts from when a request was due, also when no connection was free then.
    pub from_due: bool,
    pub diary: Diary,
    pub taken: AtomicU64,
    pub gone: AtomicU64,
}

pub struct Post {
    pub body: Bytes,
    /// Ends every body with the request's number, so that no two are the same.
    pub numbered: bool,
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

    /// Addresses take turns.
    fn which(&self, number: u64) -> usize {
        usize::try_from(number).unwrap_or_default() % self.urls.len()
    }

    fn request(&self, url: &Uri, number: u64) -> Result<Request<Full<Bytes>>, String> {
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
            if post.numbered {
                body = [&body[..], number.to_string().as_bytes()].concat().into();
            }
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
        let mut due = None;
        if let Some(rate) = plan.rate {
            let then = begun + Duration::from_secs_f64(number as f64 / f64::from(rate));
            tokio::select! {
                () = sleep_until(then) => {}
                () = stop.wait() => break,
            }
            due = plan.from_due.then_some(then.into_std());
        }
        let sent = SystemTime::now();
        let asked = due.unwrap_or_else(Instant::now);
        let lost = match timeout(plan.timeout, ask(&plan, &connector, number, &mut open, &mut count)).await {
            Ok(Ok((status, version))) => {
                plan.diary.answered(sent, status, version.as_deref());
                // Without a version it was somebody on the way who answered.
                let from = version.as_deref().unwrap_or("nobody");
                let wrong = (!(200..400).contains(&status)).then(|| format!("status {status} from {from}"));
                count.answered(status, version, asked.elapsed());
                wrong
            }
            Ok(Err(why)) => Some(why),
            Err(_) => Some("timeout".to_owned()),
        };
        if let Some(why) = lost {
            // Whatever state the connection is in, the next request gets a new one.
            open.remove(&plan.which(number));
            let refused = why.starts_with("connect");
            plan.diary.lost(sent, &why);
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
    number: u64,
    open: &mut HashMap<usize, Sender>,
    count: &mut Count,
) -> Result<(u16, Option<String>), String> {
    let which = plan.which(number);
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
    // From here on the request is on its way: whatever happens to the connection now happens to it.
    sleep_for(plan.delay).await;
    let answer = sender
        .send_request(plan.request(url, number)?)
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
    sleep_for(plan.delay).await;
    open.insert(which, sender);
    Ok((status, version))
}

async fn sleep_for(span: Duration) {
    if !span.is_zero() {
        sleep(span).await;
    }
}

fn broke(error: &hyper::Error) -> String {
    let mut text = format!("connection broke: {error}");
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    text
}
