//! Stand-in for the LINE service: signed webhooks in, photos handed to the back end by way of a Redis queue.

mod handover;
mod queue;
mod standby;
mod webhook;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use standins::metrics::{self, family, sample};
use standins::serve::Common;
use standins::{echo, health, secret, serve};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::handover::Handover;
use crate::queue::Queue;
use crate::standby::Standby;

/// Longest drain after SIGTERM, for requests and for photos in hand.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest webhook body taken, in bytes.
const MAX_WEBHOOK: usize = 1024 * 1024;
/// Photos handed over at once.
const WORKERS: usize = 4;

struct Line {
    common: Arc<Common>,
    channel_secret: String,
    queue: Queue,
    handover: Handover,
    standby: Standby,
    webhooks: Tally,
    photos: Tally,
}

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    failed: AtomicU64,
}

type Shared = State<Arc<Line>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(url) = health::asked(&arguments) {
        return health::check(url).await;
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("line-service: {why}");
            ExitCode::FAILURE
        }
    }
}

fn required(name: &str) -> Result<String, String> {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("{name} is not set"))
}

async fn run() -> Result<(), String> {
    let common = Common::start(3000).await?;
    let line = Arc::new(Line {
        channel_secret: required("LINE_CHANNEL_SECRET")?,
        queue: Queue::from_env()?,
        handover: Handover::new(&required("MEMORYARK_API_URL")?, &required("MEMORYARK_API_TOKEN")?)?,
        standby: Standby::from_env(),
        webhooks: Tally::default(),
        photos: Tally::default(),
        common: Arc::clone(&common),
    });
    let routes = Router::new()
        .route("/webhook/line", post(receive))
        .route("/worker", get(answer_worker))
        .route("/worker/pause", post(pause))
        .route("/worker/resume", post(resume))
        .route("/health", get(answer_health))
        .route("/version", get(answer_version))
        .route("/ws", get(socket))
        .route("/metrics", get(answer_metrics))
        .layer(DefaultBodyLimit::max(MAX_WEBHOOK))
        .with_state(Arc::clone(&line));
    let app = common.wrap(routes);
    let listener = common.listen().await?;
    eprintln!("line-service {} listens", common.version);
    common.arm();

    let mut workers = JoinSet::new();
    let begin = Arc::new(Barrier::new(WORKERS + 1));
    workers.spawn(reclaim(Arc::clone(&line), Arc::clone(&begin)));
    for _ in 0..WORKERS {
        workers.spawn(work(Arc::clone(&line), Arc::clone(&begin)));
    }
    workers.spawn(keep_claims(Arc::clone(&line)));
    let mut stopping = common.stop.stopping();
    let photos_done = async {
        let all = async {
            while let Some(ended) = workers.join_next().await {
                if let Err(error) = ended {
                    eprintln!("line-service: a worker broke: {error}");
                }
            }
        };
        // Until asked to end the workers never return, so only the time after that counts.
        stopping.wait().await;
        if timeout(DRAIN, all).await.is_err() {
            eprintln!("line-service: photos in hand stay in Redis for the next instance");
        }
    };
    let (served, ()) = tokio::join!(serve::run(&common, listener, app, DRAIN), photos_done);
    served
}

