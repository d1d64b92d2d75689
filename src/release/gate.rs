use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Gate, GateSource};
use crate::model::{Figure, Unit};

/// What one look at a gate's source showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    Seen(Reading),
    /// The source says yes or no itself; why not.
    Decided(Result<(), String>),
    /// No answer, an empty one, or one that is no number; why.
    Unknown(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// In the unit of the gate's figure: percent, seconds, bytes or the number itself. Of a range, the worst.
    pub value: f64,
    /// The other colour's.
    pub other: Option<f64>,
    /// How many requests it is made of, where it is made of requests.
    pub requests: Option<u64>,
}

/// What a look means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
pub enum Verdict {
    /// Everything asked was seen, and is within the limits.
    Passed,
    /// Nothing can be said either way; never counts as passed.
    Inconclusive(String),
    /// Over a limit that counts at the end of a hold.
    Failed(String),
    /// Over a limit that counts at once.
    Breached(String),
}

/// A gate as it stood when a hold ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub gate: String,
    /// `error_rate 0.3 % of 812 requests`
    pub seen: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// What a look at this gate means. A gate without a limit says nothing of a figure.
pub fn judge(gate: &Gate, look: &Look) -> Verdict {
    let reading = match look {
        Look::Unknown(why) => return Verdict::Inconclusive(why.clone()),
        Look::Decided(Ok(())) => return Verdict::Passed,
        Look::Decided(Err(why)) => return Verdict::Failed(why.clone()),
        Look::Seen(reading) => reading,
    };
    if !reading.value.is_finite() {
        return Verdict::Inconclusive(format!("{} is not a number", subject(gate)));
    }
    if let Some(requests) = reading.requests
        && requests < gate.min_requests
    {
        return Verdict::Inconclusive(format!(
            "{requests} requests in {}, and min_requests is {}",
            gate.window, gate.min_requests
        ));
    }
    let seen = seen(gate, look);
    let limits = [gate.max, gate.min, gate.abort_over, gate.abort_under];
    if limits.iter().all(Option::is_none) && gate.max_ratio.is_none() {
        return Verdict::Inconclusive(format!("{seen}, and the gate has no limit"));
    }
    let over = |limit: Option<Figure>| limit.filter(|limit| reading.value > limit.value);
    let under = |limit: Option<Figure>| limit.filter(|limit| reading.value < limit.value);
    if let Some(limit) = over(gate.abort_over) {
        return Verdict::Breached(format!("{seen}, over abort_over {limit}"));
    }
    if let Some(limit) = under(gate.abort_under) {
        return Verdict::Breached(format!("{seen}, under abort_under {limit}"));
    }
    if let Some(limit) = over(gate.max) {
        return Verdict::Failed(format!("{seen}, over max {limit}"));
    }
    if let Some(limit) = under(gate.min) {
        return Verdict::Failed(format!("{seen}, under min {limit}"));
    }
    match gate.max_ratio {
        Some(ratio) => against_the_other(gate, reading, ratio, &seen),
        None => Verdict::Passed,
    }
}

/// Nought compared with nought is the same; anything more cannot be told as a ratio.
fn against_the_other(gate: &Gate, reading: &Reading, ratio: f64, seen: &str) -> Verdict {
    let told = |value| unit(gate).map_or_else(|| format!("{value}"), |unit| Figure::new(value, unit).to_string());
    match reading.other.filter(|other| other.is_finite()) {
        Some(other) if reading.value <= other * ratio => Verdict::Passed,
        Some(other) if other > 0.0 => Verdict::Failed(format!(
            "{seen}, over max_ratio {ratio} of the other colour's {}",
            told(other)
        )),
        Some(_) => Verdict::Inconclusive(format!("{seen}, and the other colour has none to compare with")),
        None => Verdict::Inconclusive("the other colour has no figure to compare with".into()),
    }
}

