//! Engines that go away in the middle of things.

use std::error::Error;
use std::time::{Duration, Instant};

use arkwright::model::Span;
use arkwright::plan::labels;
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::{Restart, Service};
use rustix::process::Signal;

use crate::bench::{Bench, until};
use crate::cut::Cut;
use crate::private::Private;
use crate::stacks::{Project, data, service, words};

pub async fn a_socket_that_vanishes_in_the_middle_of_a_call_is_a_broken_connection_with_advice(bench: &Bench) {
    let mut cut = Cut::before(bench);
    let through = cut.bench(bench).await;
    let id = through.run(&bench.sleeper("lasting")).await;

    // In the middle of a long call.
    cut.after(2);
    let began = Instant::now();
    let command = ["sleep".to_owned(), "30".to_owned()];
    let waiting = through.engine.exec(&id, &command, Duration::from_secs(60));
    let error = waiting.await.expect_err("cut");
    assert!(matches!(error, EngineError::Broken { .. }), "{error:?}");
    assert!(error.to_string().contains("see that the engine runs"), "{error}");
    assert!(error.source().is_some(), "{error:?}");
    assert!(
        cut.is_cut() && began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );

    // And every kind of call while it is away.
    let errors = [
        through.engine.container(id.as_str()).await.err(),
        through.engine.observe(&bench.project).await.err(),
        through.engine.start_container(&id).await.err(),
        through.engine.remove_network("none").await.err(),
        through.engine.image(&bench.image).await.err(),
        through.engine.logs(&id, 5).await.err(),
    ];
    for error in errors {
        let error = error.expect("nobody is there");
        assert!(
            matches!(error, EngineError::Broken { .. } | EngineError::Unreachable { .. }),
            "{error:?}"
        );
    }

    // Back again, the same connection object works.
    cut.mend();
    assert!(through.look(&id).await.running());
    assert_eq!(through.sh(&id, "echo here").await, "here\n");
    through.engine.stop_container(&id, None).await.expect("stopped");
}

/// The last request before the cut reaches the engine and its answer nobody: it may have taken effect.
pub async fn an_up_that_is_cut_at_any_call_is_finished_by_the_next(bench: &Bench) {
    let mut cut = Cut::before(bench);
    let through = cut.bench(bench).await;
    let mut broke = 0;
    for calls in [1, 2, 3, 5, 7, 9, 11, 13, 16, 19, 22] {
        let web = Service {
            mounts: vec![data()],
            networks: ["default", "back"]
                .map(|key| (key.to_owned(), Default::default()))
                .into(),
            ..service(bench, "web", "echo begun >> /data/log; sleep 600")
        };
        let mut project = Project::of(&through, [web, service(bench, "cache", "sleep 600")]);
        project.service("web").replicas = 2;
        let plan = project.plan().await;
        cut.after(calls);
        if project.perform(&plan).await.is_err() {
            broke += 1;
        }
        cut.mend();
        project.up().await;
        assert_eq!(
            bench.services().await,
            ["cache runs", "web runs", "web runs"],
            "cut after {calls} calls"
        );
        assert_eq!(
            words(&project.plan().await),
            Vec::<String>::new(),
            "cut after {calls} calls"
        );
        let observed = bench.engine.observe(&bench.project).await.expect("observed");
        assert_eq!(
            (observed.networks.len(), observed.volumes.len()),
            (2, 1),
            "cut after {calls} calls"
        );
        bench.clean().await;
    }
    assert!(broke >= 8, "only {broke} were cut in the middle");
}

async fn services(bench: &Bench) -> Vec<String> {
    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    let mut names: Vec<String> = observed
        .containers
        .iter()
        .map(|c| (c.label(labels::SERVICE).unwrap_or_default(), c.running(), c.exit_code))
        .map(|(service, runs, code)| match (runs, code) {
            (true, _) => format!("{service} runs"),
            (false, Some(0)) => format!("{service} ended"),
            (false, code) => format!("{service} is down {code:?}"),
        })
        .collect();
    names.sort();
    names
}

/// What a restarted engine makes of its containers is its own business; the next `up` puts right what it left.
pub async fn an_engine_restarted_in_the_middle_of_an_up_is_no_harm(bench: &Bench) {
    let Some(mut own) = Private::start(bench).await else {
        return;
    };
    let inner = own.bench("restart").await;
    let mut project = Project::three(&inner);
    for name in ["cache", "web"] {
        project.service(name).restart = Restart::UnlessStopped;
    }
    if let Some(check) = project.service("cache").healthcheck.as_mut() {
        check.retries = Some(200);
        check.timeout = Some(Span::seconds(5));
    }
    let cache = ["sh", "-c", "sleep 3; touch /tmp/ready; sleep 600"];
    project.service("cache").command = Some(cache.map(str::to_owned).into());
    // Once ended hard while the first containers are made, once told to end while one is waited for.
    for (moment, signal) in [("start container", Signal::KILL), ("wait for cache", Signal::TERM)] {
        let plan = project.plan().await;
        let before = project.said.lines().matches(moment).count();
        let ending = async {
            until(moment, || async {
                project.said.lines().matches(moment).count() > before
            })
            .await;
            own.end(signal).await;
        };
        let (result, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(180), project.perform(&plan)),
            ending
        );
        let error = result.expect("it does not hang").expect_err("the engine went away");
        let told = format!(
            "{error}: {}",
            error.source().map(ToString::to_string).unwrap_or_default()
        );
        assert!(told.contains("engine"), "{told}");
        own.serve().await;
    }
    project.up().await;
    let wanted = ["cache runs", "migrate ended", "web runs"];
    assert_eq!(services(&inner).await, wanted);
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    let observed = inner.engine.observe(&inner.project).await.expect("observed");
    assert_eq!((observed.networks.len(), observed.volumes.len()), (2, 1));
    let log = inner.sh(&project.find("web").await.id, "cat /data/log").await;

    // And with everything up: Docker takes its containers down with it and brings them back, Podman leaves them.
    own.end(Signal::KILL).await;
    own.serve().await;
    until("everything runs, by itself or by `up`", || async {
        project.up().await;
        services(&inner).await == wanted
    })
    .await;
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    let web = project.find("web").await;
    assert_eq!(
        inner.sh(&web.id, "cat /data/log").await,
        log,
        "the job is not run again"
    );
    inner.clean().await;
}
