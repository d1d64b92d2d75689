//! The contract of `ports::Engine`, and plans performed through it, on real engines.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name their sockets (`unix:///var/run/docker.sock`). An engine
//! that is not named is not tested, which is printed; with `CI=true` it fails. `ARKWRIGHT_TEST_IMAGE` is an image both
//! have, with `/bin/sh`, `bash`, `perl` and `getent`.

mod bench;
mod broken;
mod busy;
mod changes;
mod checks;
#[path = "../common/mod.rs"]
mod common;
mod containers;
mod cut;
mod files;
mod images;
mod inside;
mod lifecycle;
mod networks;
mod ownership;
mod pointing;
mod ports;
mod private;
mod released;
mod rounds;
mod settings;
mod stacks;
mod stats;
mod streams;
mod trouble;
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
    inside::what_a_command_that_takes_too_long_started_is_killed_with_it,
    streams::output_of_any_size_comes_out_whole,
    streams::input_goes_in_and_its_end_is_seen,
    streams::a_program_that_fails_after_its_output_is_an_error,
    streams::output_nobody_reads_ends_the_program,
    streams::input_that_breaks_ends_the_program_before_it_sees_an_end,
    streams::a_silent_program_is_ended,
    streams::a_stream_that_ends_before_its_program_is_not_whole,
    streams::a_program_in_what_does_not_run_is_refused,
    streams::a_folder_and_a_volume_come_out_as_an_archive,
    inside::logs_give_the_newest_lines_of_both_streams,
    inside::a_line_written_in_pieces_is_logged_whole,
    inside::logs_are_followed_to_the_end,
    inside::what_a_specification_says_is_so_inside,
    networks::two_networks_at_creation_with_their_aliases,
    networks::connecting_and_disconnecting_are_idempotent,
    networks::a_network_is_made_once_and_removed_once,
    networks::a_fixed_address_is_given,
    networks::host_gateway_is_an_address,
    networks::name_servers_of_its_own_do_not_keep_a_container_from_finding_the_others,
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
    trouble::a_dependency_that_fails_is_named_with_its_log,
    files::a_secret_from_the_environment_is_a_file_inside,
    checks::the_host_is_checked,
    checks::our_own_ports_are_no_finding_and_anothers_are,
    checks::the_engine_says_what_it_carries_out,
    checks::memory_in_use_is_told_of_what_runs,
    stats::a_burning_processor_is_told_as_a_share_of_its_limit,
    stats::memory_that_is_held_is_told_and_the_cache_of_files_is_not,
    stats::what_does_not_run_has_no_figures,
    released::a_released_service_comes_up_and_the_router_gets_its_addresses,
    lifecycle::a_handler_of_sigterm_that_takes_two_seconds_is_given_them,
    lifecycle::what_ignores_its_signal_is_killed_after_the_grace,
    lifecycle::without_a_grace_the_containers_own_counts,
    lifecycle::the_stop_signal_is_the_one_asked_for,
    lifecycle::on_failure_restarts_as_often_as_it_says,
    lifecycle::a_container_that_is_to_run_always_comes_back_by_itself,
    lifecycle::a_killed_container_says_so_by_its_exit_code,
    lifecycle::a_paused_container_is_seen_stopped_and_removed,
    lifecycle::a_wait_for_a_container_that_is_removed_ends,
    lifecycle::anonymous_volumes_go_with_their_container,
    lifecycle::a_program_that_is_not_in_the_image_is_a_refusal,
    settings::unicode_and_odd_characters_arrive_in_environment_and_labels,
    settings::an_environment_of_a_hundred_kilobytes_arrives_whole,
    settings::a_scratch_folder_is_as_large_as_it_says_on_a_root_that_cannot_be_written,
    settings::groups_and_devices_are_there,
    settings::names_are_looked_up_as_asked,
    settings::memory_processes_and_processors_are_limited,
    settings::init_is_process_one_or_a_clear_refusal,
    settings::the_log_driver_local_works_or_is_a_clear_refusal,
    settings::logs_are_kept_within_the_size_asked_for,
    settings::a_container_without_a_network_or_with_anothers_is_so,
    settings::entrypoint_and_command_are_words_not_shell,
    settings::a_terminal_is_one_and_its_log_is_read,
    settings::capabilities_are_added_to_none,
    ports::a_published_port_is_reached_over_tcp_and_udp,
    ports::a_port_on_all_addresses_is_reached_on_each,
    ports::a_port_on_the_loopback_of_version_six_answers_or_is_a_refusal,
    ports::of_a_range_of_ports_each_container_takes_one_that_no_other_has,
    ports::replicas_get_ports_of_their_own_where_none_is_named,
    ports::a_container_writes_to_the_host_through_its_gateway,
    ownership::networks_and_volumes_are_listed_by_the_whole_label,
    ownership::what_is_external_is_used_and_never_removed,
    ownership::a_project_with_a_longer_name_is_not_ours,
    ownership::a_network_that_a_stranger_uses_survives_down_and_he_is_told,
    ownership::orphans_are_reported_and_removed_only_when_asked,
    ownership::an_image_is_known_by_its_id_whatever_its_name_comes_back_as,
    ownership::a_name_with_the_address_of_docker_hub_means_the_same_image,
    ownership::two_creations_of_one_network_at_once_make_one,
    ownership::an_alias_is_set_at_creation_and_means_every_replica,
    changes::a_changed_variable_recreates_its_service_alone,
    changes::a_changed_mount_recreates_its_service_alone,
    changes::a_new_network_of_a_service_recreates_it_alone,
    changes::an_image_that_means_another_one_now_recreates_its_service_alone,
    changes::a_job_that_is_done_is_not_run_again,
    changes::what_asks_for_it_is_restarted_with_what_it_depends_on,
    changes::replicas_come_and_go_from_the_end,
    changes::a_killed_container_is_started_again_by_up,
    changes::a_paused_container_is_told_and_left_to_whoever_paused_it,
    changes::a_network_removed_by_hand_is_made_again_with_everything_on_it,
    changes::data_in_a_volume_without_a_name_outlives_a_recreation,
    changes::what_shares_a_network_is_made_anew_with_it,
    changes::down_keeps_named_volumes_and_up_finds_the_data_again,
    changes::wishes_about_releases_change_nothing_where_nothing_is_released,
    changes::what_waits_for_a_start_begins_after_it,
    files::a_secret_is_in_no_label_and_no_command,
    trouble::a_strangers_container_with_a_services_name_is_left_alone_and_named,
    trouble::an_image_that_is_missing_is_said_before_anything_is_stopped,
    trouble::a_container_that_restarts_forever_is_called_hopeless,
    trouble::a_service_without_a_health_check_is_never_waited_for_to_be_healthy,
    trouble::two_creations_of_one_name_at_once_make_one_container,
    trouble::two_removals_at_once_both_succeed,
    trouble::a_second_network_of_the_same_name_is_taken_away,
    broken::a_socket_that_vanishes_in_the_middle_of_a_call_is_a_broken_connection_with_advice,
    broken::an_up_that_is_cut_at_any_call_is_finished_by_the_next,
    broken::an_engine_restarted_in_the_middle_of_an_up_is_no_harm,
    pointing::after_a_restart_of_the_engine_the_router_asks_the_new_addresses,
    rounds::fifty_rounds_up_and_down_leave_nothing_behind,
    busy::of_two_ups_at_once_the_second_says_who_is_at_work,
    busy::an_up_that_is_killed_leaves_no_lock_and_nothing_doubled,
}
