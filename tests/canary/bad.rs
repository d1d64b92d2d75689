//! A version that fails at 5 %: it is taken back in seconds, and few ever met it.

use std::time::Duration;

use arkwright::model::Colour;

use crate::diary::{between, hold};
use crate::load::{Clients, Who};
use crate::stage::{Setting, Stage, everywhere};

/// `every` and `window` of the gates.
const EVERY: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);
/// What looks and turns may take besides, also on a host that has other things to do.
const BUSY: Duration = Duration::from_secs(3);
/// Clients that ask ten times a second each.
const CLIENTS: usize = 32;
const PAUSE: Duration = Duration::from_millis(100);
const GATES: &str = "\
    errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 20, every: 1s, window: 5s }, \
    latency: { source: router, metric: p95, max: 500ms, abort_over: 1s, min_requests: 20, every: 1s, window: 5s }, \
    memory: { source: engine, metric: memory, max: 70%, abort_over: 80%, every: 1s, window: 5s }";

/// A version that fails in one way.
struct Bad {
    version: &'static str,
    gates: &'static str,
    /// Until it begins to fail, or until that can be seen.
    after: Duration,
    /// What the receipt has to say.
    because: &'static [&'static str],
}

async fn taken_back(bad: Bad) {
    everywhere(async |engine, host| one(&bad, engine, &host).await).await;
}

async fn one(bad: &Bad, engine: &str, host: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let setting = Setting {
        service: "mem_limit: 96m",
        release: &format!("steps: [{{ weight: 5, hold: 60s }}], gates: [{}]", bad.gates),
        gates: GATES,
    };
    let stage = Stage::up(folder.path(), host, setting).await;
    let clients = Clients::start(stage.at, CLIENTS, PAUSE);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let receipt = stage.deploy(1, bad.version).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answers = clients.stop().await;

    let because = receipt["because"].as_str().expect("a reason");
    println!("{engine}, {}: {because}", bad.version);
    assert_eq!(receipt["outcome"], "rolled_back", "{receipt}");
    for part in bad.because {
        assert!(because.contains(part), "{engine}: `{because}` without `{part}`");
    }

    let diary = stage.diary();
    let held = between(diary.began(hold), diary.failed());
    let (from, to) = diary.exposed();
    println!("  held for {held}, exposed for {}", between(from, to));
    assert!(held.std() <= bad.after + WINDOW + EVERY + BUSY, "{engine}: {held}");
    assert!(
        between(diary.failed(), to).std() < BUSY,
        "{engine}: {}",
        between(diary.failed(), to)
    );

    // One that was asked just before the first share may be answered by it.
    let (mut asked, mut by_new, mut spoilt) = (0, 0, 0);
    for answer in &answers {
        let during = answer.asked >= from && answer.asked <= to;
        asked += u64::from(during);
        match &answer.who {
            Who::Old => {}
            Who::New => by_new += 1,
            Who::Spoilt => (by_new, spoilt) = (by_new + 1, spoilt + 1),
            Who::Lost(_) => {}
        }
        assert!(
            answer.who == Who::Old || answer.asked <= to,
            "{engine}: after it was taken back: {answer:?}"
        );
    }
    let lost: Vec<&str> = answers
        .iter()
        .filter_map(|answer| match &answer.who {
            Who::Lost(why) => Some(why.as_str()),
            _ => None,
        })
        .collect();
    println!(
        "  of {asked} requests {by_new} by the new version, {spoilt} of them spoilt; {} lost: {lost:?}",
        lost.len()
    );
    assert!(by_new <= asked / 20 + 2, "{engine}: {by_new} of {asked}");
    let counted = &receipt["detail"]["counted"];
    let failures = |colour: &str| {
        ["responses_5xx", "connection_failures", "response_errors"]
            .map(|figure| counted[colour][figure].as_u64().expect("a figure"))
            .iter()
            .sum::<u64>()
    };
    assert_eq!(failures("from"), 0, "{engine}: {counted}");
    assert!(
        (lost.len() as u64 + spoilt) <= failures("to"),
        "{engine}: only it loses requests: {lost:?} of {counted}"
    );
    assert_eq!(stage.containers(Colour::Green).await, [""; 0]);
    assert_eq!(stage.version().await.as_deref(), Some("1.0.0"));
    stage.end(&["1.0.0", bad.version]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_answers_errors() {
    taken_back(Bad {
        version: "1.1.0-errors",
        gates: "errors, latency",
        after: Duration::ZERO,
        because: &["gate errors: error_rate", " requests, over abort_over 5 %"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_slow() {
    taken_back(Bad {
        version: "1.1.0-slow",
        gates: "errors, latency",
        // Its answers.
        after: Duration::from_secs(2),
        because: &["gate latency: p95 ", " requests, over abort_over 1 s"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_ends_again_and_again() {
    taken_back(Bad {
        version: "1.1.0-crash",
        gates: "memory",
        // It ends six seconds after its start.
        after: Duration::from_secs(6),
        because: &["green is not healthy: ", "web", "again"],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_eats_its_memory() {
    taken_back(Bad {
        version: "1.1.0-leak",
        gates: "errors, memory",
        // Four fifths of 96 MiB, eight a second.
        after: Duration::from_secs(10),
        because: &["gate memory: memory ", "%, over abort_over 80 %"],
    })
    .await;
}
