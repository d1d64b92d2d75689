use std::sync::Arc;

use arkwright::model::{Colour, Span};
use arkwright::ports::{Figures, Latency};
use arkwright::release::{Look, Reading, Verdict, judge};
use serde_json::json;

use crate::bench::{Hand, Told, gate, looker, scene, unknown, value};
use crate::idle::IdleEngine;

fn counted(blue: (u64, u64), green: (u64, u64)) -> Option<[(Colour, Figures); 2]> {
    Some(
        [(Colour::Blue, blue), (Colour::Green, green)].map(|(colour, (requests, failed))| {
            let figures = Figures {
                requests,
                responses_5xx: failed / 2,
                response_errors: failed - failed / 2,
                in_flight: 4,
                ..Figures::default()
            };
            (colour, figures)
        }),
    )
}

#[tokio::test]
async fn rates_are_of_the_window_alone_and_a_restarted_router_tells_nothing_at_first() {
    let (told, clock) = (Arc::new(Told::default()), Arc::new(Hand::default()));
    let looker = looker(Arc::new(IdleEngine::new(None)), told.clone(), clock.clone());
    let errors = gate(json!({
        "source": "router", "metric": "error_rate", "max": "1%", "abort_over": "5%", "min_requests": 50, "window": "60s",
    }));
    let why = unknown(&errors, &looker.look(&errors, &scene()).await);
    assert!(why.contains("has no service `web`"), "{why}");

    // Failures of long ago, before the window.
    *told.figures.lock().expect("whole") = counted((1000, 0), (100, 100));
    let why = unknown(&errors, &looker.look(&errors, &scene()).await);
    assert!(why.contains("read once"), "{why}");
    for second in 1..=24 {
        clock.on(5);
        *told.figures.lock().expect("whole") = counted((1000 + second * 50, second), (100 + second * 10, 100));
        let look = looker.look(&errors, &scene()).await;
        let wanted = if second < 5 { "inconclusive" } else { "passed" };
        let verdict = judge(&errors, &look);
        assert_eq!(verdict == Verdict::Passed, wanted == "passed", "{second}: {look:?}");
    }
    let look = looker.look(&errors, &scene()).await;
    let expected = Reading {
        value: 0.0,
        other: Some(2.0),
        requests: Some(120),
    };
    assert_eq!(look, Look::Seen(expected));

    clock.on(5);
    *told.figures.lock().expect("whole") = counted((2300, 30), (350, 110));
    let verdict = judge(&errors, &looker.look(&errors, &scene()).await);
    assert_eq!(
        verdict,
        Verdict::Breached("error_rate 8.333 % of 120 requests, over abort_over 5 %".into())
    );

    clock.on(5);
    *told.figures.lock().expect("whole") = counted((10, 0), (70, 0));
    let why = unknown(&errors, &looker.look(&errors, &scene()).await);
    assert!(why.contains("read once"), "{why}");

    let busy = gate(json!({ "source": "router", "metric": "in_flight", "max": 10 }));
    let look = looker.look(&busy, &scene()).await;
    assert_eq!((value(&look), judge(&busy, &look)), (4.0, Verdict::Passed));
}

#[tokio::test]
async fn times_are_in_seconds_and_compared_with_the_other_colours() {
    let told = Arc::new(Told::default());
    let looker = looker(Arc::new(IdleEngine::new(None)), told.clone(), Arc::new(Hand::default()));
    let latency = gate(json!({
        "source": "router", "metric": "p95", "max": "2s", "max_ratio": 1.5, "min_requests": 20,
    }));
    let why = unknown(&latency, &looker.look(&latency, &scene()).await);
    assert!(why.contains("has no service"), "{why}");
    let times = |seen, millis: Option<u64>| Latency {
        seen,
        listened: Span::seconds(60),
        p95: millis.map(Span::millis),
        ..Latency::default()
    };
    for (blue, green, wanted) in [
        (times(500, Some(200)), times(100, Some(250)), "passed"),
        (times(500, Some(200)), times(100, Some(301)), "failed"),
        (times(500, Some(3000)), times(100, Some(2001)), "failed"),
        (times(500, Some(200)), times(19, Some(250)), "inconclusive"),
        (times(19, Some(200)), times(100, Some(250)), "inconclusive"),
        (times(500, Some(200)), times(0, None), "inconclusive"),
    ] {
        *told.latency.lock().expect("whole") = Some([(Colour::Blue, blue), (Colour::Green, green)]);
        let verdict = judge(&latency, &looker.look(&latency, &scene()).await);
        let word = serde_json::to_value(&verdict).expect("JSON")["verdict"].clone();
        assert_eq!(word, wanted, "{green:?} beside {blue:?}: {verdict:?}");
    }
}
