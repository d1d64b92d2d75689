//! docker-compose and podman-compose on the same projects as ours: what one of them started the other takes over, and
//! what `eject` leaves behind is theirs alone.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines; the images are those of `scripts/images`.

#[path = "../common/mod.rs"]
mod common;
mod compose;
mod eject;
mod podman;
mod project;
