//! HAProxy as the router: a rendered configuration, its runtime sockets, and the gate that holds requests.

mod answers;
mod door;
mod haproxy;
mod latency;
mod log;
mod map;
mod page;
mod preview;
mod process;
mod render;
mod sessions;
mod socket;
mod stored;
mod valid;

pub use haproxy::{HaProxy, Inside};
