//! Load over keep-alive connections that never send a request twice, and WebSockets that notice being cut.
//!
//! A request is lost when its connection breaks, when it is not answered in time, or when the answer is neither 2xx
//! nor 3xx. Nothing is tried again: what a browser or a proxy would hide shows here.

mod connect;
mod count;
mod diary;
mod sockets;
mod worker;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use standins::secret::line_signature;
use standins::serve::asked_to_end;
use standins::stop::Stop;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::connect::Connector;
use crate::count::{Count, SocketCount};
use crate::diary::Diary;
use crate::worker::{Plan, Post};

/// Longest run, whatever was asked for.
const MAX_DURATION: Duration = Duration::from_secs(600);
const MAX_REQUESTS: u64 = 1_000_000;
/// LINE's own test of a webhook address: accepted by the LINE service, and makes no work for the queue.
const EMPTY_WEBHOOK: &str = r#"{"destination":"load","events":[]}"#;

#[derive(Parser)]
#[command(about = "Sends load, never sends a request twice, prints one JSON object with what was lost")]
struct Arguments {
    /// Where to send requests; several take turns.
    #[arg(long = "url", required = true)]
    urls: Vec<Uri>,
    /// Keep-alive connections open at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Stop after so many requests.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_REQUESTS))]
    requests: Option<u64>,
    /// Stop after so long (30s, 5m); at most 10m.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Requests a second over all connections; as many as possible without it.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// With --rate: time counts from when a request was due, also when every connection was still busy then.
    #[arg(long, requires = "rate")]
    from_due: bool,
    /// How far away the server is said to be: waited before each request is sent and after each answer.
    #[arg(long, value_parser = duration)]
    delay: Option<Duration>,
    /// Write a line for every answer there: when it was sent and answered (microseconds since 1970), status, version.
    #[arg(long)]
    answers: Option<PathBuf>,
    /// Write a line for every lost request there: when it was sent and lost (microseconds since 1970), and why.
    #[arg(long)]
    losses: Option<PathBuf>,
    /// Send POST with a body instead of GET; signed as LINE signs when LINE_CHANNEL_SECRET is set.
    #[arg(long)]
    post: bool,
    /// The body of a POST.
    #[arg(long, default_value = EMPTY_WEBHOOK, requires = "post")]
    body: String,
    /// End each body with the request's number, so that no two are the same.
    #[arg(long, requires = "post")]
    numbered: bool,
    /// A header to send, as `name: value`.
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A request without an answer for so long is lost.
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// WebSockets to keep open beside the requests, each sending one echo a second.
    #[arg(long, default_value_t = 0, requires = "ws_url", value_parser = clap::value_parser!(u16).range(0..=1024))]
    websockets: u16,
    /// Where to open them: ws:// or wss://.
    #[arg(long)]
    ws_url: Option<Uri>,
    /// Certificates to trust for https and wss, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Connect here whatever the URLs say; their host still goes into the Host header and the TLS name.
    #[arg(long)]
    connect: Option<SocketAddr>,
    /// Stop when this file appears.
    #[arg(long)]
    stop_file: Option<PathBuf>,
    /// No progress on standard error; the result on one line.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration looks like 500ms, 30s or 5m".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let span = Duration::from_millis(number.checked_mul(unit).ok_or_else(wrong)?);
    if span.is_zero() || span > MAX_DURATION {
        return Err("between 1ms and 10m".to_owned());
    }
    Ok(span)
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header looks like `name: value`")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| format!("`{name}` is not a header name"))?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("`{value}` is not a header value"))?;
    Ok((name, value))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::from(2)
        }
    }
}

