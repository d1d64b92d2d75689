//! What a look at each of a gate's sources shows: real engines, a real Prometheus, programs of this host, and servers
//! that answer badly.

mod bench;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod engine;
#[path = "../drill/idle.rs"]
mod idle;
mod page;
mod probe;
mod prometheus;
mod router;
mod server;
