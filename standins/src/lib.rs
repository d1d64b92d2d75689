//! What the stand-ins share: switches that make them misbehave, metrics, the echo, the health client.
//!
//! The two services behave like MemoryArk's where a release, a backup or a drill can tell the difference, and nowhere
//! else: which files they open and how, what SIGTERM does to them, what their health answers, what they ask of Redis.

pub mod echo;
pub mod health;
pub mod http;
pub mod metrics;
pub mod secret;
pub mod serve;
pub mod stop;
pub mod switches;
