//! Canaries on real engines: versions that fail in one way each, judged by gates while clients that never try again ask.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are Hwayo's web of
//! `scripts/images`, which needs nothing beside it. A case runs on all engines at once.

#[path = "../common/cli.rs"]
mod cli;
#[path = "../common/mod.rs"]
mod common;
#[path = "../lab/mod.rs"]
mod lab;

mod bad;
mod diary;
mod load;
mod stage;
