//! The agent against an operator that follows a script; days pass in milliseconds.

mod api;
mod command;
mod living;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arkwright::journal::Request;
use arkwright::model::OperationId;
use arkwright::run::agent::{Accepted, Agent, Submission};
use arkwright::run::{Blame, News, OperationError, Operator, Order, Receipt};
use arkwright::state::ProjectFolder;
use support::{Counting, End, Script, Scripted, TestClock, World, backup, deploy, rollback, time};
use tokio::task::JoinHandle;

const START: &str = "2026-11-20T12:00:00Z";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// One host: its disk, its clock, and whichever agent is alive on it.
struct Host {
    _disk: tempfile::TempDir,
    folder: ProjectFolder,
    clock: Arc<TestClock>,
    chance: Arc<Counting>,
    world: Arc<Mutex<World>>,
}

struct Alive {
    agent: Agent,
    loops: JoinHandle<()>,
}

impl Host {
    fn new() -> Self {
        Self::at(START)
    }

    fn at(start: &str) -> Self {
        let disk = tempfile::tempdir().expect("a disk");
        let folder = ProjectFolder::open(disk.path(), &"ark".parse().expect("a name")).expect("a folder");
        Host {
            _disk: disk,
            folder,
            clock: TestClock::at(start),
            chance: Arc::default(),
            world: Arc::default(),
        }
    }

    fn operator(&self) -> Scripted {
        Scripted::new(self.clock.clone(), self.world.clone())
    }

    fn start(&self, operator: impl Operator) -> Alive {
        let operator = Arc::new(operator);
        let agent = Agent::open(operator, self.clock.clone(), self.chance.clone(), &self.folder).expect("an agent");
        let running = agent.clone();
        let loops = tokio::spawn(async move { running.run().await });
        Alive { agent, loops }
    }

    fn begun(&self) -> Vec<String> {
        let world = self.world.lock().expect("whole");
        let line = |(at, order): &(_, Order)| format!("{} {order}", chrono::DateTime::format(at, "%a %d %H:%M"));
        world.begun.iter().map(line).collect()
    }
}

impl Alive {
    async fn order(&self, order: Order) -> Result<Accepted, OperationError> {
        self.keyed(order, None).await
    }

    async fn keyed(&self, order: Order, key: Option<&str>) -> Result<Accepted, OperationError> {
        let submission = Submission {
            order,
            by: "a test".into(),
            key: key.map(str::to_owned),
            logins: Default::default(),
        };
        self.agent.submit(submission).await
    }

    async fn hear(&self, id: &OperationId) -> (Vec<String>, Option<News>) {
        let mut follower = self.agent.follow(id).expect("known");
        let (mut heard, mut end) = (Vec::new(), None);
        while let Some(news) = follower.next().await {
            match news {
                News::Update(update) => heard.push(format!("{:?} {}", update.kind, update.text)),
                last => end = Some(last),
            }
        }
        (heard, end)
    }

    async fn end(&self, id: &OperationId) -> Receipt {
        match self.hear(id).await.1 {
            Some(News::Ended(receipt)) => *receipt,
            other => panic!("not an end: {other:?}"),
        }
    }

    async fn stop(self) {
        self.agent.stop();
        self.loops.await.expect("no panic");
    }

    /// As `kill -9` would: nothing is said to anyone.
    async fn kill(self) {
        self.loops.abort();
        self.agent.stop();
        tokio::task::yield_now().await;
    }
}