/// `error_rate 0.3 % of 812 requests`
pub fn seen(gate: &Gate, look: &Look) -> String {
    let reading = match look {
        Look::Unknown(why) => return why.clone(),
        Look::Decided(Ok(())) => return "it says yes".into(),
        Look::Decided(Err(why)) => return why.clone(),
        Look::Seen(reading) => reading,
    };
    let figure = match unit(gate) {
        Some(unit) => Figure::new(reading.value, unit).to_string(),
        None => Figure::new(reading.value, Unit::Plain).to_string(),
    };
    let requests = reading
        .requests
        .map(|n| format!(" of {n} requests"))
        .unwrap_or_default();
    format!("{} {figure}{requests}", subject(gate))
}

/// The unit its limits are written in; `None` of a gate without any.
pub fn unit(gate: &Gate) -> Option<Unit> {
    match &gate.source {
        GateSource::Router { metric } | GateSource::Engine { metric } => Some(metric.unit()),
        _ => [gate.max, gate.min, gate.abort_over, gate.abort_under]
            .into_iter()
            .flatten()
            .map(|limit| limit.unit)
            .next(),
    }
}

/// What the figure is called.
fn subject(gate: &Gate) -> &str {
    match &gate.source {
        GateSource::Router { metric } | GateSource::Engine { metric } => metric.word(),
        GateSource::Prometheus { .. } => "the query's value",
        GateSource::Command { .. } => "the command's value",
        GateSource::Http { .. } => "the answer's value",
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Passed => write!(f, "{}: passed, {}", self.gate, self.seen),
            Verdict::Inconclusive(why) => write!(f, "{}: inconclusive, {why}", self.gate),
            Verdict::Failed(why) | Verdict::Breached(why) => write!(f, "{}: failed, {why}", self.gate),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::release::tests::router_gate;

    fn percent(value: f64) -> Option<Figure> {
        Some(Figure::new(value, Unit::Percent))
    }

    /// `max: 1%, abort_over: 5%, min_requests: 50`
    fn errors() -> Gate {
        Gate {
            max: percent(1.0),
            abort_over: percent(5.0),
            min_requests: 50,
            ..router_gate("errors")
        }
    }

    /// `min: 95, abort_under: 90`
    fn logins() -> Gate {
        Gate {
            source: GateSource::Prometheus {
                url: "http://127.0.0.1:9090".into(),
                query: "logins".into(),
                range: None,
            },
            min: Some(Figure::new(95.0, Unit::Plain)),
            abort_under: Some(Figure::new(90.0, Unit::Plain)),
            ..router_gate("logins")
        }
    }

    fn of(value: f64, requests: u64) -> Look {
        Look::Seen(Reading {
            value,
            other: None,
            requests: Some(requests),
        })
    }

    fn plain(value: f64) -> Look {
        Look::Seen(Reading {
            value,
            ..Reading::default()
        })
    }

    #[test]
    fn limits_themselves_are_still_within() {
        assert_eq!(judge(&errors(), &of(1.0, 812)), Verdict::Passed);
        assert_eq!(judge(&logins(), &plain(95.0)), Verdict::Passed);
        assert_eq!(
            judge(&errors(), &of(5.0, 812)),
            Verdict::Failed("error_rate 5 % of 812 requests, over max 1 %".into())
        );
        assert_eq!(
            judge(&errors(), &of(5.1, 812)),
            Verdict::Breached("error_rate 5.1 % of 812 requests, over abort_over 5 %".into())
        );
        assert_eq!(
            judge(&logins(), &plain(94.9)),
            Verdict::Failed("the query's value 94.9, under min 95".into())
        );
        assert_eq!(
            judge(&logins(), &plain(89.0)),
            Verdict::Breached("the query's value 89, under abort_under 90".into())
        );
    }

    #[test]
    fn too_few_requests_say_nothing_even_of_a_breach() {
        assert_eq!(
            judge(&errors(), &of(100.0, 49)),
            Verdict::Inconclusive("49 requests in 1m, and min_requests is 50".into())
        );
        assert!(matches!(judge(&errors(), &of(100.0, 50)), Verdict::Breached(_)));
    }

    #[test]
    fn a_source_that_decides_is_believed_and_one_that_is_silent_never_passes() {
        let gate = logins();
        assert_eq!(judge(&gate, &Look::Decided(Ok(()))), Verdict::Passed);
        assert_eq!(
            judge(&gate, &Look::Decided(Err("no".into()))),
            Verdict::Failed("no".into())
        );
        assert_eq!(
            judge(&gate, &Look::Unknown("gone".into())),
            Verdict::Inconclusive("gone".into())
        );
    }

    #[test]
    fn a_gate_without_a_limit_passes_nothing() {
        let verdict = judge(&router_gate("open"), &of(0.0, 1000));
        assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
    }

    #[test]
    fn a_ratio_needs_another_figure() {
        let gate = Gate {
            max_ratio: Some(1.2),
            ..router_gate("ratio")
        };
        let against = |value: f64, other: Option<f64>| {
            let reading = Reading {
                value,
                other,
                requests: Some(1000),
            };
            judge(&gate, &Look::Seen(reading))
        };
        assert_eq!(against(1.2, Some(1.0)), Verdict::Passed);
        assert_eq!(
            against(1.3, Some(1.0)),
            Verdict::Failed("error_rate 1.3 % of 1000 requests, over max_ratio 1.2 of the other colour's 1 %".into())
        );
        assert_eq!(against(0.0, Some(0.0)), Verdict::Passed, "nought is as good as nought");
        for other in [
            Some(0.0),
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
        ] {
            let verdict = against(0.1, other);
            assert!(matches!(verdict, Verdict::Inconclusive(_)), "{other:?}: {verdict:?}");
        }
    }

    /// How bad a verdict is; nothing for one that says nothing.
    fn severity(verdict: &Verdict) -> Option<u8> {
        match verdict {
            Verdict::Inconclusive(_) => None,
            Verdict::Passed => Some(0),
            Verdict::Failed(_) => Some(1),
            Verdict::Breached(_) => Some(2),
        }
    }

    prop_compose! {
        /// Any limits, as the configuration would let them through or not.
        fn gates()(
            limits in prop::array::uniform4(prop::option::of(-1e6..1e6f64)),
            max_ratio in prop::option::of(0.1..10.0),
            min_requests in 0u64..200,
        ) -> Gate {
            let [max, min, abort_over, abort_under] =
                limits.map(|limit| limit.map(|value| Figure::new(value, Unit::Percent)));
            Gate { max, min, abort_over, abort_under, max_ratio, min_requests, ..router_gate("any") }
        }
    }

    proptest! {
        #[test]
        fn what_is_no_number_or_of_too_few_requests_never_passes(
            gate in gates(),
            value in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), any::<f64>()],
            other in prop::option::of(any::<f64>()),
            requests in prop::option::of(0u64..400),
        ) {
            let verdict = judge(&gate, &Look::Seen(Reading { value, other, requests }));
            if !value.is_finite() || requests.is_some_and(|requests| requests < gate.min_requests) {
                prop_assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
            }
        }

        #[test]
        fn what_is_unknown_never_passes(gate in gates(), why in ".{0,20}") {
            prop_assert_eq!(judge(&gate, &Look::Unknown(why.clone())), Verdict::Inconclusive(why));
        }

        #[test]
        fn a_larger_figure_is_never_judged_better_by_upper_limits(
            gate in gates(),
            values in prop::array::uniform2(-1e7..1e7f64),
            other in prop::option::of(0.0..1e7),
        ) {
            let gate = Gate { min: None, abort_under: None, ..gate };
            let severe = |value| severity(&judge(&gate, &Look::Seen(Reading { value, other, requests: None })));
            let (low, high) = (values[0].min(values[1]), values[0].max(values[1]));
            if let (Some(low), Some(high)) = (severe(low), severe(high)) {
                prop_assert!(low <= high);
            }
            // Beyond all limits it may become a breach, but never a pass where the lower one was none.
            if severe(low).is_none() {
                prop_assert_ne!(severe(high), Some(0));
            }
        }

        #[test]
        fn a_smaller_figure_is_never_judged_better_by_lower_limits(
            gate in gates(),
            values in prop::array::uniform2(-1e7..1e7f64),
        ) {
            let gate = Gate { max: None, abort_over: None, max_ratio: None, ..gate };
            let severe = |value| severity(&judge(&gate, &Look::Seen(Reading { value, other: None, requests: None })));
            let (low, high) = (values[0].min(values[1]), values[0].max(values[1]));
            prop_assert!(severe(low) >= severe(high));
        }
    }
}
