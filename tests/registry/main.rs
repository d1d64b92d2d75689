//! Private registries as they are: a real one on loopback that wants a login, on every engine there is.
//!
//! Podman has to know that loopback speaks plain HTTP (`scripts/lib/engine.sh` tells it).

#[path = "../common/mod.rs"]
mod common;
mod image;
mod logins;
mod project;
mod prune;
mod pulls;
mod releases;
mod server;

/// Runs a case on every engine, one after the other.
macro_rules! on_every_engine {
    ($($room:ident :: $case:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            for (name, host) in common::engines() {
                let Some(registry) = server::Registry::start() else { return };
                println!("on {name}");
                $room::$case(&host, registry).await;
            }
        })*
    };
}

on_every_engine! {
    pulls::a_pull_is_made_with_the_login_and_says_how_far_it_is,
    pulls::what_is_wrong_is_said_with_the_registry_and_what_to_do,
    pulls::the_registry_says_what_a_tag_means,
    logins::a_login_from_a_file_is_seen_when_it_is_renewed,
    logins::a_login_from_a_helper_program,
    logins::a_login_given_for_this_once_comes_first_and_is_written_nowhere,
    releases::a_release_runs_what_it_fetched_wherever_the_tag_goes,
    releases::a_login_that_is_refused_changes_nothing,
    releases::an_agent_that_dies_takes_the_login_with_it,
    prune::images_nothing_needs_are_told_and_then_removed,
}
