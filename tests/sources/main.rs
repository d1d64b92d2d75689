//! Sources that are reached through the engine: real servers in containers, written to while they are backed up, and
//! restored to equal contents by the standard tools.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines, as for the engine's contract. The images are those
//! of `scripts/images`. What is missing is printed as NOT RUN; with `CI=true` it fails.

mod back;
mod command;
#[path = "../common/mod.rs"]
mod common;
mod postgres;
mod prometheus;
mod rabbitmq;
mod redis;
mod stage;
#[path = "../backup/support.rs"]
#[allow(dead_code, reason = "the tests of backups use all of it")]
mod support;
mod volume;

macro_rules! on_both {
    ($($room:ident :: $case:ident),* $(,)?) => {
        mod docker {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::stage::run("ARKWRIGHT_TEST_DOCKER", |stage| async move {
                    crate::$room::$case(&stage).await
                })
                .await;
            })*
        }
        mod podman {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::stage::run("ARKWRIGHT_TEST_PODMAN", |stage| async move {
                    crate::$room::$case(&stage).await
                })
                .await;
            })*
        }
    };
}

on_both! {
    command::what_a_program_writes_is_kept_and_read_back,
    command::a_program_that_fails_or_says_nothing_fails_the_backup,
    postgres::a_server_is_dumped_while_it_is_written_to,
    postgres::what_cannot_be_dumped_fails_the_backup_and_says_why,
    back::one_database_and_one_output_go_back_into_what_runs,
    redis::a_snapshot_is_saved_for_the_backup,
    redis::a_wrong_password_fails_the_backup_and_is_not_shown,
    volume::everything_in_a_volume_is_kept,
    volume::a_volume_of_another_project_is_not_read,
    volume::the_volume_is_the_one_the_compose_file_names,
    prometheus::series_are_kept_and_the_snapshot_is_removed,
    prometheus::a_closed_admin_api_is_told,
    rabbitmq::definitions_are_kept_and_taken_by_another_server,
}
