//! An operator that follows a script, and a clock that goes with tokio's.

#![expect(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arkwright::journal::{Illegal, Request};
use arkwright::model::{Logins, OperationId, Timestamp};
use arkwright::ports::{Clock, Entropy};
use arkwright::run::{
    Blame, Line, News, OperationError, Operator, Order, Petition, Receipt, Schedules, Update, UpdateKind, Watch,
};
use async_trait::async_trait;
use chrono_tz::Tz;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Wall time that passes as tokio's does, paused or not.
pub struct TestClock {
    base: Timestamp,
    start: Instant,
}

impl TestClock {
    pub fn at(text: &str) -> Arc<Self> {
        Arc::new(TestClock {
            base: time(text),
            start: Instant::now(),
        })
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        self.base + self.start.elapsed()
    }
}

pub fn time(text: &str) -> Timestamp {
    chrono::DateTime::parse_from_rfc3339(text).expect("a time").to_utc()
}

/// Counts instead of throwing dice.
#[derive(Default)]
pub struct Counting(Mutex<u32>);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let mut count = self.0.lock().expect("whole");
        *count += 1;
        let digits = count.to_be_bytes();
        for (byte, digit) in bytes.iter_mut().rev().zip(digits.iter().rev()) {
            *byte = *digit;
        }
    }
}

