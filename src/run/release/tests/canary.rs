//! Canaries by simulated time: hours of holds, their gates scripted, the same driver and journal as on a host.

use tokio::sync::{mpsc, oneshot};

use super::world::Edge;
use super::*;
use crate::journal::Illegal;
use crate::model::{OperationId, Timestamp};
use crate::release::{Finding, Look, Reading};
use crate::run::{News, Petition, Watch, drive};
use crate::state::JournalFile;

struct Deaf;

impl Watch for Deaf {
    fn hear(&self, _: News) {}
}

/// The plan of the example: 5 % for a quarter of an hour, 25 and 50 for half an hour each, ten minutes to settle.
const PLAN: &str = "steps: [{ weight: 5, hold: 15m }, { weight: 25, hold: 30m }, { weight: 50, hold: 30m }], settle: 10m, \
                    gates: [errors, latency]";
pub(super) const GATES: &str = "gates:\n  \
    errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 50, every: 5s, window: 60s }\n  \
    latency: { source: router, metric: p95, max: 2s, abort_over: 5s }\n";

pub(super) fn seen(value: f64, requests: u64) -> Look {
    Look::Seen(Reading {
        value,
        other: None,
        requests: Some(requests),
    })
}

/// A canary whose gates are well.
fn canary(more: &str) -> Stage {
    let stage = stage_with(Swap::Overlap, &format!("{PLAN}{more}"), GATES);
    stage.shows("errors", seen(0.2, 900));
    stage.shows("latency", seen(0.3, 900));
    stage
}

/// What asks while it runs, each at its time after the beginning.
pub(super) type Script = Vec<(Span, Asks)>;
pub(super) type Asks = Box<dyn Fn(&Edge, &mpsc::Sender<Petition>) -> Option<oneshot::Receiver<Result<(), Illegal>>>>;

pub(super) fn request(request: Request) -> Asks {
    Box::new(move |_, sender| {
        let (answer, answered) = oneshot::channel();
        let (request, by) = (request.clone(), "someone".to_owned());
        let petition = Petition { request, by, answer };
        sender.try_send(petition).unwrap_or_else(|_| panic!("there is room"));
        Some(answered)
    })
}

pub(super) fn shows(gate: &'static str, look: Look) -> Asks {
    Box::new(move |edge, _| {
        edge.world().readings.insert(gate.to_owned(), look.clone());
        None
    })
}

impl Stage {
    pub(super) fn shows(&self, gate: &str, look: Look) {
        self.edge.world().readings.insert(gate.to_owned(), look);
    }

    /// Drives a deployment to its end; how long it took.
    async fn drive(&mut self, script: Script) -> (Saga<ReleaseStep>, Outcome, Span) {
        self.drive_order(&deploy("app:2"), script).await
    }

    pub(super) async fn drive_order(&mut self, order: &Order, script: Script) -> (Saga<ReleaseStep>, Outcome, Span) {
        let (subject, plan) = self.plan(order).await.expect("a plan");
        let begun = self.edge.now();
        let planned = Event::Planned {
            subject,
            plan,
            by: "a test".into(),
        };
        let id = OperationId::new(begun, [1, 2]);
        let path = self._folder.path().join("a.release");
        let mut journal = JournalFile::create(&path, begun, planned).expect("a journal");
        let (sender, mut petitions) = mpsc::channel(4);
        let edge = self.edge.clone();
        let acting = async {
            let start = tokio::time::Instant::now();
            for (when, asks) in script {
                tokio::time::sleep_until(start + when.std()).await;
                if let Some(answered) = asks(&edge, &sender) {
                    assert_eq!(answered.await.expect("an answer"), Ok(()), "at {when}");
                }
            }
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            outcome = drive(&id, &mut journal, &self.performer, &self.edge, &Deaf, &mut petitions) => outcome,
            () = acting => unreachable!(),
        };
        let took = Span::from((self.edge.now() - begun).to_std().expect("forward"));
        let replayed = JournalFile::<ReleaseStep>::open(&path).expect("it reads back");
        assert_eq!(replayed.saga(), journal.saga());
        (journal.saga().clone(), outcome.expect("an end"), took)
    }
}

pub(super) fn minutes(n: u64) -> Span {
    Span::seconds(n * 60)
}

/// `at` and a little more, for the time the steps themselves take.
pub(super) fn about(took: Span, at: Span) -> bool {
    took >= at && took.std() < at.std() + Duration::from_secs(30)
}

