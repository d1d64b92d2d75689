//! What keeps a release from beginning, who has the lock, and the emergency: on every engine there is, as a person runs it.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are those of
//! `scripts/images`.

#[path = "../common/cli.rs"]
mod cli;
#[path = "../common/mod.rs"]
mod common;

mod calendar;
mod emergency;
mod lock;
mod room;
mod stage;
