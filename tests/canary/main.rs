//! Canaries on real engines: versions that fail in one way each, judged by gates while clients that never try again ask.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are Hwayo's web of
//! `scripts/images`, which needs nothing beside it. A case runs on all engines at once.

#[path = "../common/cli.rs"]
#[expect(dead_code, reason = "here commands go on while others are given")]
mod cli;
#[path = "../common/mod.rs"]
mod common;
#[path = "../lab/mod.rs"]
#[expect(dead_code, reason = "load and WebSockets are for those who count nothing else")]
mod lab;
#[path = "../gates/server.rs"]
#[expect(dead_code, reason = "bad answers are tried where gates are")]
mod server;

mod bad;
mod diary;
mod good;
mod load;
mod migrate;
mod sources;
mod stage;
mod steer;
mod thin;