fn slow(seconds: u64) -> Script {
    Script::of(4, Duration::from_secs(seconds), End::Good("deployed"))
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_in_a_lane_and_lanes_beside_each_other() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    let first = alive.order(deploy("a")).await.expect("taken");
    let second = alive.order(deploy("b")).await.expect("taken");
    let beside = alive.order(backup("db")).await.expect("taken");
    assert_eq!(alive.end(&beside.operation).await.outcome, "published");
    assert_eq!(alive.agent.receipt(&first.operation).expect("known").outcome, "running");
    let queued = alive.agent.receipt(&second.operation).expect("known");
    assert_eq!(
        (queued.outcome.as_str(), queued.subject.as_str()),
        ("queued", "deploy web=b")
    );
    assert_eq!(alive.agent.history().expect("told").len(), 3);
    assert_eq!(alive.end(&second.operation).await.outcome, "deployed");
    assert_eq!(
        host.begun(),
        [
            "Fri 20 12:00 deploy web=a",
            "Fri 20 12:00 back up db",
            "Fri 20 12:04 deploy web=b"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_order_joins_and_every_follower_hears_all_of_it() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    let first = alive.order(deploy("a")).await.expect("taken");
    tokio::time::sleep(90 * SECOND).await;
    let again = alive.order(deploy("a")).await.expect("joined");
    assert_eq!(
        (again.operation.clone(), again.attached),
        (first.operation.clone(), true)
    );
    let (early, late) = tokio::join!(alive.hear(&first.operation), async {
        tokio::time::sleep(30 * SECOND).await;
        alive.hear(&again.operation).await
    });
    assert_eq!(early, late);
    assert_eq!(early.0.len(), 8);
    assert_eq!(alive.hear(&first.operation).await, early, "and after the end");
    let new = alive.order(deploy("a")).await.expect("taken");
    assert_ne!(new.operation, first.operation, "what is over is not joined");
}

#[tokio::test(start_paused = true)]
async fn a_finished_release_is_not_done_again_under_its_key_unless_another_came_after() {
    let host = Host::new();
    let alive = host.start(host.operator());
    let first = alive.keyed(rollback(), Some("run 1")).await.expect("taken");
    alive.end(&first.operation).await;
    let again = alive.keyed(rollback(), Some("run 1")).await.expect("joined");
    assert_eq!((again.operation, again.attached), (first.operation.clone(), true));
    alive.stop().await;

    let alive = host.start(host.operator());
    let again = alive.keyed(rollback(), Some("run 1")).await.expect("joined");
    assert!(again.attached, "also after a restart");
    assert_eq!(alive.end(&again.operation).await.outcome, "rolled_back");
    let other = alive.keyed(rollback(), Some("run 2")).await.expect("taken");
    assert!(!other.attached);
    alive.end(&other.operation).await;
    assert!(!alive.keyed(rollback(), Some("run 1")).await.expect("taken").attached);
    let saved = alive.keyed(backup("db"), Some("run 1")).await.expect("taken");
    alive.end(&saved.operation).await;
    assert!(!alive.keyed(backup("db"), Some("run 1")).await.expect("taken").attached);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    for n in 0..17 {
        alive.order(deploy(&n.to_string())).await.expect("taken");
    }
    let error = alive.order(deploy("one too many")).await.expect_err("full");
    assert_eq!(error.blame, Blame::Busy);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_planned_is_refused_at_once_or_when_its_turn_comes() {
    let host = Host::new();
    let refusal = OperationError::because(Blame::NotFound, "there is no service `web`").hinted("add it");
    let refused = Script::of(1, SECOND, End::Refused(refusal.clone()));
    let alive = host.start(host.operator().with("=bad", refused).with("deploy", slow(60)));
    assert_eq!(alive.order(deploy("bad")).await, Err(refusal.clone()));
    let good = alive.order(deploy("good")).await.expect("taken");
    let later = alive.order(deploy("bad")).await.expect("it waits");
    assert_eq!(alive.hear(&later.operation).await.1, Some(News::Broken(refusal)));
    assert_eq!(alive.agent.receipt(&later.operation).expect("known").outcome, "refused");
    assert!(alive.agent.receipt(&good.operation).expect("known").ok);
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_taken_before_the_commit_point_refused_after_it_and_withdraws_what_waits() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    let first = alive.order(deploy("a")).await.expect("taken").operation;
    let second = alive.order(deploy("b")).await.expect("taken").operation;
    let third = alive.order(deploy("c")).await.expect("taken").operation;
    alive
        .agent
        .request(&third, Request::Abort, "someone")
        .await
        .expect("withdrawn");
    assert_eq!(alive.end(&third).await.outcome, "aborted");
    alive
        .agent
        .request(&first, Request::Abort, "someone")
        .await
        .expect("taken");
    assert_eq!(alive.end(&first).await.because.as_deref(), Some("aborted by someone"));
    tokio::time::sleep(200 * SECOND).await;
    let refusal = alive
        .agent
        .request(&second, Request::Abort, "someone")
        .await
        .expect_err("too late");
    assert!(refusal.message.contains("can no longer be aborted"), "{refusal}");
    assert_eq!(alive.end(&second).await.outcome, "deployed");
    let over = alive
        .agent
        .request(&second, Request::Abort, "someone")
        .await
        .expect_err("over");
    assert!(over.message.contains("over"), "{over}");
    let nobody = "20261120T120000Z-ffffff".parse().expect("an id");
    let unknown = alive
        .agent
        .request(&nobody, Request::Abort, "someone")
        .await
        .expect_err("unknown");
    assert_eq!(unknown.blame, Blame::NotFound);
    assert_eq!(host.begun().len(), 2, "what was withdrawn never began");
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_no_order_and_resumes_before_it_begins() {
    let host = Host::new();
    let script = || host.operator().with("deploy", slow(60));
    let alive = host.start(script());
    let first = alive.order(deploy("a")).await.expect("taken").operation;
    let second = alive.order(deploy("b")).await.expect("taken").operation;
    tokio::time::sleep(90 * SECOND).await;
    alive.kill().await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(host.begun().len(), 1);

    let alive = host.start(script());
    let again = alive.order(deploy("a")).await.expect("joined");
    assert_eq!((again.operation, again.attached), (first.clone(), true));
    let (news, _) = alive.hear(&first).await;
    assert_eq!(
        news.first().map(String::as_str),
        Some("Began start the containers"),
        "not from the beginning"
    );
    assert_eq!(alive.end(&second).await.outcome, "deployed");
    assert_eq!(host.begun().len(), 2);
    alive.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_waited_over_a_long_absence_is_given_up() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    let first = alive.order(deploy("a")).await.expect("taken").operation;
    let second = alive.order(deploy("b")).await.expect("taken").operation;
    alive.kill().await;
    tokio::time::sleep(2 * HOUR).await;
    let alive = host.start(host.operator());
    assert_eq!(alive.end(&first).await.outcome, "deployed");
    assert!(alive.agent.follow(&second).is_err());
    tokio::time::sleep(HOUR).await;
    assert_eq!(host.begun().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_followers_go_takes_nothing_and_leaves_the_rest_to_be_resumed() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(60)));
    let first = alive.order(deploy("a")).await.expect("taken").operation;
    let agent = alive.agent.clone();
    let (heard, ()) = tokio::join!(alive.hear(&first), async {
        tokio::time::sleep(30 * SECOND).await;
        agent.stop();
    });
    assert_eq!(heard.1, None, "no end is made up");
    let stopped = tokio::time::Instant::now();
    assert_eq!(alive.order(deploy("b")).await.expect_err("stopping").blame, Blame::Busy);
    alive.stop().await;
    assert!(stopped.elapsed() < 6 * SECOND);
    let alive = host.start(host.operator());
    assert_eq!(alive.end(&first).await.outcome, "deployed");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_operation_holds_its_lane_until_it_is_retried() {
    let host = Host::new();
    let stuck = Script::of(2, SECOND, End::Stuck);
    let alive = host.start(host.operator().with("=bad", stuck));
    let first = alive.order(deploy("bad")).await.expect("taken").operation;
    let Some(News::Broken(error)) = alive.hear(&first).await.1 else {
        panic!("not stuck");
    };
    assert_eq!(error.blame, Blame::Stuck);
    assert_eq!(alive.agent.receipt(&first).expect("known").outcome, "stuck");
    assert_eq!(alive.order(deploy("other")).await.expect_err("held").blame, Blame::Busy);
    assert_eq!(
        alive
            .agent
            .request(&first, Request::Abort, "x")
            .await
            .expect_err("held")
            .blame,
        Blame::Busy
    );
    tokio::time::sleep(10 * HOUR).await;
    assert_eq!(alive.agent.receipt(&first).expect("known").outcome, "stuck");
    alive
        .agent
        .request(&first, Request::Retry, "someone")
        .await
        .expect("taken");
    assert_eq!(alive.end(&first).await.outcome, "deployed");
    assert!(alive.order(deploy("other")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_out_and_a_panic_ends_nobody_else() {
    let host = Host::new();
    let operator = host
        .operator()
        .with("=full", Script::of(1, SECOND, End::Broken(3)))
        .with("back up", Script::of(1, SECOND, End::Panic));
    let alive = host.start(operator);
    let full = alive.order(deploy("full")).await.expect("taken").operation;
    let broken = alive.hear(&full).await.1;
    assert!(matches!(broken, Some(News::Broken(error)) if error.blame == Blame::Host));
    let panicking = alive.order(backup("db")).await.expect("taken").operation;
    let broken = alive.hear(&panicking).await.1;
    assert!(matches!(broken, Some(News::Broken(error)) if error.message.contains("defect")));
    tokio::time::sleep(HOUR).await;
    assert_eq!(alive.end(&full).await.outcome, "deployed");
    assert!(alive.agent.alive());
}

#[tokio::test(start_paused = true)]
async fn the_first_start_fires_nothing_and_then_every_run_comes_once() {
    let host = Host::new();
    let operator = host
        .operator()
        .scheduled("0 2 * * *", backup("db"))
        .scheduled("30 */6 * * *", backup("files"));
    let alive = host.start(operator.in_zone(chrono_tz::Asia::Taipei));
    tokio::time::sleep(SECOND).await;
    assert!(host.begun().is_empty());
    tokio::time::sleep(36 * HOUR).await;
    assert_eq!(
        host.begun(),
        [
            "Fri 20 16:30 back up files",
            "Fri 20 18:00 back up db",
            "Fri 20 22:30 back up files",
            "Sat 21 04:30 back up files",
            "Sat 21 10:30 back up files",
            "Sat 21 16:30 back up files",
            "Sat 21 18:00 back up db",
            "Sat 21 22:30 back up files",
        ]
    );
    let figures = alive.agent.figures();
    assert_eq!(figures.schedules[0].next, Some(time("2026-11-22T18:00:00Z")));
    assert!(
        figures.schedules[0]
            .last_good
            .is_some_and(|at| at > time("2026-11-21T18:00:00Z"))
    );
    assert_eq!(figures.ended, [("backup".to_owned(), "published".to_owned(), 8)]);
    alive.stop().await;
}

#[tokio::test(start_paused = true)]
async fn missed_runs_are_made_up_for_once_and_restarts_reset_nothing() {
    let host = Host::new();
    let operator = || {
        host.operator()
            .scheduled("0 2 * * *", backup("db"))
            .scheduled("0 1 * * 0", backup("full"))
    };
    for _ in 0..5 {
        let alive = host.start(operator());
        tokio::time::sleep(3 * HOUR).await;
        alive.stop().await;
    }
    assert_eq!(
        host.begun(),
        ["Sat 21 02:00 back up db"],
        "a restart in between loses no run"
    );
    tokio::time::sleep(10 * 24 * HOUR).await;
    let alive = host.start(operator());
    tokio::time::sleep(HOUR).await;
    assert_eq!(
        host.begun()[1..],
        ["Tue 01 03:00 back up db", "Tue 01 03:00 back up full"],
        "ten nights and two Sundays: one each"
    );
    alive.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_takes_longer_than_its_interval_does_not_overlap() {
    let host = Host::new();
    let long = Script::of(1, Duration::from_secs(150 * 60), End::Good("published"));
    let alive = host.start(
        host.operator()
            .with("back up", long)
            .scheduled("0 * * * *", backup("db")),
    );
    tokio::time::sleep(8 * HOUR).await;
    assert_eq!(
        host.begun(),
        [
            "Fri 20 13:00 back up db",
            "Fri 20 16:00 back up db",
            "Fri 20 19:00 back up db"
        ]
    );
    alive.stop().await;
}

#[tokio::test(start_paused = true)]
async fn clock_changes_neither_skip_nor_double_a_run() {
    for (start, expected) in [
        (
            "2027-03-27T12:00:00Z",
            ["Sun 28 01:00 back up db", "Mon 29 00:30 back up db"],
        ),
        (
            "2027-10-30T12:00:00Z",
            ["Sun 31 00:30 back up db", "Mon 01 01:30 back up db"],
        ),
    ] {
        let host = Host::at(start);
        let operator = host.operator().scheduled("30 2 * * *", backup("db"));
        let alive = host.start(operator.in_zone(chrono_tz::Europe::Berlin));
        tokio::time::sleep(48 * HOUR).await;
        assert_eq!(host.begun(), expected);
        alive.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn chores_are_done_when_due_but_never_wait_behind_a_release() {
    let host = Host::new();
    let alive = host.start(host.operator().with("deploy", slow(600)));
    let retire = Order::Retire {
        service: "web".parse().expect("a service"),
    };
    let release = alive.order(deploy("a")).await.expect("taken").operation;
    host.world.lock().expect("whole").due.push(retire);
    tokio::time::sleep(1200 * SECOND).await;
    host.world.lock().expect("whole").due.clear();
    alive.end(&release).await;
    tokio::time::sleep(HOUR).await;
    assert_eq!(host.begun(), ["Fri 20 12:00 deploy web=a"], "it was not due any more");
    host.world.lock().expect("whole").due.push(rollback());
    tokio::time::sleep(15 * 60 * SECOND).await;
    assert_eq!(
        host.begun().len(),
        3,
        "once at once, once after ten minutes: {:?}",
        host.begun()
    );
    alive.stop().await;
}

#[tokio::test(start_paused = true)]
async fn damaged_memories_are_said_and_not_overwritten() {
    let host = Host::new();
    for path in [host.folder.last_runs(), host.folder.orders()] {
        std::fs::write(&path, "{\"format\":1,").expect("written");
        let operator = Arc::new(host.operator());
        let opened = Agent::open(operator, host.clock.clone(), host.chance.clone(), &host.folder);
        let error = opened.err().expect("damaged").to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(&path).expect("there"), b"{\"format\":1,");
        std::fs::remove_file(&path).expect("removed");
    }
}
