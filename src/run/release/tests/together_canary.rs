//! Canaries of two services by simulated time: one hold, judged by the gates of both.

use super::canary::{GATES, Script, about, error, minutes, request, seen, shows};
use super::together::{WEB, both};
use super::*;
use crate::release::Finding;

/// `app` is judged by its errors, `web` by its latency; both are well.
fn two(app: &str, web: &str) -> Stage {
    let steps = "steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }]";
    let app = format!("{steps}, gates: [errors], {app}");
    let web = format!("{steps}, gates: [latency], {web}");
    let stage = stage_of(&[(SERVICE, Swap::Overlap, &app), (WEB, Swap::Overlap, &web)], GATES);
    stage.shows("errors", seen(0.2, 900));
    stage.shows("latency", seen(0.3, 900));
    stage
}

fn old() -> [(&'static str, Colour, &'static str); 2] {
    [(SERVICE, Colour::Blue, "app:1"), (WEB, Colour::Blue, "app:1")]
}

#[tokio::test(start_paused = true)]
async fn one_hold_is_judged_by_the_gates_of_both_and_settles_as_long_as_the_longest() {
    let mut stage = two("settle: 10m", "settle: 20m");
    let (saga, outcome, took) = stage.drive_order(&both("app:2", "app:2"), Vec::new()).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(about(took, minutes(15 + 30 + 20)), "{took}");
    let new = [(SERVICE, Colour::Green, "app:2"), (WEB, Colour::Green, "app:2")];
    stage.serve(&new, "a canary of two");
    let judged: Vec<(u8, Vec<&str>)> = saga
        .finished()
        .filter_map(|(step, finding, _)| match (step, finding) {
            (ReleaseStep::Hold { weight, .. }, Finding::Judged { gates }) => {
                Some((*weight, gates.iter().map(|gate| gate.gate.as_str()).collect()))
            }
            _ => None,
        })
        .collect();
    let names = vec!["errors of app", "latency of web"];
    assert_eq!(judged, [(5, names.clone()), (50, names.clone()), (100, names)]);
    let receipt = receipt(&saga, &outcome);
    let parts = receipt.lines.iter().filter(|line| line.label == "service");
    assert_eq!(
        parts.map(|line| line.value.as_str()).collect::<Vec<_>>(),
        [SERVICE, WEB]
    );
    let counted = receipt.lines.iter().filter(|line| line.label == "green meanwhile");
    assert_eq!(counted.count(), 2, "{:?}", receipt.lines);
    assert_eq!(receipt.detail["members"][1]["service"], WEB);
    assert_eq!(receipt.detail["members"][1]["proven"], true);
}

#[tokio::test(start_paused = true)]
async fn a_breach_of_one_takes_both_back_at_any_weight() {
    for (after, gate, says) in [
        (minutes(3), "errors", "app: gate errors: error_rate 9 %"),
        (minutes(20), "latency", "web: gate latency: p95 9 s"),
        (minutes(50), "latency", "web: gate latency: p95 9 s"),
    ] {
        let mut stage = two("settle: 10m", "");
        // What is judged of `web` while it settles is judged though it asks for no settling of its own.
        let script: Script = vec![(after, shows(gate, seen(9.0, 400)))];
        let (saga, outcome, took) = stage.drive_order(&both("app:2", "app:2"), script).await;
        assert!(
            about(took, after) && took.std() < after.std() + Duration::from_secs(8),
            "{took}"
        );
        assert!(error(&outcome).starts_with(says), "{outcome:?}");
        stage.serve(&old(), "a breach");
        assert_eq!(stage.colours(), ["app blue", "web blue"]);
        assert_eq!(receipt(&saga, &outcome).outcome, "rolled_back");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_of_one_keeps_both_and_the_shorter_patience_counts() {
    let mut stage = two(
        "inconclusive: { after: 2h, do: pause }",
        "inconclusive: { after: 20m, do: abort }",
    );
    stage.shows("errors", seen(0.0, 3));
    let (_, outcome, took) = stage.drive_order(&both("app:2", "app:2"), Vec::new()).await;
    assert!(about(took, minutes(15 + 20)), "{took}");
    assert!(
        error(&outcome).contains("inconclusive for 20m 0s: app: gate errors"),
        "{outcome:?}"
    );
    stage.serve(&old(), "thin traffic of one");

    let mut stage = two("settle: 10m", "");
    stage.shows("latency", seen(0.3, 0));
    let script: Script = vec![
        (minutes(5), request(Request::Pause)),
        (minutes(25), request(Request::Resume)),
        (minutes(40), request(Request::PromoteFully)),
        (minutes(41), shows("latency", seen(0.3, 900))),
    ];
    let (_, outcome, took) = stage.drive_order(&both("app:2", "app:2"), script).await;
    assert_eq!(outcome, Outcome::Succeeded);
    assert!(about(took, minutes(40 + 10)), "{took}");
}
