//! The contract of `ports::Engine`, and plans performed through it, on real engines.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name their sockets (`unix:///var/run/docker.sock`). An engine
//! that is not named is not tested, which is printed; with `CI=true` it fails. `ARKWRIGHT_TEST_IMAGE` is an image both
//! have, with `/bin/sh`, `sleep` and `getent`.

mod bench;
#[path = "../common/mod.rs"]
mod common;
mod containers;
mod images;
mod inside;
mod networks;
mod released;
mod stacks;
mod volumes;

macro_rules! contract {
    ($($room:ident :: $case:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::bench::run("ARKWRIGHT_TEST_DOCKER", stringify!($case), |bench| async move {
                    crate::$room::$case(&bench).await
                })
                .await;
            })*
        }
        mod podman {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::bench::run("ARKWRIGHT_TEST_PODMAN", stringify!($case), |bench| async move {
                    crate::$room::$case(&bench).await
                })
                .await;
            })*
        }
    };
}

contract! {
    containers::the_engine_says_what_it_is,
    containers::a_container_is_created_started_stopped_and_removed,
    containers::stopping_and_removing_twice_is_as_once,
    containers::a_taken_name_is_a_conflict,
    containers::an_image_that_is_not_here_is_not_found,
    containers::an_exit_code_is_waited_for,
    containers::lists_hold_while_containers_come_and_go,
    containers::only_the_projects_own_is_observed,
    containers::a_prefix_of_an_id_is_no_name,
    containers::a_taken_port_is_said,
    containers::health_goes_from_starting_to_healthy,
    containers::health_turns_bad,
    inside::a_command_runs_inside_and_its_streams_are_apart,
    inside::a_commands_output_is_bounded,
    inside::a_command_that_takes_too_long_is_killed,
    inside::logs_give_the_newest_lines_of_both_streams,
    inside::logs_are_followed_to_the_end,
    inside::what_a_specification_says_is_so_inside,
    networks::two_networks_at_creation_with_their_aliases,
    networks::connecting_and_disconnecting_are_idempotent,
    networks::a_network_is_made_once_and_removed_once,
    networks::a_fixed_address_is_given,
    networks::host_gateway_is_an_address,
    volumes::a_volume_is_made_once_found_on_disk_and_removed_once,
    volumes::a_volume_in_use_stays,
    volumes::mounts_are_where_they_were_asked_for,
    volumes::a_missing_bind_source_is_refused_or_made_but_never_silent,
    images::an_image_is_described_and_a_missing_one_is_none,
    images::an_image_goes_out_and_comes_back,
    images::an_image_gets_a_second_name,
    images::a_pull_that_cannot_work_says_so,
    images::images_and_their_users_are_listed,
    stacks::a_stack_goes_up_stays_up_and_comes_down,
    stacks::a_plan_cut_off_is_finished_by_the_next,
    stacks::a_dependency_that_fails_is_named_with_its_log,
    stacks::a_secret_from_the_environment_is_a_file_inside,
    stacks::the_host_is_checked,
    released::a_released_service_comes_up_and_the_router_gets_its_addresses,
}