/// Queues again what this container had in hand when it was last ended, then lets the workers begin.
async fn reclaim(line: Arc<Line>, begin: Arc<Barrier>) {
    let stopping = line.common.stop.stopping();
    while !stopping.requested() {
        match line.queue.reclaim().await {
            Ok(0) => break,
            Ok(count) => {
                eprintln!("line-service: {count} photos were in hand at the last end and are queued again");
                break;
            }
            Err(why) => {
                eprintln!("line-service: {why}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    begin.wait().await;
}

/// Hands over photos until asked to end.
async fn work(line: Arc<Line>, begin: Arc<Barrier>) {
    begin.wait().await;
    let mut stopping = line.common.stop.stopping();
    let mut taker = line.queue.taker();
    while !stopping.requested() {
        let turn = tokio::select! {
            turn = line.standby.turn() => turn,
            () = stopping.wait() => break,
        };
        let item = tokio::select! {
            // A take that is dropped half way has either not begun, or left its item with our claims.
            item = taker.take() => item,
            () = stopping.wait() => break,
        };
        drop(turn);
        let item = match item {
            Ok(Some(item)) => item,
            Ok(None) => continue,
            Err(why) => {
                eprintln!("line-service: cannot take from the queue: {why}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        if let Err(why) = line.queue.note(&line.common.version, &item).await {
            eprintln!("line-service: photo {item} is not in the ledger: {why}");
        }
        let done = match line.handover.deliver(&item).await {
            Ok(()) => {
                line.photos.ok.fetch_add(1, Ordering::Relaxed);
                line.queue.done(&item).await
            }
            Err(why) => {
                line.photos.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("line-service: photo {item} goes back to the queue: {why}");
                line.queue.put_back(&item).await
            }
        };
        if let Err(why) = done {
            // The item is still claimed; delivering a photo twice is harmless, losing one is not.
            eprintln!("line-service: photo {item} stays claimed: {why}");
        }
    }
}

/// Tells Redis this instance lives, and returns to the queue what instances that no longer do had claimed.
async fn keep_claims(line: Arc<Line>) {
    let mut stopping = line.common.stop.stopping();
    loop {
        match line.queue.keep_claims().await {
            Ok(0) => {}
            Ok(count) => eprintln!("line-service: {count} photos of an instance that is gone are queued again"),
            Err(why) => eprintln!("line-service: cannot renew the claims: {why}"),
        }
        let pause = tokio::time::sleep(queue::RENEW);
        tokio::select! {
            () = pause => {}
            () = stopping.wait() => return,
        }
    }
}

async fn receive(State(line): Shared, headers: HeaderMap, body: Bytes) -> Response {
    let presented = headers
        .get("x-line-signature")
        .map_or(&b""[..], |value| value.as_bytes());
    if !secret::line_signature_holds(line.channel_secret.as_bytes(), &body, presented) {
        line.webhooks.failed.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::UNAUTHORIZED, "wrong signature\n").into_response();
    }
    let photos = match webhook::photos(&body) {
        Ok(photos) => photos,
        Err(error) => {
            line.webhooks.failed.fetch_add(1, Ordering::Relaxed);
            return (StatusCode::BAD_REQUEST, format!("not a webhook: {error}\n")).into_response();
        }
    };
    if let Err(why) = line.queue.push(&photos).await {
        // LINE sends it again.
        line.webhooks.failed.fetch_add(1, Ordering::Relaxed);
        eprintln!("line-service: {why}");
        return (StatusCode::SERVICE_UNAVAILABLE, "the queue does not answer\n").into_response();
    }
    line.webhooks.ok.fetch_add(1, Ordering::Relaxed);
    Json(json!({ "queued": photos.len() })).into_response()
}

async fn pause(State(line): Shared) -> Response {
    line.standby.pause().await;
    answer_worker(State(line)).await
}

async fn resume(State(line): Shared) -> Response {
    line.standby.resume();
    answer_worker(State(line)).await
}

async fn answer_worker(State(line): Shared) -> Response {
    Json(json!({ "paused": line.standby.paused() })).into_response()
}

async fn answer_health(State(line): Shared) -> Response {
    let redis = line.queue.ping().await;
    let (status, word) = match (&redis, line.common.switches.unhealthy) {
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
        (Err(_), _) => (StatusCode::SERVICE_UNAVAILABLE, "Redis does not answer"),
        (Ok(()), false) => (StatusCode::OK, "ok"),
    };
    (status, Json(json!({ "status": word, "version": line.common.version }))).into_response()
}

async fn answer_version(State(line): Shared) -> Response {
    Json(json!({ "service": "line-service", "version": line.common.version })).into_response()
}

async fn answer_metrics(State(line): Shared) -> Response {
    let length = line.queue.length().await;
    let text = line.common.metrics.render(&line.common.version, |text| {
        for (name, help, tally) in [
            ("line_webhooks_total", "Webhooks received, by result.", &line.webhooks),
            (
                "line_photos_total",
                "Photos handed to the back end, by result.",
                &line.photos,
            ),
        ] {
            family(text, name, "counter", help);
            sample(text, name, &[("result", "ok")], tally.ok.load(Ordering::Relaxed) as f64);
            sample(
                text,
                name,
                &[("result", "failed")],
                tally.failed.load(Ordering::Relaxed) as f64,
            );
        }
        if let Ok(length) = length {
            family(text, "line_queue_length", "gauge", "Photos waiting in Redis.");
            sample(text, "line_queue_length", &[], length as f64);
        }
    });
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn socket(State(line): Shared, upgrade: WebSocketUpgrade) -> Response {
    let metrics = Arc::clone(&line.common.metrics);
    let stopping = line.common.stop.stopping();
    upgrade
        .max_message_size(echo::MAX_MESSAGE)
        .on_upgrade(move |socket| echo::run(socket, metrics, stopping))
}
