use std::collections::VecDeque;

use crate::model::{Colour, Span, Timestamp};
use crate::plan::Figures;

/// What the router counted of both colours.
type Counted = [(Colour, Figures); 2];

/// Between two counts that are kept; looks come oftener where several gates look at one service.
const APART: Span = Span::seconds(1);
/// The oldest count that is kept; no gate's window is longer.
const LONGEST: Span = Span::seconds(30 * 60);

/// The router's counters of one service at several moments, which together tell what happened in the last so long.
///
/// At most one a second and half an hour of them, whatever is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    kept: VecDeque<(Timestamp, Counted)>,
    newest: Option<(Timestamp, Counted)>,
}

/// What happened between two counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub of: Figures,
    pub of_other: Figures,
    pub span: Span,
}

impl Window {
    /// Adds what the router says now. Counters that went down are those of a router that was started anew, and a clock
    /// that went back tells no spans: then everything before is forgotten.
    pub fn see(&mut self, at: Timestamp, counted: Counted) {
        let anew = |(before, earlier): &(Timestamp, Counted)| *before > at || fell(earlier, &counted);
        if self.newest.as_ref().is_some_and(anew) {
            self.kept.clear();
        }
        let spaced = |(last, _): &(Timestamp, Counted)| *last + APART.chrono() <= at;
        if self.kept.back().is_none_or(spaced) {
            self.kept.push_back((at, counted));
        }
        self.newest = Some((at, counted));
        // The one just beyond the edge is what the longest window is measured from.
        while self
            .kept
            .get(1)
            .is_some_and(|(second, _)| *second + LONGEST.chrono() <= at)
        {
            self.kept.pop_front();
        }
    }

    /// From the newest count that is at least `span` old, or the oldest there is; `None` before a second count.
    pub fn change(&self, colour: Colour, span: Span) -> Option<Change> {
        let (now, newest) = self.newest.as_ref()?;
        let earlier = self.kept.iter().filter(|(at, _)| at < now);
        let old_enough = earlier.clone().rev().find(|(at, _)| *at + span.chrono() <= *now);
        let (then, counted) = old_enough.or(earlier.clone().next())?;
        let since = |colour| of(newest, colour).since(of(counted, colour));
        Some(Change {
            of: since(colour),
            of_other: since(colour.other()),
            span: (*now - *then).to_std().unwrap_or_default().into(),
        })
    }

    /// What the newest count says of a colour.
    pub fn newest(&self, colour: Colour) -> Option<Figures> {
        self.newest.as_ref().map(|(_, counted)| of(counted, colour))
    }
}

fn of(counted: &Counted, colour: Colour) -> Figures {
    let found = counted.iter().find(|(of, _)| *of == colour);
    found.map(|(_, figures)| *figures).unwrap_or_default()
}

fn fell(earlier: &Counted, later: &Counted) -> bool {
    Colour::BOTH.into_iter().any(|colour| {
        let counters = |counted| {
            let figures: Figures = of(counted, colour);
            [
                figures.requests,
                figures.responses_4xx,
                figures.responses_5xx,
                figures.connection_failures,
                figures.response_errors,
            ]
        };
        counters(earlier)
            .iter()
            .zip(counters(later))
            .any(|(earlier, later)| *earlier > later)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Timestamp {
        Timestamp::UNIX_EPOCH + chrono::TimeDelta::milliseconds((seconds * 1e3) as i64)
    }

    fn counted(blue: u64, green: u64) -> Counted {
        [(Colour::Blue, blue), (Colour::Green, green)].map(|(colour, requests)| {
            let figures = Figures {
                requests,
                responses_5xx: requests / 10,
                in_flight: 3,
                ..Figures::default()
            };
            (colour, figures)
        })
    }

    fn seen(window: &Window, span: u64) -> Option<(u64, u64, u64)> {
        let change = window.change(Colour::Green, Span::seconds(span))?;
        Some((
            change.of.requests,
            change.of_other.requests,
            change.span.std().as_secs(),
        ))
    }

    #[test]
    fn the_past_is_measured_from_what_was_counted_about_then() {
        let mut window = Window::default();
        assert_eq!(seen(&window, 60), None);
        window.see(at(0.0), counted(1000, 0));
        assert_eq!(seen(&window, 60), None, "one count is no difference");
        for step in 1..=30 {
            window.see(at(step as f64 * 5.0), counted(1000 + step * 50, step * 10));
        }
        assert_eq!(seen(&window, 60), Some((120, 600, 60)));
        assert_eq!(seen(&window, 7), Some((20, 100, 10)), "the next older one");
        assert_eq!(seen(&window, 1000), Some((300, 1500, 150)), "all there is");
        assert_eq!(window.newest(Colour::Green).map(|figures| figures.in_flight), Some(3));
        let change = window.change(Colour::Green, Span::seconds(60)).expect("a change");
        assert_eq!(change.of.failures(), 12);
    }

    #[test]
    fn a_router_that_was_restarted_and_a_clock_that_went_back_begin_anew() {
        for (time, later) in [
            (15.0, counted(5, 120)),
            (15.0, counted(205, 7)),
            (3.0, counted(300, 300)),
        ] {
            let mut window = Window::default();
            window.see(at(0.0), counted(100, 100));
            window.see(at(10.0), counted(200, 110));
            window.see(at(time), later);
            assert_eq!(seen(&window, 60), None, "{later:?}");
            window.see(at(time + 5.0), counted(500, 500));
            let after = of(&later, Colour::Green).requests;
            assert_eq!(
                seen(&window, 60),
                Some((500 - after, 500 - of(&later, Colour::Blue).requests, 5))
            );
        }
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_never_tells_more_than_happened(
            looks in prop::collection::vec((0u32..5_000, 0u64..50, prop::bool::weighted(0.02)), 1..400),
            span in 1u64..1_800,
        ) {
            let (mut window, mut now, mut total) = (Window::default(), 0.0, 0);
            for (millis, more, restart) in looks {
                now += f64::from(millis) / 1e3;
                total = if restart { 0 } else { total + more };
                window.see(at(now), counted(0, total));
                prop_assert!(window.kept.len() <= 1802);
                if let Some(change) = window.change(Colour::Green, Span::seconds(span)) {
                    prop_assert!(change.of.requests <= total, "{change:?} of {total}");
                    prop_assert!(!change.span.std().is_zero());
                }
            }
        }
    }
}
