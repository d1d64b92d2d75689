//! The agent's face: its API over a unix socket, the client of it, and health and metrics on loopback; and how others'
//! web servers are asked.

mod api;
mod client;
mod monitor;
mod serve;
mod socket;
mod web;

pub use api::{About, api};
pub use client::{AgentClient, ClientError};
pub use monitor::{NotLoopback, bind_monitor, monitor};
pub use serve::{Listener, serve};
pub use socket::{Socket, SocketError, socket_of};
pub use web::WebClient;
