use std::sync::PoisonError;

use crate::config::{Gate, Metric};
use crate::model::{Colour, Span};
use crate::plan::{Figures, Latency};
use crate::release::{Change, Look, Reading};

use super::{Answer, Looker, Scene};

impl Looker {
    pub(super) async fn of_router(&self, gate: &Gate, metric: Metric, scene: &Scene) -> Answer {
        match metric {
            Metric::P50 | Metric::P95 | Metric::P99 => self.of_latency(gate, metric, scene).await,
            _ => self.of_counters(gate, metric, scene).await,
        }
    }

    async fn of_counters(&self, gate: &Gate, metric: Metric, scene: &Scene) -> Answer {
        let counted = self.router.figures(&scene.service).await;
        let counted = counted.map_err(|error| error.to_string())?;
        let now = self.clock.now();
        let (change, newest) = {
            let mut windows = self
                .windows
                .lock()
                .map_err(|_| "an earlier look broke off".to_owned())?;
            let window = windows.entry(scene.service.clone()).or_default();
            window.see(now, counted);
            (window.change(scene.colour, gate.window), window.newest(scene.colour))
        };
        if metric == Metric::InFlight {
            let in_flight = |colour| of(&counted, colour).map(|figures| figures.in_flight as f64);
            return Ok(Look::Seen(Reading {
                value: newest
                    .map(|figures| figures.in_flight as f64)
                    .ok_or("the router has no such colour")?,
                other: in_flight(scene.colour.other()),
                // What is being answered now is no share of anything.
                requests: None,
            }));
        }
        let mut change = change.ok_or("the router's counters were read once so far, and it takes a second time")?;
        let (ours, bad) = self
            .probes_of(&scene.service)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .within(change.span);
        change.of.requests = change.of.requests.saturating_sub(ours);
        change.of.responses_5xx = change.of.responses_5xx.saturating_sub(bad);
        figure(metric, &change, gate.min_requests)
            .map(Look::Seen)
            .ok_or_else(|| format!("{} had no request in {}", scene.colour, gate.window))
    }

    async fn of_latency(&self, gate: &Gate, metric: Metric, scene: &Scene) -> Answer {
        let told = self.router.latency(&scene.service, gate.window).await;
        let told = told.map_err(|error| error.to_string())?;
        let of = |colour| told.iter().find(|(of, _)| *of == colour).map(|(_, latency)| *latency);
        let time = |latency: Latency| Some((quantile(metric, &latency)?.std().as_secs_f64(), latency.seen));
        let (value, requests) = of(scene.colour)
            .and_then(time)
            .ok_or_else(|| format!("no request to {} was timed in {}", scene.colour, gate.window))?;
        let other = of(scene.colour.other()).and_then(time);
        Ok(Look::Seen(Reading {
            value,
            other: other
                .filter(|(_, seen)| *seen >= gate.min_requests)
                .map(|(value, _)| value),
            requests: Some(requests),
        }))
    }
}

fn of(counted: &[(Colour, Figures); 2], colour: Colour) -> Option<Figures> {
    counted
        .iter()
        .find(|(of, _)| *of == colour)
        .map(|(_, figures)| *figures)
}

fn quantile(metric: Metric, latency: &Latency) -> Option<Span> {
    match metric {
        Metric::P50 => latency.p50,
        Metric::P95 => latency.p95,
        Metric::P99 => latency.p99,
        _ => None,
    }
}

/// `None` of a colour that was not asked. What the other one has counts only where it had requests enough.
fn figure(metric: Metric, change: &Change, enough: u64) -> Option<Reading> {
    let other = figure_of(metric, change.of_other);
    let (value, requests) = figure_of(metric, change.of)?;
    Some(Reading {
        value,
        other: other
            .filter(|(_, requests)| *requests >= enough)
            .map(|(value, _)| value),
        requests: Some(requests),
    })
}

/// The figure, and of how many requests it is.
fn figure_of(metric: Metric, figures: Figures) -> Option<(f64, u64)> {
    // A connection that failed may have been counted as no request.
    let requests = figures.requests.max(figures.failures());
    let percent = |count: u64| count.min(requests) as f64 * 100.0 / requests as f64;
    let value = match metric {
        Metric::ErrorRate => percent(figures.failures()),
        Metric::ClientErrorRate => percent(figures.responses_4xx),
        Metric::ConnectionFailures => figures.connection_failures as f64,
        _ => return None,
    };
    (requests > 0).then_some((value, requests))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(of: Figures, of_other: Figures) -> Change {
        Change {
            of,
            of_other,
            span: Span::seconds(60),
        }
    }

    #[test]
    fn rates_are_of_all_requests_and_the_other_colour_counts_with_requests_enough() {
        let green = Figures {
            requests: 200,
            responses_4xx: 10,
            responses_5xx: 1,
            connection_failures: 2,
            response_errors: 1,
            in_flight: 7,
        };
        let blue = Figures {
            requests: 50,
            responses_5xx: 1,
            ..Figures::default()
        };
        let reading = |metric| figure(metric, &change(green, blue), 50).map(|r| (r.value, r.other, r.requests));
        assert_eq!(reading(Metric::ErrorRate), Some((2.0, Some(2.0), Some(200))));
        assert_eq!(reading(Metric::ClientErrorRate), Some((5.0, Some(0.0), Some(200))));
        assert_eq!(reading(Metric::ConnectionFailures), Some((2.0, Some(0.0), Some(200))));
        let alone = figure(Metric::ErrorRate, &change(green, blue), 51).expect("a figure");
        assert_eq!(alone.other, None, "too few requests to compare with");
    }

    #[test]
    fn a_colour_nobody_asked_has_no_rate_and_one_that_refuses_all_has_the_worst() {
        assert_eq!(
            figure(Metric::ErrorRate, &change(Figures::default(), Figures::default()), 0),
            None
        );
        let dead = Figures {
            connection_failures: 30,
            ..Figures::default()
        };
        let reading = figure(Metric::ErrorRate, &change(dead, Figures::default()), 20).expect("a figure");
        assert_eq!((reading.value, reading.requests), (100.0, Some(30)));
    }
}
