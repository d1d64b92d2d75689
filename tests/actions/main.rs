//! The actions as a workflow uses them: the real files and the real binary, an agent whose operator follows a script.

#[path = "../common/mod.rs"]
mod common;
mod github;
mod real;
mod runner;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arkwright::cli::action::Action;
use arkwright::http::{Listener, Socket, api, serve};
use arkwright::run::agent::Agent;
use arkwright::run::{Order, Receipt};
use arkwright::state::ProjectFolder;
use clap::ValueEnum;
use github::{FakeGitHub, Mood, State, TOKEN};
use runner::{Finished, Use, declared_inputs};
use support::{Counting, End, Script, Scripted, TestClock, World};
use tokio::task::JoinHandle;

const QUICK: Duration = Duration::from_millis(250);

/// A host with an agent; dropped, both are gone.
struct Bench {
    disk: tempfile::TempDir,
    folder: ProjectFolder,
    clock: Arc<TestClock>,
    chance: Arc<Counting>,
    world: Arc<Mutex<World>>,
    script: Script,
    alive: Option<(Agent, JoinHandle<()>, Socket)>,
}

impl Bench {
    /// Every order goes by `script`.
    fn new(script: Script) -> Self {
        let disk = tempfile::tempdir().expect("a disk");
        let folder = ProjectFolder::open(disk.path(), &"ark".parse().expect("a name")).expect("a folder");
        let mut bench = Bench {
            disk,
            folder,
            clock: TestClock::at("2026-11-20T12:00:00Z"),
            chance: Arc::default(),
            world: Arc::default(),
            script,
            alive: None,
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let operator = Scripted::new(self.clock.clone(), self.world.clone()).with("", self.script.clone());
        let agent = Agent::open(
            Arc::new(operator),
            self.clock.clone(),
            self.chance.clone(),
            &self.folder,
        )
        .expect("an agent");
        let running = agent.clone();
        let loops = tokio::spawn(async move { running.run().await });
        let (socket, listener) = Socket::bind(&self.socket(), None).expect("bound");
        let router = api(agent.clone(), "ark".parse().expect("a name"));
        tokio::spawn(serve(Listener::Unix(listener), router, agent.stopping()));
        self.alive = Some((agent, loops, socket));
    }

    async fn stop(&mut self) {
        if let Some((agent, loops, _socket)) = self.alive.take() {
            agent.stop();
            loops.await.expect("no panic");
        }
    }

    fn socket(&self) -> PathBuf {
        self.disk.path().join("a.sock")
    }

    fn step(&self, action: &'static str) -> Use {
        let socket = self.socket();
        let step = Use::of(action).with("socket", &socket.display().to_string());
        match action {
            "deploy" => step.with("service", "web").with("image", "web:2"),
            "rollback" => step.with("service", "web"),
            "backup" => step.with("set", "database"),
            _ => step.with("drill", "weekly"),
        }
    }

    fn announced(&self, action: &'static str, github: &FakeGitHub) -> Use {
        self.step(action)
            .env("GITHUB_API_URL", &github.url())
            .with("github-token", TOKEN)
            .with("url", "https://ark.example")
    }

    fn history(&self) -> Vec<Receipt> {
        let (agent, ..) = self.alive.as_ref().expect("alive");
        agent.history().expect("told")
    }

    /// The one operation there is, once it is over.
    async fn end(&self) -> Receipt {
        for _ in 0..1000 {
            let history = self.history();
            let [only] = &history[..] else {
                panic!("not one operation: {history:#?}");
            };
            if only.outcome != "running" {
                return only.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not end");
    }
}

fn good(action: &str) -> &'static str {
    match action {
        "deploy" => "deployed",
        "rollback" => "rolled_back",
        "backup" => "published",
        _ => "passed",
    }
}

fn script(action: &str, each: Duration) -> Script {
    Script::of(4, each, End::Good(good(action)))
}

/// What the step said is what the host's history says.
fn agrees(step: &Finished, receipt: &Receipt) {
    assert_eq!(step.output("outcome"), receipt.outcome);
    assert_eq!(step.output("operation"), receipt.operation.as_str());
    assert!(step.summary.contains(receipt.operation.as_str()), "{}", step.summary);
    let word = receipt.outcome.replace('_', "\\_");
    assert!(
        step.summary.lines().next().is_some_and(|line| line.ends_with(&word)),
        "{}",
        step.summary
    );
    assert_eq!(step.code == Some(0), receipt.ok);
    assert_eq!(step.annotations("error").is_empty(), receipt.ok);
}

const ACTIONS: [&str; 4] = ["deploy", "rollback", "backup", "restore-drill"];

#[test]
fn the_files_and_the_binary_know_the_same_inputs() {
    for (action, folder) in Action::value_variants().iter().zip(ACTIONS) {
        assert_eq!(action.name(), folder);
        let mut known: Vec<String> = action.inputs().iter().map(|name| (*name).to_owned()).collect();
        known.sort();
        assert_eq!(declared_inputs(folder), known);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn success() {
    for action in ACTIONS {
        let bench = Bench::new(script(action, QUICK));
        let step = bench.step(action).run();
        let receipt = bench.end().await;
        agrees(&step, &receipt);
        assert_eq!((step.code, step.output("outcome")), (Some(0), good(action)));
        assert!(
            receipt
                .by
                .ends_with("church/ark run 4711 attempt 1 job release of noah"),
            "{}",
            receipt.by
        );
        assert!(step.log.annotations.is_empty(), "{:?}", step.log.annotations);
        assert!(step.summary.contains("settle"), "{}", step.summary);
        let known = match action {
            "backup" => [("generation", "7"), ("set", "database"), ("stored-bytes", "1234")],
            "restore-drill" => [("rto", "1m4s"), ("rpo", ""), ("evidence", "/var/lib/x.json")],
            _ => [
                ("deployment-id", ""),
                ("url", ""),
                ("operation", receipt.operation.as_str()),
            ],
        };
        for (name, value) in known {
            assert_eq!(step.output(name), value, "{action}");
        }
        if matches!(action, "deploy" | "rollback") {
            assert!(step.output("digest").starts_with("sha256:aaaa"));
            assert!(step.output("previous-digest").starts_with("sha256:bbbb"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failure() {
    for action in ACTIONS {
        let word = if action == "deploy" { "rolled_back" } else { "failed" };
        let bench = Bench::new(Script::of(4, QUICK, End::Unwound(word)));
        let step = bench.step(action).run();
        agrees(&step, &bench.end().await);
        assert_eq!((step.code, step.output("outcome")), (Some(1), word));
        // A container's log in the news is not taken for commands, and the reason arrives whole.
        let [error] = &step.log.annotations[..] else {
            panic!("one annotation: {:?}", step.log.annotations);
        };
        assert_eq!(error.title, format!("arkwright {action}"));
        assert_eq!(
            error.message,
            format!("{word}: settle: the new colour answers 500 | <b>\n100% of the time")
        );
        assert!(
            step.summary.contains("\\| &lt;b&gt;<br>100% of the time"),
            "{}",
            step.summary
        );
        if action == "deploy" {
            assert!(
                step.output("digest").starts_with("sha256:bbbb"),
                "what serves is the old one"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_before_the_commit_point_it_is_taken_back() {
    for action in ACTIONS {
        let bench = Bench::new(script(action, Duration::from_secs(20)));
        let mut step = bench.step(action).start();
        step.until("pull the image");
        let step = step.cancel();
        agrees(&step, &bench.end().await);
        assert_eq!(
            (step.code, step.output("outcome"), step.cancelled),
            (Some(1), "aborted", true)
        );
        assert_eq!(step.annotations("warning")[0].message, "the host takes it back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_after_the_commit_point_it_goes_on_and_says_so() {
    for action in ACTIONS {
        let bench = Bench::new(script(action, Duration::from_millis(700)));
        let mut step = bench.step(action).start();
        step.until("settle");
        let step = step.cancel();
        agrees(&step, &bench.end().await);
        assert_eq!(
            (step.code, step.output("outcome"), step.cancelled),
            (Some(0), good(action), true)
        );
        let warning = &step.annotations("warning")[0].message;
        assert!(warning.contains("can no longer be aborted"), "{warning}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_by_the_runner_it_leaves_and_the_host_carries_on() {
    let github = FakeGitHub::start(Mood::Good).await;
    let mut slow = script("deploy", QUICK);
    slow.steps[3].1 = Duration::from_secs(10);
    let bench = Bench::new(slow);
    let mut step = bench.announced("deploy", &github).start();
    step.until("settle");
    let step = step.cancel();
    assert_eq!((step.code, step.output("outcome")), (Some(130), "running"));
    assert!(step.annotations("error")[0].message.contains("the host carries on"));
    let receipt = bench.end().await;
    assert_eq!(
        (receipt.outcome.as_str(), receipt.operation.as_str()),
        ("deployed", step.output("operation"))
    );
    let states: Vec<State> = github.seen().statuses.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [State::InProgress, State::Error]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_repeated_it_joins_the_same_operation() {
    for action in ACTIONS {
        let bench = Bench::new(script(action, Duration::from_millis(800)));
        let mut first = bench.step(action).start();
        first.until("pull the image");
        first.kill();
        let second = bench.step(action).env("GITHUB_RUN_ATTEMPT", "2").run();
        let receipt = bench.end().await;
        agrees(&second, &receipt);
        assert_eq!((second.code, second.output("outcome")), (Some(0), good(action)));
        assert!(receipt.by.contains("attempt 1"), "{}", receipt.by);
        assert!(
            second
                .log
                .lines
                .iter()
                .any(|line| line.contains("joins the same order"))
        );
        assert!(
            second.log.lines.iter().any(|line| line.contains("pull the image")),
            "it hears it all"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_ended_while_the_step_was_gone_is_not_done_twice() {
    let bench = Bench::new(script("rollback", QUICK));
    let mut first = bench.step("rollback").start();
    first.until("pull the image");
    first.kill();
    let receipt = bench.end().await;
    let second = bench.step("rollback").env("GITHUB_RUN_ATTEMPT", "2").run();
    agrees(&second, &receipt);
    assert_eq!(bench.history().len(), 1);
    let another_run = bench.step("rollback").env("GITHUB_RUN_ID", "4712").run();
    assert_eq!(another_run.code, Some(0));
    assert_eq!(bench.history().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_restarts_is_waited_for() {
    let mut bench = Bench::new(script("deploy", Duration::from_millis(600)));
    let mut step = bench.step("deploy").start();
    step.until("start the containers");
    bench.stop().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    bench.start();
    let step = step.wait();
    agrees(&step, &bench.end().await);
    assert_eq!(step.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployment_on_github_goes_with_the_outcome() {
    let cases = [
        ("deploy", End::Good("deployed"), State::Success),
        ("deploy", End::Good("unchanged"), State::Success),
        ("deploy", End::Unwound("rolled_back"), State::Failure),
        ("deploy", End::Unwound("aborted"), State::Failure),
        ("deploy", End::Stuck, State::Error),
        ("rollback", End::Good("rolled_back"), State::Success),
    ];
    for (action, end, state) in cases {
        let github = FakeGitHub::start(Mood::Good).await;
        let bench = Bench::new(Script::of(2, QUICK, end));
        let step = bench
            .announced(action, &github)
            .with("environment", "ark.example")
            .run();
        let seen = github.seen();
        assert_eq!(step.output("deployment-id"), "1234567890123");
        assert_eq!(step.output("url"), "https://ark.example");
        assert_eq!(step.code == Some(0), state == State::Success);
        assert_eq!(step.log.masks, [TOKEN]);
        let sha = "0123456789abcdef0123456789abcdef01234567".to_owned();
        assert_eq!(
            seen.deployments,
            [(sha, action.to_owned(), "ark.example".to_owned(), true)]
        );
        let states: Vec<State> = seen.statuses.iter().map(|(state, _)| *state).collect();
        assert_eq!(states, [State::InProgress, state]);
        assert!(
            seen.statuses[1].1.starts_with(step.output("outcome")),
            "{:?}",
            seen.statuses
        );
    }
    let github = FakeGitHub::start(Mood::Good).await;
    let bench = Bench::new(script("deploy", Duration::from_secs(20)));
    let mut step = bench.announced("deploy", &github).start();
    step.until("pull the image");
    assert_eq!(step.cancel().output("outcome"), "aborted");
    let states: Vec<State> = github.seen().statuses.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [State::InProgress, State::Inactive]);
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_trouble_is_a_warning_and_never_the_releases() {
    for (mood, words) in [
        (Mood::Merged, "202 Auto-merged"),
        (Mood::Forbidden, "403 Resource not accessible by integration"),
        (Mood::Conflict, "409 Conflict"),
        (Mood::Down, "502 <html>Unicorn!"),
        (Mood::Garbled, "not understood: OK"),
    ] {
        let github = FakeGitHub::start(mood).await;
        let bench = Bench::new(script("deploy", Duration::from_millis(20)));
        let step = bench.announced("deploy", &github).run();
        agrees(&step, &bench.end().await);
        assert_eq!((step.code, step.output("deployment-id")), (Some(0), ""));
        let [warning] = &step.annotations("warning")[..] else {
            panic!("one warning: {:?}", step.log.annotations);
        };
        assert!(warning.message.contains(words), "{warning:?}");
        let seen = github.seen();
        assert_eq!(
            (seen.deployments.len(), seen.statuses.len()),
            (1, 0),
            "no write is repeated"
        );
    }
    let github = FakeGitHub::start(Mood::NoStatuses).await;
    let bench = Bench::new(script("deploy", Duration::from_millis(20)));
    let step = bench.announced("deploy", &github).run();
    assert_eq!((step.code, step.annotations("warning").len()), (Some(0), 2));
    assert_eq!(github.seen().statuses.len(), 2);

    let bench = Bench::new(script("deploy", Duration::from_millis(20)));
    let nowhere = bench
        .step("deploy")
        .with("github-token", TOKEN)
        .env("GITHUB_API_URL", "http://127.0.0.1:1");
    let step = nowhere.run();
    assert_eq!((step.code, step.annotations("warning").len()), (Some(0), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_begin_says_why_and_begins_nothing() {
    let refused = |step: &Finished, code: i32, words: &str| {
        assert_eq!(
            (step.code, step.output("outcome"), step.output("operation")),
            (Some(code), "refused", "")
        );
        let errors = step.annotations("error");
        assert!(
            errors.len() == 1 && errors[0].message.contains(words),
            "{:?}",
            step.log.annotations
        );
    };
    let error = arkwright::run::OperationError::because(arkwright::run::Blame::NotFound, "there is no service `web`")
        .hinted("did you mean `line-service`?");
    let bench = Bench::new(Script::of(1, QUICK, End::Refused(error)));
    refused(
        &bench.step("deploy").run(),
        8,
        "there is no service `web`; did you mean `line-service`?",
    );
    refused(
        &bench.step("deploy").with("service", "").run(),
        3,
        "`service` is required",
    );
    refused(
        &bench.step("deploy").with("no-canary", "yes").run(),
        3,
        "neither true nor false",
    );
    let forged = bench.step("deploy").with("image", "web:2\n::error::forged");
    refused(&forged.run(), 3, "more than one line");
    let absent = bench.step("deploy").with("socket", "/nonexistent/a.sock");
    refused(&absent.run(), 5, "start one with `arkwright agent`");
    refused(
        &bench.step("backup").with("binary", "").run(),
        5,
        "no arkwright on the runner's PATH",
    );
    refused(
        &bench.step("backup").with("binary", "/nonexistent").run(),
        5,
        "names no program",
    );
    assert!(bench.history().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_data_wherever_they_pass() {
    let hostile = r#"web:2"; touch pwned; $(touch pwned) `touch pwned` ${{ github.token }} %0A::error::x ' \ <<E"#;
    let bench = Bench::new(script("deploy", Duration::from_millis(20)));
    let step = bench.step("deploy").with("image", hostile).run();
    assert_eq!((step.code, step.log.annotations.len()), (Some(0), 0));
    let begun = bench.world.lock().expect("whole").begun[0].1.clone();
    assert!(matches!(begun, Order::Deploy { image: Some(image), .. } if image == hostile));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_cannot_finish_now_fails_the_step_with_its_word() {
    let bench = Bench::new(Script::of(2, QUICK, End::Stuck));
    let step = bench.step("deploy").run();
    assert_eq!((step.code, step.output("outcome")), (Some(10), "stuck"));
    assert_eq!(step.output("operation"), bench.history()[0].operation.as_str());

    let bench = Bench::new(Script::of(2, QUICK, End::Broken(1)));
    let step = bench.step("deploy").run();
    assert_eq!((step.code, step.output("outcome")), (Some(5), "running"));
    let error = &step.annotations("error")[0].message;
    assert!(
        error.contains("no space left on device; the host tries again"),
        "{error}"
    );
    assert_eq!(bench.end().await.outcome, "deployed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_that_ran_and_did_not_pass_says_which_check() {
    let bench = Bench::new(Script::of(2, QUICK, End::Short("inconclusive")));
    let step = bench.step("restore-drill").run();
    agrees(&step, &bench.end().await);
    assert_eq!((step.code, step.output("evidence")), (Some(9), "/var/lib/x.json"));
    assert_eq!(step.annotations("error")[0].message, "inconclusive: rows: FAILED");
}