/// How an order goes.
#[derive(Clone)]
pub struct Script {
    pub steps: Vec<(&'static str, Duration)>,
    /// Aborts are refused once so many steps are finished.
    pub commit: usize,
    pub end: End,
}

#[derive(Clone)]
pub enum End {
    Good(&'static str),
    /// The last step fails and everything is taken back.
    Unwound(&'static str),
    /// All was done, and it was not enough.
    Short(&'static str),
    /// Stuck until asked to retry.
    Stuck,
    /// The journal cannot be written the first so many times.
    Broken(u32),
    Panic,
    /// Not even planned.
    Refused(OperationError),
}

impl Script {
    pub fn of(steps: usize, each: Duration, end: End) -> Self {
        let names = ["pull the image", "start the containers", "shift the traffic", "settle"];
        Script {
            steps: names.iter().cycle().take(steps).map(|name| (*name, each)).collect(),
            commit: steps.saturating_sub(1),
            end,
        }
    }
}

/// What outlives an agent: the journals on the disk.
#[derive(Default)]
pub struct World {
    pub journals: BTreeMap<OperationId, Journal>,
    /// When each order was begun.
    pub begun: Vec<(Timestamp, Order)>,
    /// The logins each order came with.
    pub logins: Vec<Logins>,
    pub due: Vec<Order>,
}

pub struct Journal {
    pub order: Order,
    pub by: String,
    pub started: Timestamp,
    pub ended: Option<(String, bool, Option<String>, Timestamp)>,
    pub done: usize,
    aborted: Option<String>,
    trials: u32,
}

pub struct Scripted {
    pub world: Arc<Mutex<World>>,
    clock: Arc<dyn Clock>,
    scripts: Vec<(String, Script)>,
    schedules: Schedules,
}

impl Scripted {
    pub fn new(clock: Arc<dyn Clock>, world: Arc<Mutex<World>>) -> Self {
        Scripted {
            world,
            clock,
            scripts: Vec::new(),
            schedules: Schedules::default(),
        }
    }

    /// Orders whose words contain `words` go like this; others take a second and go well.
    pub fn with(mut self, words: &str, script: Script) -> Self {
        self.scripts.push((words.to_owned(), script));
        self
    }

    pub fn scheduled(mut self, line: &str, order: Order) -> Self {
        let line = line.parse().expect("a crontab line");
        self.schedules.lines.push((order, line));
        self
    }

    pub fn in_zone(mut self, zone: Tz) -> Self {
        self.schedules.zone = zone;
        self
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("whole")
    }

    fn script(&self, order: &Order) -> Script {
        let text = order.to_string();
        let found = self.scripts.iter().find(|(words, _)| text.contains(words.as_str()));
        let good = match order {
            Order::Deploy { .. } | Order::DeployTogether { .. } => "deployed",
            Order::Rollback { .. } | Order::RollbackTogether { .. } => "rolled_back",
            Order::Retire { .. } => "retired",
            Order::Backup { .. } => "published",
            Order::Prune { .. } => "pruned",
            Order::Drill { .. } => "passed",
            Order::Emergency(_) => "recovered",
        };
        found.map_or_else(
            || Script::of(1, Duration::from_secs(1), End::Good(good)),
            |(_, script)| script.clone(),
        )
    }

    fn made(id: &OperationId, journal: &Journal) -> Receipt {
        let (outcome, ok, because, ended) = journal
            .ended
            .clone()
            .unwrap_or_else(|| ("running".into(), false, None, journal.started));
        Receipt {
            operation: id.clone(),
            kind: journal.order.lane().to_owned(),
            subject: journal.order.to_string(),
            outcome,
            ok,
            because,
            by: journal.by.clone(),
            started: journal.started,
            ended,
            lines: vec![Line::new("steps", journal.done.to_string())],
            detail: detail(&journal.order, ok),
        }
    }

    fn end(&self, id: &OperationId, outcome: &str, ok: bool, because: Option<&str>) -> Receipt {
        let mut world = self.world();
        let journal = world.journals.get_mut(id).expect("begun");
        journal.ended = Some((outcome.to_owned(), ok, because.map(str::to_owned), self.clock.now()));
        Self::made(id, journal)
    }

    fn say(&self, watch: &dyn Watch, id: &OperationId, kind: UpdateKind, text: impl Into<String>) {
        watch.hear(News::Update(Update {
            operation: id.clone(),
            at: self.clock.now(),
            kind,
            text: text.into(),
        }));
    }

    /// Waits out a step; an abort that fits cuts it short.
    async fn step(
        &self,
        id: &OperationId,
        script: &Script,
        takes: Duration,
        petitions: &mut mpsc::Receiver<Petition>,
    ) -> bool {
        let end = Instant::now() + takes;
        loop {
            let petition = tokio::select! {
                () = tokio::time::sleep_until(end) => return true,
                Some(petition) = petitions.recv() => petition,
            };
            let mut world = self.world();
            let journal = world.journals.get_mut(id).expect("begun");
            let committed = journal.done >= script.commit;
            let reply = match petition.request {
                Request::Retry | Request::GiveUp => Err(Illegal::NotStuck),
                Request::Abort if committed => Err(Illegal::Committed),
                Request::Abort => Ok(()),
                other => Err(Illegal::NotPausable(format!("{other:?}"))),
            };
            let taken = reply.is_ok();
            if taken {
                journal.aborted = Some(petition.by.clone());
            }
            petition.answer.send(reply).ok();
            if taken {
                return false;
            }
        }
    }
}

/// As the receipts of real operations have it.
fn detail(order: &Order, ok: bool) -> serde_json::Value {
    let (new, old) = (
        format!("sha256:{}", "a".repeat(64)),
        format!("sha256:{}", "b".repeat(64)),
    );
    match order {
        Order::Deploy { .. } | Order::Rollback { .. } | Order::Retire { .. } | Order::Emergency(_) => {
            json!({ "service": "web", "digest": new, "previous_digest": old, "proven": ok, "steps": [] })
        }
        Order::DeployTogether { .. } | Order::RollbackTogether { .. } => {
            let one = |name| json!({ "service": name, "digest": new, "previous_digest": old, "proven": ok });
            json!({ "services": ["web", "api"], "members": [one("web"), one("api")], "proven": ok, "steps": [] })
        }
        Order::Backup { set } => {
            let totals = json!({ "entries": 13, "files": 12, "bytes": 34_567, "added": 1_234 });
            let read = json!({ "totals": totals, "notes": [], "seconds": 0.4 });
            json!({ "set": set, "stores": { "local": { "generation": 7, "header_sha256": "00", "read": read } } })
        }
        Order::Prune { store, set } => json!({ "store": store, "set": set }),
        Order::Drill { name } => json!({
            "drill": name, "because": if ok { json!([]) } else { json!(["rows: FAILED: 3 fewer"]) },
            "checks": if ok { json!([]) } else {
                json!([{ "name": "rows", "expected": "7", "actual": "3 fewer", "verdict": "failed" }])
            },
            "rto": { "objective": "4h", "measured": "1m4s", "verdict": "met" },
            "rpo": { "objective": "24h", "measured": null, "verdict": "not_run", "why": "no query" },
            "evidence": { "path": "/var/lib/x.json", "sha256": "00" }
        }),
    }
}

#[async_trait]
impl Operator for Scripted {
    async fn begin(&self, id: &OperationId, order: &Order, by: &str, logins: &Logins) -> Result<(), OperationError> {
        if let End::Refused(error) = self.script(order).end {
            return Err(error);
        }
        let now = self.clock.now();
        let mut world = self.world();
        world.begun.push((now, order.clone()));
        world.logins.push(logins.clone());
        let journal = Journal {
            order: order.clone(),
            by: by.to_owned(),
            started: now,
            ended: None,
            done: 0,
            aborted: None,
            trials: 0,
        };
        let before = world.journals.insert(id.clone(), journal);
        assert!(before.is_none(), "{id} was begun twice");
        Ok(())
    }

    async fn finish(
        &self,
        id: &OperationId,
        watch: &dyn Watch,
        mut petitions: mpsc::Receiver<Petition>,
    ) -> Result<Receipt, OperationError> {
        let (order, done) = {
            let world = self.world();
            let journal = world.journals.get(id).expect("begun");
            (journal.order.clone(), journal.done)
        };
        let script = self.script(&order);
        for (name, takes) in script.steps.iter().skip(done) {
            if self.world().journals[id].aborted.is_some() {
                break;
            }
            self.say(watch, id, UpdateKind::Began, *name);
            if !self.step(id, &script, *takes, &mut petitions).await {
                self.say(watch, id, UpdateKind::Requested, "abort");
                break;
            }
            self.say(watch, id, UpdateKind::Finished, *name);
            self.world().journals.get_mut(id).expect("begun").done += 1;
        }
        let aborted = self.world().journals[id].aborted.clone();
        if let Some(by) = aborted {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Ok(self.end(id, "aborted", false, Some(&format!("aborted by {by}"))));
        }
        let trials = {
            let mut world = self.world();
            let journal = world.journals.get_mut(id).expect("begun");
            journal.trials += 1;
            journal.trials
        };
        match script.end {
            End::Short(word) => Ok(self.end(id, word, false, None)),
            End::Good(word) => Ok(self.end(id, word, true, None)),
            End::Unwound(word) => {
                let log = "settle: the new colour answers 500\n::error::from a container\n##[error]from another";
                self.say(watch, id, UpdateKind::Failed, log);
                Ok(self.end(
                    id,
                    word,
                    false,
                    Some("settle: the new colour answers 500 | <b>\n100% of the time"),
                ))
            }
            End::Stuck => match petitions.try_recv() {
                Ok(petition) => {
                    petition.answer.send(Ok(())).ok();
                    Ok(self.end(id, "deployed", true, None))
                }
                Err(_) => Err(OperationError::because(
                    Blame::Stuck,
                    "`shift the traffic` failed again and again",
                )),
            },
            End::Broken(times) if trials <= times => {
                Err(OperationError::because(Blame::Host, "no space left on device"))
            }
            End::Broken(_) => Ok(self.end(id, "deployed", true, None)),
            End::Panic => panic!("a defect"),
            End::Refused(error) => Err(error),
        }
    }

    fn receipt(&self, id: &OperationId) -> Result<Receipt, OperationError> {
        let world = self.world();
        let journal = world.journals.get(id);
        journal
            .map(|journal| Self::made(id, journal))
            .ok_or_else(|| OperationError::because(Blame::NotFound, format!("there is no operation {id}")))
    }

    fn history(&self) -> Result<Vec<Receipt>, OperationError> {
        Ok(self.world().journals.iter().map(|(id, j)| Self::made(id, j)).collect())
    }

    fn unfinished(&self) -> Result<Vec<(OperationId, &'static str)>, OperationError> {
        let world = self.world();
        let open = world.journals.iter().filter(|(_, journal)| journal.ended.is_none());
        Ok(open.map(|(id, journal)| (id.clone(), journal.order.lane())).collect())
    }

    async fn due(&self, _now: Timestamp) -> Result<Vec<Order>, OperationError> {
        Ok(self.world().due.clone())
    }

    fn scheduled(&self) -> Schedules {
        self.schedules.clone()
    }
}

pub fn deploy(image: &str) -> Order {
    Order::Deploy {
        service: "web".parse().expect("a service"),
        image: Some(image.to_owned()),
        no_canary: false,
        overriding: None,
    }
}

pub fn rollback() -> Order {
    Order::Rollback {
        service: "web".parse().expect("a service"),
        reason: None,
    }
}

pub fn backup(set: &str) -> Order {
    Order::Backup { set: set.to_owned() }
}
