use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Span;

use super::{After, Background, Before, Hook};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    pub release: Release,
}

/// How a service moves to a new image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The port the service listens on inside its container; the router takes it over.
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub health: Option<HealthConfig>,
    /// Shares of traffic on the way to all; none: all at once.
    #[serde(default)]
    pub steps: Vec<StepConfig>,
    #[serde(default)]
    pub swap: Swap,
    /// The longest a request waits while a held swap is made.
    #[serde(default = "defaults::hold_limit")]
    pub hold_limit: Span,
    /// The longest a held swap waits for running requests before it gives up, nothing changed.
    #[serde(default = "defaults::drain_limit")]
    pub drain_limit: Span,
    #[serde(default)]
    pub before: Vec<Before>,
    #[serde(default)]
    pub after: Vec<After>,
    /// How long the previous colour stays ready for a rollback.
    #[serde(default = "defaults::keep_warm")]
    pub keep_warm: Span,
    #[serde(default)]
    pub preview: Option<Preview>,
    /// Names of `gates`: all must pass when a hold ends; any may take the release back during one.
    #[serde(default)]
    pub gates: Vec<String>,
    #[serde(default)]
    pub inconclusive: Inconclusive,
    /// Requests of our own to the new colour while it is held, counted apart from everybody else's.
    #[serde(default)]
    pub probe: Option<Probe>,
    /// How long the gates watch on with all traffic on the new colour, ready to take it back.
    #[serde(default)]
    pub settle: Option<Span>,
    /// A client stays with the colour that answered it first.
    #[serde(default)]
    pub sticky: bool,
    /// Of `swap: recreate`: how long a container without a check of its own has to have run; 10 s where nothing is said.
    #[serde(default)]
    pub healthy_for: Option<Span>,
    /// Of `swap: recreate`: the longest the new one may take; 10 min where nothing is said.
    #[serde(default)]
    pub healthy_within: Option<Span>,
    /// Jobs of a queue that the service works beside its requests: a colour takes none before it is proven.
    #[serde(default)]
    pub background: Option<Background>,
}

impl Release {
    /// Programs run around a release, in order.
    pub fn hooks(&self) -> impl Iterator<Item = Hook> {
        let before = self.before.iter().filter_map(Before::hook);
        before.chain(self.after.iter().map(After::hook))
    }

    /// What the router has to know of it; `None` for one that has none in front.
    pub fn routed(&self) -> Option<(u16, &HealthConfig)> {
        self.port
            .zip(self.health.as_ref())
            .filter(|_| self.swap != Swap::Recreate)
    }

    /// What a key has to do with how the service is swapped: the one that does not fit, and why.
    pub fn checked(&self) -> Result<(), (&'static str, String)> {
        let others = [
            ("healthy_for", self.healthy_for.is_some()),
            ("healthy_within", self.healthy_within.is_some()),
        ];
        let routers = [
            ("port", self.port.is_some()),
            ("health", self.health.is_some()),
            ("steps", !self.steps.is_empty()),
            ("gates", !self.gates.is_empty()),
            ("settle", self.settle.is_some()),
            ("sticky", self.sticky),
            ("preview", self.preview.is_some()),
            ("probe", self.probe.is_some()),
            ("background", self.background.is_some()),
        ];
        if self.swap == Swap::Recreate {
            return match routers.into_iter().find(|(_, there)| *there) {
                Some((key, _)) => Err((key, format!("`{key}` and `swap: recreate` exclude each other"))),
                None => Ok(()),
            };
        }
        if let Some((key, _)) = others.into_iter().find(|(_, there)| *there) {
            return Err((
                key,
                format!("`{key}` belongs to `swap: recreate`; `health.within` limits this one"),
            ));
        }
        match (self.port, &self.health) {
            (None, _) => Err(("", "missing field `port`".into())),
            (_, None) => Err(("", "missing field `health`".into())),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// The path asked with GET; 2xx and 3xx are healthy.
    pub http: String,
    #[serde(default = "defaults::every")]
    pub every: Span,
    /// Good answers in a row.
    #[serde(default = "defaults::healthy_after")]
    pub healthy_after: u32,
    /// The longest a new colour may take.
    #[serde(default = "defaults::within")]
    pub within: Span,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// Percent of new requests, 1 to 99.
    pub weight: u8,
    pub hold: Span,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Swap {
    /// Both colours run side by side.
    #[default]
    Overlap,
    /// Requests wait at the router while one process replaces the other: for data only one process may open.
    Hold,
    /// The old one is removed, then the new one made under its name, without a router: for a worker, a bot, a service that
    /// does not speak HTTP.
    Recreate,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    pub header: String,
    pub value: String,
}

/// What happens when gates cannot tell: thin traffic, a source that does not answer, a value that is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Inconclusive {
    /// How much longer a hold waits for an answer.
    pub after: Span,
    #[serde(rename = "do")]
    pub then: Then,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// The share stays where it is until someone decides.
    #[default]
    Pause,
    Abort,
}

impl Default for Inconclusive {
    fn default() -> Self {
        Inconclusive {
            after: Span::seconds(3600),
            then: Then::Pause,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The path asked with GET; anything but 2xx and 3xx fails.
    pub http: String,
    #[serde(default = "defaults::probe_every")]
    pub every: Span,
    /// Failures in a row that take the release back.
    #[serde(default = "defaults::probe_failures")]
    pub failures: u32,
}

mod defaults {
    use crate::model::Span;

    pub fn probe_every() -> Span {
        Span::seconds(2)
    }

    pub fn probe_failures() -> u32 {
        3
    }

    pub fn hold_limit() -> Span {
        Span::seconds(30)
    }

    pub fn drain_limit() -> Span {
        Span::seconds(10)
    }

    pub fn keep_warm() -> Span {
        Span::seconds(24 * 3600)
    }

    pub fn every() -> Span {
        Span::seconds(1)
    }

    pub fn healthy_after() -> u32 {
        3
    }

    pub fn within() -> Span {
        Span::seconds(600)
    }
}
