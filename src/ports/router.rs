use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::{Colour, ServiceName, Span, Timestamp};
use crate::plan::{Arrangement, Figures, Latency, Route, SlotState};

/// The HAProxy in front of the colours.
///
/// The rendered configuration is the durable truth, the runtime what serves now; every change is made in both, the
/// rendered one atomically, so that a restart of anything serves what it served.
#[async_trait]
pub trait Router: Send + Sync {
    /// Writes the configuration for exactly these routes; loads it without losing a request if the router runs and
    /// the set of services changed. Weights, addresses and states in `routes` take effect at once.
    async fn apply(&self, routes: &[Route]) -> Result<(), RouterError>;
    /// The routes last applied, read back from the rendered file; empty when there is none.
    async fn routes(&self) -> Result<Vec<Route>, RouterError>;
    /// The weights of both colours, in the file and then at runtime, there within one round trip; how long that took.
    async fn steer(&self, service: &ServiceName, weights: [(Colour, u8); 2]) -> Result<Span, RouterError>;
    /// Points a colour's slots at these addresses (empty: the slots are put out of service). A slot whose address is
    /// new, or that was out of service, counts as down until the router's own checks have passed.
    async fn point(&self, service: &ServiceName, colour: Colour, addresses: &[IpAddr]) -> Result<(), RouterError>;
    /// Closes or opens the gate: while it is closed new requests wait. It opens by itself after this span, so that no
    /// request waits longer, whatever becomes of us; closing a closed gate does not prolong it.
    async fn gate(&self, service: &ServiceName, closed: Option<Span>) -> Result<(), RouterError>;
    /// What the router knows of each slot of the service now.
    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError>;
    /// Requests waiting at a closed gate now, and the longest any waited since it closed.
    async fn waiting(&self, service: &ServiceName) -> Result<(u64, Span), RouterError>;
    /// Shuts the WebSocket (and other upgraded) sessions of one colour, evenly spread over this span so that their
    /// clients do not come back all at once; `ZERO`: at once. How many were shut.
    async fn shut_sessions(&self, service: &ServiceName, colour: Colour, over: Span) -> Result<u64, RouterError>;
    /// While there is a notice, new requests are answered 503 with a page, and with when to come back; requests and
    /// WebSockets under way go on, and what carries the preview's header or cookie passes through.
    async fn maintenance(&self, service: &ServiceName, notice: Option<Notice>) -> Result<(), RouterError>;
    /// What carries the preview's header or cookie reaches this colour while it is healthy, whatever its weight; `None`:
    /// goes where everybody goes.
    async fn preview(&self, service: &ServiceName, colour: Option<Colour>) -> Result<(), RouterError>;
    /// The services under maintenance, read back from the rendered file.
    async fn in_maintenance(&self) -> Result<BTreeMap<ServiceName, Notice>, RouterError>;
    /// The value of a cookie `arkwright-preview` that is a preview of the service until then. Whoever has it can show it:
    /// it is for an operator's browser.
    async fn preview_cookie(&self, service: &ServiceName, until: Timestamp) -> Result<String, RouterError>;
    /// Counters since the router process began, by colour.
    async fn figures(&self, service: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError>;
    /// Begins to listen to the router's log, for every service it has now; goes on until this value is dropped.
    /// Listening twice is listening once, and whoever begins later is the one who is told.
    async fn listen(&self) -> Result<(), RouterError>;
    /// How long the requests of the last `window` took, by colour; at most 30 minutes are kept. Listens from the first
    /// call on.
    async fn latency(&self, service: &ServiceName, window: Span) -> Result<[(Colour, Latency); 2], RouterError>;
    /// Which of the router's containers serves, and which pass on to it.
    async fn arrangement(&self) -> Result<Arrangement, RouterError> {
        Ok(Arrangement::default())
    }
    /// Gives a container that is about to start, and to serve, all that the one that serves has.
    async fn succeed(&self, _number: u32) -> Result<(), RouterError> {
        Ok(())
    }
    /// From now on this one serves, once it answers, and the others pass on what comes to them, connections they have
    /// excepted: these end by themselves. Asking again changes nothing.
    async fn hand_over(&self, _to: &Arrangement) -> Result<(), RouterError> {
        Ok(())
    }
    /// Those that pass on and have no connection, or do not run.
    async fn idle(&self) -> Result<BTreeSet<u32>, RouterError> {
        Ok(BTreeSet::new())
    }
    /// Whether the router process answers.
    async fn alive(&self) -> bool;
}

/// What the clients of a service under maintenance are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// When to come back; they are told whole seconds, rounded up.
    pub retry_after: Span,
}

impl Notice {
    /// At least one, as nought is none.
    pub fn seconds(self) -> u64 {
        self.retry_after.whole_seconds().max(1).unsigned_abs()
    }
}

/// One server line of the running router.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlotView {
    pub colour: Colour,
    pub replica: u32,
    pub address: Option<IpAddr>,
    pub weight: u8,
    /// The newest of the router's own checks passed; one that did not may be chance.
    pub up: bool,
    /// So many checks in a row failed that the router sends it nothing.
    pub down: bool,
    pub state: SlotState,
    /// The newest check's result, for a person: `L7OK/200 in 2 ms`.
    pub last_check: String,
    /// Requests being served now, upgraded sessions apart.
    pub in_flight: u64,
    /// WebSocket and other upgraded sessions open now.
    pub upgraded: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    #[error("the router does not answer at {socket}; is its container running? (`arkwright ps`)")]
    Unreachable {
        socket: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the router has no service `{0}`; `arkwright up` adds it")]
    UnknownService(ServiceName),
    #[error("the router answered `{command}` with: {answer}")]
    Refused { command: String, answer: String },
    #[error("the router's answer to `{command}` was not understood: {answer}")]
    Garbled { command: String, answer: String },
    #[error("the router cannot be given {what}: {why}")]
    Unrenderable { what: String, why: String },
    #[error(
        "the router's log cannot be listened to at {socket}; its folder has to belong to this user or to the router's"
    )]
    Deaf {
        socket: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the router was set up by an older arkwright and has no key for preview cookies; run `arkwright up`")]
    Keyless,
    #[error("the router's configuration could not be written")]
    Write(#[source] std::io::Error),
    #[error(
        "the router's configuration {path} was not written by arkwright, or was edited: {why}; remove it and run `arkwright up`"
    )]
    Foreign { path: String, why: String },
}
