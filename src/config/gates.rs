use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Figure, ServiceName, Span, Unit};

/// A condition on figures, as it is written; which keys belong together depends on `source`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    pub source: SourceWord,
    /// Of `router` and `engine`: which figure.
    #[serde(default)]
    pub metric: Option<Metric>,
    /// Of `prometheus`: PromQL whose answer is one number.
    #[serde(default)]
    pub query: Option<String>,
    /// Of `prometheus`: the server's address. Of `http`: what is asked.
    #[serde(default)]
    pub url: Option<String>,
    /// Of `prometheus`: every value of the last so long has to be within the limits, not only the newest.
    #[serde(default)]
    pub range: Option<Span>,
    /// Of `http`: where in the JSON answer the number is (`/data/rate`); without it the status decides.
    #[serde(default)]
    pub pointer: Option<String>,
    /// Of `command`: the program and its arguments; its last line is the number, without limits its exit code decides.
    #[serde(default)]
    pub run: Vec<String>,
    /// Of `command`: run in this service's container instead of on the host.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// The most a passing figure may be.
    #[serde(default)]
    pub max: Option<Figure>,
    /// The least a passing figure may be.
    #[serde(default)]
    pub min: Option<Figure>,
    /// The most it may be so many times what the other colour has: `1.2`. Of `router`.
    #[serde(default)]
    pub max_ratio: Option<f64>,
    /// Above this the release is taken back at once, without waiting for the hold to end.
    #[serde(default)]
    pub abort_over: Option<Figure>,
    /// Below this the release is taken back at once.
    #[serde(default)]
    pub abort_under: Option<Figure>,
    /// Of `router`: with fewer requests in the window nothing is said either way [default: 20].
    #[serde(default)]
    pub min_requests: Option<u64>,
    /// How often it is looked at.
    #[serde(default = "defaults::every")]
    pub every: Span,
    /// Of `router`: how much of the past counts.
    #[serde(default = "defaults::window")]
    pub window: Span,
    /// Looks in a row that have to be over `abort_over` before it acts.
    #[serde(default = "defaults::failures")]
    pub failures: u32,
    /// The longest one look may take.
    #[serde(default = "defaults::timeout")]
    pub timeout: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceWord {
    Router,
    Engine,
    Prometheus,
    Command,
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Answers 5xx, broken answers and failed connections, of all requests.
    ErrorRate,
    /// Answers 4xx, of all requests.
    ClientErrorRate,
    P50,
    P95,
    P99,
    /// Connections to the colour that failed, in the window.
    ConnectionFailures,
    /// Requests being answered now.
    InFlight,
    /// Of the processors the container may use (all, where it has no limit).
    Cpu,
    /// Of the memory the container may use (the host's, where it has no limit), the cache of files apart.
    Memory,
}

/// Where a gate's figure comes from; what [`GateConfig`] says, once its keys are known to fit together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum GateSource {
    Router {
        metric: Metric,
    },
    /// The worst of the colour's containers.
    Engine {
        metric: Metric,
    },
    Prometheus {
        url: String,
        query: String,
        range: Option<Span>,
    },
    Command {
        run: Vec<String>,
        service: Option<ServiceName>,
        /// Relative programs start here.
        folder: PathBuf,
    },
    Http {
        url: String,
        pointer: Option<String>,
    },
}

/// A gate that was checked; carried by the release, so that a resumed one never re-decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    pub name: String,
    #[serde(flatten)]
    pub source: GateSource,
    pub max: Option<Figure>,
    pub min: Option<Figure>,
    pub max_ratio: Option<f64>,
    pub abort_over: Option<Figure>,
    pub abort_under: Option<Figure>,
    pub min_requests: u64,
    pub every: Span,
    pub window: Span,
    pub failures: u32,
    pub timeout: Span,
}

