use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Colour, ServiceName, Span};

/// One released service as the router serves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub service: ServiceName,
    /// The port the router listens on and the colours serve.
    pub port: u16,
    pub health_path: String,
    pub health_every: Span,
    /// Checks in a row before a slot counts as healthy.
    pub healthy_after: u32,
    pub replicas: u32,
    pub slots: [Slot; 2],
    /// Header name and value that reaches the colour without weight, when it is healthy.
    pub preview: Option<(String, String)>,
    /// The longest a request may wait at the gate; services without `swap: hold` have none.
    pub hold_limit: Option<Span>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    pub colour: Colour,
    pub addresses: Vec<IpAddr>,
    /// Percent of new requests.
    pub weight: u8,
    pub state: SlotState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotState {
    /// In service when healthy.
    Ready,
    /// Finishes what it has, takes nothing new.
    Drain,
    /// Not used, not checked.
    Maint,
}

/// What the router counted of one colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    pub responses_4xx: u64,
    pub responses_5xx: u64,
    pub connection_failures: u64,
    pub in_flight: u64,
}
