//! What a release does around its swap, on real engines: whose a queue is, what is tried before anybody else asks, and
//! services that have no router in front of them.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are MemoryArk's of
//! `scripts/images`. `ARKWRIGHT_TEST_LINE` names another build of its LINE service.

#[path = "../common/cli.rs"]
#[expect(dead_code, reason = "here commands go on while others are given")]
mod cli;
#[path = "../common/mod.rs"]
mod common;
#[path = "../lab/mod.rs"]
#[expect(dead_code, reason = "load and WebSockets are for those who count nothing else")]
mod lab;

mod background;
mod recreate;
mod smoke;
mod stage;