/// How many requests were lost.
async fn run(arguments: Arguments) -> Result<u64, String> {
    let connector = Arc::new(Connector::new(arguments.ca.as_deref(), arguments.connect)?);
    for url in arguments.urls.iter().chain(&arguments.ws_url) {
        connector.check(url)?;
    }
    let plan = Arc::new(Plan {
        urls: arguments.urls,
        headers: arguments.headers,
        post: arguments
            .post
            .then(|| post(arguments.body, arguments.numbered))
            .transpose()?,
        limit: arguments.requests.unwrap_or(MAX_REQUESTS),
        rate: arguments.rate,
        timeout: arguments.timeout,
        delay: arguments.delay.unwrap_or_default(),
        from_due: arguments.from_due,
        diary: Diary::open(arguments.answers.as_deref(), arguments.losses.as_deref())?,
        ..Plan::default()
    });
    // Without --requests or --duration the run ends at the caps, or when told to.
    let duration = arguments.duration.unwrap_or(MAX_DURATION);

    let begun = Instant::now();
    let stop = Stop::default();
    let mut workers = JoinSet::new();
    for _ in 0..arguments.connections {
        workers.spawn(worker::run(Arc::clone(&plan), Arc::clone(&connector), stop.stopping()));
    }
    let sockets = Arc::new(SocketCount::default());
    let mut echoes = JoinSet::new();
    if let Some(url) = arguments.ws_url {
        for number in 0..arguments.websockets {
            let task = sockets::run(
                url.clone(),
                number,
                Arc::clone(&connector),
                Arc::clone(&sockets),
                stop.stopping(),
            );
            echoes.spawn(task);
        }
    }

    let mut total = Count::default();
    let mut failure = None;
    let deadline = tokio::time::Instant::from_std(begun + duration);
    let mut ending = std::pin::pin!(async {
        tokio::select! {
            () = sleep_until(deadline) => Ok(()),
            signal = asked_to_end() => signal.map_err(|error| format!("cannot listen for signals: {error}")),
            () = appears(arguments.stop_file) => Ok(()),
        }
    });
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    ticks.tick().await;
    let mut asked = false;
    loop {
        tokio::select! {
            ended = &mut ending, if !asked => {
                failure = ended.err();
                asked = true;
                stop.now();
            }
            done = workers.join_next() => match done {
                Some(Ok(count)) => total.merge(count),
                Some(Err(error)) => failure = Some(format!("a worker broke: {error}")),
                None => break,
            },
            _ = ticks.tick(), if !arguments.json => {
                let sent = plan.sent();
                eprintln!("{:>4.0} s  {sent} requests, {} lost", begun.elapsed().as_secs_f64(), plan.lost());
            }
        }
    }
    let took = begun.elapsed();
    stop.now();
    while let Some(ended) = echoes.join_next().await {
        if let Err(error) = ended {
            failure = Some(format!("a WebSocket broke: {error}"));
        }
    }
    plan.diary.close()?;
    let report = total.report(took, &sockets);
    let text = if arguments.json {
        serde_json::to_string(&report)
    } else {
        serde_json::to_string_pretty(&report)
    };
    println!("{}", text.map_err(|error| error.to_string())?);
    match failure {
        Some(why) => Err(why),
        None => Ok(report.lost),
    }
}

fn post(body: String, numbered: bool) -> Result<Post, String> {
    let mut headers = HashMap::new();
    if let Ok(secret) = std::env::var("LINE_CHANNEL_SECRET") {
        if numbered {
            return Err("--numbered bodies are not signed: take LINE_CHANNEL_SECRET away".to_owned());
        }
        let signature = line_signature(secret.as_bytes(), body.as_bytes());
        let value = HeaderValue::from_str(&signature).map_err(|error| error.to_string())?;
        headers.insert(HeaderName::from_static("x-line-signature"), value);
    }
    Ok(Post {
        body: body.into(),
        numbered,
        headers,
    })
}

/// Resolves when the file exists; never without one.
async fn appears(file: Option<PathBuf>) {
    let Some(file) = file else {
        return std::future::pending().await;
    };
    while !file.exists() {
        sleep(Duration::from_millis(50)).await;
    }
}
