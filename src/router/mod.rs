//! HAProxy as the router: a rendered configuration, its runtime sockets, and the gate that holds requests.

mod answers;
mod haproxy;
mod latency;
mod log;
mod process;
mod render;
mod socket;
mod stored;

pub use haproxy::{HaProxy, Inside};
