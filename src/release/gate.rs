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

/// What a look at this gate means.
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
    match reading.other {
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

/// The unit its limits are written in.
fn unit(gate: &Gate) -> Option<Unit> {
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