pub(super) fn error(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Unwound { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_plan_takes_its_hour_and_a_half_and_no_second() {
    let real = std::time::Instant::now();
    let mut stage = canary("");
    let (saga, outcome, took) = stage.drive(Vec::new()).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(about(took, minutes(15 + 30 + 30 + 10)), "{took}");
    stage.serves(Colour::Green, "app:2", "the whole plan");
    let judged: Vec<u8> = saga
        .finished()
        .filter_map(|(step, finding, _)| match (step, finding) {
            (ReleaseStep::Hold { weight, .. }, Finding::Judged { gates }) if gates.len() == 2 => Some(*weight),
            _ => None,
        })
        .collect();
    assert_eq!(judged, [5, 25, 50, 100]);
    let receipt = receipt(&saga, &outcome);
    assert_eq!((receipt.outcome.as_str(), receipt.ok), ("deployed", true));
    let said = |label: &str| {
        receipt
            .lines
            .iter()
            .any(|line| line.label == label && line.value.contains("0.2 %"))
    };
    assert!(said("gates at 5 %") && said("settled"), "{:?}", receipt.lines);
    assert!(
        real.elapsed() < Duration::from_secs(10),
        "hours were simulated in {:?}",
        real.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_breach_takes_the_release_back_within_an_interval_at_any_weight() {
    for (after, at) in [
        (minutes(3), 5),
        (minutes(20), 25),
        (minutes(60), 50),
        (minutes(80), 100),
    ] {
        let mut stage = canary("");
        let breach = shows("errors", seen(7.25, 431));
        let (saga, outcome, took) = stage.drive(vec![(after, breach)]).await;
        assert!(
            about(took, after) && took.std() < after.std() + Duration::from_secs(8),
            "{at} %: {took}"
        );
        assert_eq!(
            error(&outcome),
            "gate errors: error_rate 7.25 % of 431 requests, over abort_over 5 %"
        );
        stage.serves(Colour::Blue, "app:1", "a breach");
        assert_eq!(stage.made().keys().collect::<Vec<_>>(), ["blue"]);
        let receipt = receipt(&saga, &outcome);
        assert_eq!((receipt.outcome.as_str(), receipt.ok), ("rolled_back", false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_takes_its_time_holds_up_no_other() {
    let after = minutes(3);
    for ill in [false, true] {
        let mut stage = canary("");
        let slow = Duration::from_secs(45);
        stage.edge.world().slow.insert("latency".into(), slow);
        let bad: Asks = match ill {
            true => Box::new(|edge, _| {
                edge.world().fall_ill(Colour::Green);
                None
            }),
            false => shows("errors", seen(7.25, 431)),
        };
        let (_, outcome, took) = stage.drive(vec![(after, bad)]).await;
        let soon = after.std() + Duration::from_secs(10);
        assert!(about(took, after) && took.std() < soon, "{took}: {outcome:?}");
        stage.serves(Colour::Blue, "app:1", "a breach beside a slow gate");
    }
    // At the end of a hold it is waited for, and what it says counts.
    let mut stage = canary("");
    stage
        .edge
        .world()
        .slow
        .insert("latency".into(), Duration::from_secs(20));
    let (saga, outcome, took) = stage.drive(Vec::new()).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(took.std() < minutes(85 + 4).std(), "{took}");
    let judged = saga
        .finished()
        .filter(|(_, finding, _)| matches!(finding, Finding::Judged { gates } if gates.len() == 2));
    assert_eq!(judged.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn over_the_limit_of_the_end_is_only_an_end() {
    let mut stage = canary("");
    let script: Script = vec![
        (minutes(2), shows("latency", seen(3.0, 900))),
        (minutes(10), shows("latency", seen(0.3, 900))),
        (minutes(30), shows("latency", seen(2.5, 900))),
    ];
    let (_, outcome, took) = stage.drive(script).await;
    assert!(about(took, minutes(45)), "{took}");
    assert_eq!(error(&outcome), "gate latency: p95 2.5 s of 900 requests, over max 2 s");
    stage.serves(Colour::Blue, "app:1", "a failed gate");
}

#[tokio::test(start_paused = true)]
async fn thin_traffic_never_passes_and_never_fails() {
    // Three requests a minute, every one of them an error.
    let thin = || seen(100.0, 3);
    let mut stage = canary("");
    stage.shows("errors", thin());
    let (saga, outcome, took) = stage.drive(vec![(minutes(200), request(Request::Abort))]).await;
    assert_eq!(outcome, Outcome::Aborted { by: "someone".into() });
    assert!(about(took, minutes(200)), "{took}");
    stage.serves(Colour::Blue, "app:1", "an abort of a pause");
    let paused = saga.asked().first().expect("it was paused");
    assert_eq!(paused.request, Request::Pause);
    let since = Span::from((paused.at - saga.started()).to_std().expect("forward"));
    assert!(
        about(since, minutes(15 + 60)),
        "after the hold and the patience: {since}"
    );
    assert!(paused.by.contains("3 requests in 1m"), "{}", paused.by);

    let mut stage = canary(", inconclusive: { after: 20m, do: abort }");
    stage.shows("errors", Look::Unknown("the source does not answer".into()));
    let (_, outcome, took) = stage.drive(Vec::new()).await;
    assert!(about(took, minutes(35)), "{took}");
    assert!(
        error(&outcome).contains("inconclusive for 20m 0s: gate errors: the source"),
        "{outcome:?}"
    );

    // What comes in time is taken.
    let mut stage = canary("");
    stage.shows("errors", thin());
    let (_, outcome, took) = stage.drive(vec![(minutes(40), shows("errors", seen(0.0, 60)))]).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(about(took, minutes(85 + 25)), "{took}");
}

#[tokio::test(start_paused = true)]
async fn pausing_stops_the_time_and_promoting_ends_it() {
    let mut stage = canary("");
    let script: Script = vec![
        (minutes(5), request(Request::Pause)),
        (minutes(105), request(Request::Resume)),
        (minutes(120), request(Request::Promote)),
    ];
    let (saga, outcome, took) = stage.drive(script).await;
    assert_eq!(outcome, Outcome::Succeeded);
    // A hundred minutes of pause; the second hold began at 115 and was cut short at 120.
    assert!(about(took, minutes(120 + 30 + 10)), "{took}");
    assert_eq!(saga.asked().len(), 3);
    stage.serves(Colour::Green, "app:2", "a promotion");

    let mut stage = canary("");
    stage.shows("errors", Look::Unknown("no answer".into()));
    let script: Script = vec![
        (minutes(1), request(Request::PromoteFully)),
        (minutes(2), shows("errors", seen(0.0, 100))),
    ];
    let (_, outcome, took) = stage.drive(script).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(about(took, minutes(1 + 10)), "what settles is still judged: {took}");
}

#[tokio::test(start_paused = true)]
async fn a_paused_release_is_still_taken_back_by_a_breach() {
    let mut stage = canary("");
    let script: Script = vec![
        (minutes(5), request(Request::Pause)),
        (minutes(50), shows("latency", seen(9.0, 200))),
    ];
    let (_, outcome, took) = stage.drive(script).await;
    assert!(about(took, minutes(50)), "{took}");
    assert!(error(&outcome).contains("over abort_over 5 s"), "{outcome:?}");
    stage.serves(Colour::Blue, "app:1", "a breach in a pause");
}

#[tokio::test(start_paused = true)]
async fn a_colour_that_falls_ill_in_a_hold_is_taken_back_without_any_gate() {
    let mut stage = stage_with(Swap::Overlap, "steps: [{ weight: 5, hold: 15m }]", "");
    let ill: Asks = Box::new(|edge, _| {
        edge.world().fall_ill(Colour::Green);
        None
    });
    let (_, outcome, took) = stage.drive(vec![(minutes(4), ill)]).await;
    assert!(took.std() < Duration::from_secs(4 * 60 + 10), "{took}");
    assert!(error(&outcome).starts_with("green is not healthy"), "{outcome:?}");
    stage.serves(Colour::Blue, "app:1", "green fell ill");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_killed_while_it_holds_goes_on_where_it_was() {
    let mut stage = canary("");
    let (subject, plan) = stage.plan(&deploy("app:2")).await.expect("a plan");
    let begun = stage.edge.now();
    let by = "a test".into();
    let path = stage._folder.path().join("b.release");
    let planned = Event::Planned { subject, plan, by };
    drop(JournalFile::create(&path, begun, planned).expect("a journal"));
    let id = OperationId::new(begun, [1, 2]);
    // Every seven minutes, whatever it is doing.
    for round in 0.. {
        let mut journal = JournalFile::<ReleaseStep>::open(&path).expect("a journal");
        let (_sender, mut petitions) = mpsc::channel(1);
        stage.performer.watch = Default::default();
        let driving = drive(&id, &mut journal, &stage.performer, &stage.edge, &Deaf, &mut petitions);
        match tokio::time::timeout(Duration::from_secs(420), driving).await {
            Ok(end) => {
                assert_eq!(end.expect("an end"), Outcome::Succeeded);
                assert!(round > 10, "{round}");
                break;
            }
            Err(_) => assert!(round < 20, "it never ends"),
        }
    }
    let took: Timestamp = stage.edge.now();
    assert!(
        about(Span::from((took - begun).to_std().expect("forward")), minutes(85)),
        "{took}"
    );
    stage.serves(Colour::Green, "app:2", "killed a dozen times");
    assert!(stage.edge.world().wrong.is_empty());
}
