//! How long it takes to move all traffic.

use std::time::{Duration, Instant};

use arkwright::model::Colour;
use arkwright::ports::Router;

use crate::{route, service, stage};

/// `cargo test --test router speed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; it takes half a minute"]
async fn a_thousand_steers_of_a_service_with_three_replicas() {
    let Some(stage) = stage().await else { return };
    let mut wide = route(stage.port, Some(stage.blue.address));
    wide.replicas = 3;
    wide.sticky = true;
    stage.router.apply(&[wide]).await.expect("reloaded");
    stage.point_green().await;
    let mut whole = Vec::new();
    let mut command = Vec::new();
    for turn in 0..1000u32 {
        let green = if turn % 2 == 0 { 100 } else { 0 };
        let begun = Instant::now();
        let weights = [(Colour::Green, green), (Colour::Blue, 100 - green)];
        let took = stage.router.steer(&service(), weights).await.expect("steered");
        whole.push(begun.elapsed());
        command.push(took.std());
    }
    for (what, mut times) in [("steer", whole), ("of it at the router", command)] {
        times.sort();
        let at = |share: usize| times[times.len() * share / 1000 - 1];
        println!("{what}: p50 {:?}, p99 {:?}, most {:?}", at(500), at(990), at(1000));
        assert!(at(990) <= Duration::from_millis(50), "{what}: p99 {:?}", at(990));
    }
}
