use std::collections::BTreeSet;
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
    /// A client stays with the colour it was given, by a cookie, until that colour has no weight any more.
    #[serde(default)]
    pub sticky: bool,
    /// What a browser is shown during maintenance, as HTML; the router has a page of its own.
    #[serde(default)]
    pub page: Option<String>,
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

/// Which of the router's containers serves, by number, and which only pass on what still comes to them.
///
/// Neither engine gives a running container another image, name or published port, and no second container can have
/// those of the first. So what changes begins beside it and serves, and the one that was there becomes a *door*: it keeps
/// its names, networks and ports, and passes every connection on through a socket in the folder they share. A container
/// that joins the network of the first one would save that way, but Docker does not start such a pair again reliably
/// after a restart of the engine, it gets no new name, network or port, and on Podman neither can go without the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrangement {
    pub serving: u32,
    pub doors: BTreeSet<u32>,
}

impl Default for Arrangement {
    fn default() -> Self {
        Arrangement {
            serving: 1,
            doors: BTreeSet::new(),
        }
    }
}

/// `haproxy.cfg` of the router's first container, `haproxy-2.cfg` of its second.
pub fn numbered(stem: &str, number: u32, ending: &str) -> String {
    match number {
        1 => format!("{stem}.{ending}"),
        _ => format!("{stem}-{number}.{ending}"),
    }
}

/// What the router counted of one colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    pub responses_4xx: u64,
    /// Those the colour itself gave.
    pub responses_5xx: u64,
    pub connection_failures: u64,
    /// The colour broke off before it had answered; the client was given a 502 of the router's.
    #[serde(default)]
    pub response_errors: u64,
    pub in_flight: u64,
}

impl Figures {
    /// What the colour failed to answer well; no request is in two of these.
    pub fn failures(&self) -> u64 {
        self.responses_5xx
            .saturating_add(self.connection_failures)
            .saturating_add(self.response_errors)
    }

    /// Both together, as of two replicas.
    pub fn plus(self, other: Figures) -> Figures {
        Figures {
            requests: self.requests.saturating_add(other.requests),
            responses_4xx: self.responses_4xx.saturating_add(other.responses_4xx),
            responses_5xx: self.responses_5xx.saturating_add(other.responses_5xx),
            connection_failures: self.connection_failures.saturating_add(other.connection_failures),
            response_errors: self.response_errors.saturating_add(other.response_errors),
            in_flight: self.in_flight.saturating_add(other.in_flight),
        }
    }

    /// What was counted after `earlier`. A router that was restarted in between counts from nought again.
    pub fn since(self, earlier: Figures) -> Figures {
        if self.requests < earlier.requests {
            return self;
        }
        Figures {
            requests: self.requests - earlier.requests,
            responses_4xx: self.responses_4xx.saturating_sub(earlier.responses_4xx),
            responses_5xx: self.responses_5xx.saturating_sub(earlier.responses_5xx),
            connection_failures: self.connection_failures.saturating_sub(earlier.connection_failures),
            response_errors: self.response_errors.saturating_sub(earlier.response_errors),
            in_flight: self.in_flight,
        }
    }
}

/// How long one colour took to answer, from the request's first byte to the answer's last, upgraded connections apart.
///
/// The router's log is a sample: under load some requests are not told. How many there were is in [`Figures`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Requests the times are taken from.
    pub seen: u64,
    /// How much of the asked window was listened to; less than the window shortly after listening began.
    pub listened: Span,
    /// Each is right to 1/32 of itself, and to a millisecond; `None` where nothing was seen.
    pub p50: Option<Span>,
    pub p95: Option<Span>,
    pub p99: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_apart_by_reading_and_a_restart_counts_from_nought() {
        let first = Figures {
            requests: 10,
            responses_4xx: 1,
            responses_5xx: 2,
            connection_failures: 3,
            response_errors: 4,
            in_flight: 5,
        };
        let last = Figures {
            requests: 110,
            responses_4xx: 2,
            responses_5xx: 4,
            connection_failures: 6,
            response_errors: 8,
            in_flight: 1,
        };
        let between = last.since(first);
        assert_eq!(
            (between.requests, between.responses_4xx, between.in_flight),
            (100, 1, 1)
        );
        assert_eq!(between.failures(), 2 + 3 + 4);
        assert_eq!(first.since(last), first);
    }

    #[test]
    fn what_an_older_arkwright_wrote_is_read() {
        let text = r#"{"requests":1,"responses_4xx":0,"responses_5xx":0,"connection_failures":0,"in_flight":0}"#;
        assert_eq!(serde_json::from_str::<Figures>(text).expect("read").response_errors, 0);
        let slot = |colour| format!(r#"{{"colour":"{colour}","addresses":[],"weight":0,"state":"maint"}}"#);
        let text = format!(
            r#"{{"service":"web","port":80,"health_path":"/","health_every":"1s","healthy_after":3,"replicas":1,
                "slots":[{},{}],"preview":null,"hold_limit":null}}"#,
            slot(Colour::Blue),
            slot(Colour::Green)
        );
        let route: Route = serde_json::from_str(&text).expect("read");
        assert_eq!((route.sticky, route.page), (false, None));
    }
}