/// What is wrong with a gate: the key it is about, and why.
pub type GateError = (&'static str, String);

/// Fewer requests than this say nothing about a rate.
const FEW: u64 = 20;

/// The longest window the router's log is kept for.
const LONGEST_WINDOW: Span = Span::seconds(30 * 60);

impl Metric {
    pub fn unit(self) -> Unit {
        match self {
            Metric::ErrorRate | Metric::ClientErrorRate | Metric::Cpu | Metric::Memory => Unit::Percent,
            Metric::P50 | Metric::P95 | Metric::P99 => Unit::Time,
            Metric::ConnectionFailures | Metric::InFlight => Unit::Plain,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Metric::ErrorRate => "error_rate",
            Metric::ClientErrorRate => "client_error_rate",
            Metric::P50 => "p50",
            Metric::P95 => "p95",
            Metric::P99 => "p99",
            Metric::ConnectionFailures => "connection_failures",
            Metric::InFlight => "in_flight",
            Metric::Cpu => "cpu",
            Metric::Memory => "memory",
        }
    }

    fn of_engine(self) -> bool {
        matches!(self, Metric::Cpu | Metric::Memory)
    }
}

impl GateConfig {
    /// The gate, or what keeps it from being one. `folder` is where relative programs start.
    pub fn checked(&self, name: &str, folder: &std::path::Path) -> Result<Gate, GateError> {
        let source = self.source_of(folder)?;
        self.limits_fit(&source)?;
        if self.every.std().is_zero() {
            return Err(("every", "looking without a pause is no interval; write 5s".into()));
        }
        if self.window < self.every || self.window > LONGEST_WINDOW {
            let why = format!("the window lies between `every` ({}) and {LONGEST_WINDOW}", self.every);
            return Err(("window", why));
        }
        if self.failures == 0 {
            return Err(("failures", "it takes at least one failed look to act".into()));
        }
        Ok(Gate {
            name: name.to_owned(),
            source,
            max: self.max,
            min: self.min,
            max_ratio: self.max_ratio,
            abort_over: self.abort_over,
            abort_under: self.abort_under,
            min_requests: self.min_requests.unwrap_or(FEW),
            every: self.every,
            window: self.window,
            failures: self.failures,
            timeout: self.timeout,
        })
    }

    fn source_of(&self, folder: &std::path::Path) -> Result<GateSource, GateError> {
        let metric = |engine: bool| match self.metric {
            Some(metric) if metric.of_engine() == engine => Ok(metric),
            Some(metric) => Err(("metric", format!("`{}` is not a figure of this source", metric.word()))),
            None if engine => Err(("source", "say which `metric`: cpu or memory".into())),
            None => Err(("source", "say which `metric`, such as error_rate or p95".into())),
        };
        let web = |url: &Option<String>| match url {
            Some(url) if url.starts_with("http://") || url.starts_with("https://") => Ok(url.clone()),
            Some(_) => Err(("url", "an address begins with http:// or https://".to_owned())),
            None => Err(("source", "say which `url` to ask".to_owned())),
        };
        let source = match self.source {
            SourceWord::Router => GateSource::Router { metric: metric(false)? },
            SourceWord::Engine => GateSource::Engine { metric: metric(true)? },
            SourceWord::Prometheus => GateSource::Prometheus {
                url: web(&self.url)?,
                query: self
                    .query
                    .clone()
                    .filter(|query| !query.trim().is_empty())
                    .ok_or(("source", "say which `query` to ask".to_owned()))?,
                range: self.range,
            },
            SourceWord::Command if self.run.is_empty() => {
                return Err(("source", "say what to `run`: [program, argument, …]".into()));
            }
            SourceWord::Command => GateSource::Command {
                run: self.run.clone(),
                service: self.service.clone(),
                folder: folder.to_path_buf(),
            },
            SourceWord::Http => GateSource::Http {
                url: web(&self.url)?,
                pointer: self.pointer.clone(),
            },
        };
        let word = self.source;
        for (key, given, fits) in [
            (
                "metric",
                self.metric.is_some(),
                [SourceWord::Router, SourceWord::Engine].contains(&word),
            ),
            ("query", self.query.is_some(), word == SourceWord::Prometheus),
            ("range", self.range.is_some(), word == SourceWord::Prometheus),
            (
                "url",
                self.url.is_some(),
                [SourceWord::Prometheus, SourceWord::Http].contains(&word),
            ),
            ("pointer", self.pointer.is_some(), word == SourceWord::Http),
            ("run", !self.run.is_empty(), word == SourceWord::Command),
            ("service", self.service.is_some(), word == SourceWord::Command),
            ("min_requests", self.min_requests.is_some(), word == SourceWord::Router),
            ("max_ratio", self.max_ratio.is_some(), word == SourceWord::Router),
        ] {
            if given && !fits {
                return Err((key, format!("`{key}` means nothing to this source")));
            }
        }
        Ok(source)
    }

    fn limits_fit(&self, source: &GateSource) -> Result<(), GateError> {
        let limits = [
            ("max", self.max),
            ("min", self.min),
            ("abort_over", self.abort_over),
            ("abort_under", self.abort_under),
        ];
        let given = limits.iter().filter_map(|(key, limit)| Some((*key, (*limit)?)));
        let unit = match source {
            GateSource::Router { metric } | GateSource::Engine { metric } => Some(metric.unit()),
            _ => None,
        };
        for (key, limit) in given.clone() {
            if let Some(unit) = unit.filter(|unit| *unit != limit.unit) {
                return Err((key, format!("this figure is written like {}", unit.example())));
            }
        }
        if self.max_ratio.is_some_and(|ratio| !ratio.is_finite() || ratio <= 0.0) {
            return Err(("max_ratio", "a ratio is a number above nought, such as 1.2".into()));
        }
        let decides_by_itself = match source {
            GateSource::Command { .. } => true,
            GateSource::Http { pointer, .. } => pointer.is_none(),
            _ => false,
        };
        if !decides_by_itself && given.count() == 0 && self.max_ratio.is_none() {
            return Err((
                "source",
                "without a limit it would let everything pass: give it `max`, `min`, `abort_over` or `abort_under`"
                    .into(),
            ));
        }
        for (low, high, key) in [
            (self.max, self.abort_over, "abort_over"),
            (self.abort_under, self.min, "abort_under"),
            (self.min, self.max, "max"),
        ] {
            if let (Some(low), Some(high)) = (low, high)
                && low.value > high.value
            {
                return Err((key, format!("{low} and {high} contradict each other")));
            }
        }
        Ok(())
    }
}

mod defaults {
    use crate::model::Span;

    pub fn every() -> Span {
        Span::seconds(5)
    }

    pub fn window() -> Span {
        Span::seconds(60)
    }

    pub fn failures() -> u32 {
        1
    }

    pub fn timeout() -> Span {
        Span::seconds(5)
    }
}
