use std::time::{Duration, Instant};

use arkwright::model::Span;
use arkwright::plan::{ContainerSpec, ContainerState, SpecMount};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::Restart;

use crate::bench::{Bench, until};

/// A container whose shell runs `line` and then waits for ever, in slices short enough for its traps.
fn trapping(bench: &Bench, what: &str, line: &str) -> ContainerSpec {
    bench.spec(
        what,
        &[
            "sh",
            "-c",
            &format!("{line}; touch /tmp/ready; while :; do sleep 0.1; done"),
        ],
    )
}

async fn ready(bench: &Bench, spec: &ContainerSpec) -> arkwright::model::ContainerId {
    let id = bench.run(spec).await;
    until("the traps are set", || async {
        bench.sh(&id, "test -e /tmp/ready && echo yes || true").await == "yes\n"
    })
    .await;
    id
}

pub async fn a_handler_of_sigterm_that_takes_two_seconds_is_given_them(bench: &Bench) {
    let spec = trapping(bench, "slow", "trap 'sleep 2; echo finished; exit 7' TERM");
    let id = ready(bench, &spec).await;
    let began = Instant::now();
    bench
        .engine
        .stop_container(&id, Some(Duration::from_secs(90)))
        .await
        .expect("stopped");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(80),
        "{took:?}"
    );
    assert_eq!(bench.look(&id).await.exit_code, Some(7));
    until("its last word", || async {
        bench.engine.logs(&id, 10).await.expect("logs").contains("finished")
    })
    .await;
}

pub async fn what_ignores_its_signal_is_killed_after_the_grace(bench: &Bench) {
    let spec = ContainerSpec {
        stop_grace: Some(Span::seconds(90)),
        ..trapping(bench, "deaf", "trap '' TERM")
    };
    let id = ready(bench, &spec).await;
    let began = Instant::now();
    bench
        .engine
        .stop_container(&id, Some(Duration::from_secs(1)))
        .await
        .expect("stopped");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(80),
        "{took:?}"
    );
    assert_eq!(bench.look(&id).await.exit_code, Some(137));
}

pub async fn without_a_grace_the_containers_own_counts(bench: &Bench) {
    let spec = ContainerSpec {
        // Longer than the ten seconds an engine gives one that does not say.
        stop_grace: Some(Span::seconds(13)),
        ..trapping(bench, "own", "trap '' TERM")
    };
    let id = ready(bench, &spec).await;
    let began = Instant::now();
    bench.engine.stop_container(&id, None).await.expect("stopped");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(12_900) && took < Duration::from_secs(80),
        "{took:?}"
    );
}

pub async fn the_stop_signal_is_the_one_asked_for(bench: &Bench) {
    let spec = ContainerSpec {
        stop_signal: Some("SIGUSR1".into()),
        ..trapping(bench, "signal", "trap 'exit 9' USR1; trap 'exit 8' TERM")
    };
    let id = ready(bench, &spec).await;
    bench.engine.stop_container(&id, None).await.expect("stopped");
    assert_eq!(bench.look(&id).await.exit_code, Some(9));
}

pub async fn on_failure_restarts_as_often_as_it_says(bench: &Bench) {
    let spec = ContainerSpec {
        restart: Restart::OnFailure { attempts: Some(2) },
        ..bench.spec("again", &["sh", "-c", "echo tried; exit 3"])
    };
    let id = bench.run(&spec).await;
    until("it is given up", || async {
        let seen = bench.look(&id).await;
        seen.state == ContainerState::Exited && seen.restart_count == 2
    })
    .await;
    // No third one comes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let seen = bench.look(&id).await;
    assert_eq!(
        (seen.state, seen.exit_code, seen.restart_count),
        (ContainerState::Exited, Some(3), 2)
    );
    assert_eq!(
        bench
            .engine
            .logs(&id, 100)
            .await
            .expect("logs")
            .matches("tried")
            .count(),
        3
    );
}

pub async fn a_container_that_is_to_run_always_comes_back_by_itself(bench: &Bench) {
    let spec = ContainerSpec {
        restart: Restart::Always,
        ..bench.spec("always", &["sh", "-c", "sleep 1; exit 0"])
    };
    let id = bench.run(&spec).await;
    until("it has come back twice", || async {
        bench.look(&id).await.restart_count >= 2
    })
    .await;
    // Told to stop, it stays stopped.
    bench.engine.stop_container(&id, None).await.expect("stopped");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.look(&id).await.state, ContainerState::Exited);
}

pub async fn a_killed_container_says_so_by_its_exit_code(bench: &Bench) {
    let id = bench.run(&bench.sleeper("victim")).await;
    bench
        .order("POST", &format!("/containers/{id}/kill?signal=SIGKILL"))
        .await;
    assert_eq!(bench.engine.wait_exit(&id).await.expect("an exit"), 137);
    assert_eq!(bench.look(&id).await.state, ContainerState::Exited);
}

pub async fn a_paused_container_is_seen_stopped_and_removed(bench: &Bench) {
    let id = bench.run(&bench.sleeper("paused")).await;
    bench.order("POST", &format!("/containers/{id}/pause")).await;
    assert_eq!(bench.look(&id).await.state, ContainerState::Paused);
    let began = Instant::now();
    bench
        .engine
        .stop_container(&id, Some(Duration::from_secs(1)))
        .await
        .expect("stopped");
    assert_eq!(bench.look(&id).await.state, ContainerState::Exited);

    bench.engine.start_container(&id).await.expect("started");
    bench.order("POST", &format!("/containers/{id}/pause")).await;
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(bench.engine.container(id.as_str()).await.expect("an answer").is_none());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

pub async fn a_wait_for_a_container_that_is_removed_ends(bench: &Bench) {
    let id = bench.run(&bench.sleeper("awaited")).await;
    let waiting = bench.engine.wait_exit(&id);
    let removing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.engine.remove_container(&id).await.expect("removed");
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(20), waiting), removing);
    match ended.expect("it ends") {
        // Seen dead in the moment between its end and its removal.
        Ok(code) => assert_eq!(code, 137),
        Err(error) => assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}"),
    }
}

pub async fn anonymous_volumes_go_with_their_container(bench: &Bench) {
    let spec = ContainerSpec {
        mounts: vec![SpecMount::Volume {
            source: None,
            target: "/scratch".into(),
            read_only: false,
            nocopy: false,
        }],
        ..bench.sleeper("anonymous")
    };
    let id = bench.run(&spec).await;
    let seen = bench.inspect(&id).await;
    let name = seen
        .pointer("/Mounts/0/Name")
        .and_then(|name| name.as_str())
        .expect("a volume")
        .to_owned();
    assert!(bench.engine.volume(&name).await.expect("an answer").is_some());
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(
        bench.engine.volume(&name).await.expect("an answer").is_none(),
        "{name} is left"
    );
}

pub async fn a_program_that_is_not_in_the_image_is_a_refusal(bench: &Bench) {
    let spec = bench.spec("nothing", &["/no/such/program"]);
    let id = bench.engine.create_container(&spec).await.expect("created");
    let error = bench.engine.start_container(&id).await.expect_err("no program");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}
