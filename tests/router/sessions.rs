//! WebSockets of a colour that goes are shut a few at a time.

use std::time::{Duration, Instant};

use arkwright::model::{Colour, Span};
use arkwright::ports::Router;

use crate::lab::Sockets;
use crate::{service, stage};

#[tokio::test(flavor = "multi_thread")]
async fn they_are_shut_evenly_over_the_time_and_those_of_the_other_colour_stay() {
    let Some(stage) = stage().await else { return };
    let blue = Sockets::open(stage.at, "/ws", 20).await;
    stage.point_green().await;
    stage.steer(100).await;
    let green = Sockets::open(stage.at, "/ws", 5).await;
    let open = async || {
        let slots = stage.router.slots(&service()).await.expect("slots");
        [Colour::Blue, Colour::Green].map(|colour| {
            let of = slots.iter().filter(|slot| slot.colour == colour);
            of.map(|slot| slot.upgraded).sum::<u64>()
        })
    };
    assert_eq!(open().await, [20, 5]);
    let begun = Instant::now();
    let web = service();
    let shutting = stage.router.shut_sessions(&web, Colour::Blue, Span::seconds(2));
    let watching = async {
        let mut seen = vec![(Duration::ZERO, 20)];
        while begun.elapsed() < Duration::from_secs(3) {
            seen.push((begun.elapsed(), open().await[0]));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen
    };
    let (shut, seen) = tokio::join!(async { (shutting.await.expect("shut"), begun.elapsed()) }, watching);
    println!("{shut:?}: {seen:?}");
    assert_eq!(shut.0, 20);
    assert!(
        shut.1 > Duration::from_millis(1500) && shut.1 < Duration::from_millis(2500),
        "{:?}",
        shut.1
    );
    // Within any 300 ms about 3 are due; half of all are gone after half the time.
    for (at, count) in &seen {
        let earlier = seen
            .iter()
            .rev()
            .find(|(then, _)| *then + Duration::from_millis(300) <= *at);
        if let Some((_, before)) = earlier {
            assert!(before - count <= 6, "{before} → {count} at {at:?}: {seen:?}");
        }
    }
    let half = seen
        .iter()
        .find(|(at, _)| *at >= Duration::from_secs(1))
        .expect("watched");
    assert!((6..=14).contains(&half.1), "{half:?}");
    assert_eq!(open().await, [0, 5]);
    assert_eq!(blue.cut().await, 20);
    let all = stage.router.shut_sessions(&service(), Colour::Green, Span::ZERO).await;
    assert_eq!(all.expect("shut"), 5);
    let none = stage
        .router
        .shut_sessions(&service(), Colour::Green, Span::seconds(30))
        .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(green.cut().await, 5);
    assert_eq!(none.expect("nothing to wait for"), 0);
}
