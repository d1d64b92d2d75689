//! Every release with every call failing before and after its effect, and with the process killed at every call.

mod background;
mod canary;
mod recreate;
mod together;
mod together_canary;
mod world;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::time::{Duration, sleep};

use self::world::{Edge, Fault, NETWORK, SERVICE, World, colour_of, image_id, route};
use super::{BeforeRelease, ReleasePerformer, ReleaseScope, plan_release};
use crate::config::{self, Config, Swap};
use crate::journal::{Event, Next, Outcome, Plan, Record, Request, Saga};
use crate::model::{Colour, Span};
use crate::plan::desired::{self, HostFolders};
use crate::plan::standby;
use crate::ports::{Clock, SlotState};
use crate::release::{Goal, ReleaseStep, Subjects};
use crate::run::{Blame, Order, Perform, Progress, Receipt, StepFailed};
use crate::stack::{Attachment, Network, Service, Stack};
use crate::state::ProjectFolder;

struct Quiet;

impl Progress for Quiet {
    fn say(&self, _: &str) {}
}

struct Backups;

#[async_trait]
impl BeforeRelease for Backups {
    async fn backup(&self, set: &str, _: &dyn Progress) -> Result<String, StepFailed> {
        Ok(format!("snapshot of {set}"))
    }
}

/// A project with one released service, `app:1` serving as blue.
struct Stage {
    edge: Edge,
    performer: ReleasePerformer,
    stack: Stack,
    config: Config,
    folders: HostFolders,
    past: Vec<Saga<ReleaseStep>>,
    abort_while_holding: bool,
    ill_while_holding: bool,
    /// Kept for its end.
    _folder: tempfile::TempDir,
}

fn stage(swap: Swap) -> Stage {
    let more = match swap {
        Swap::Overlap => "steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }]",
        Swap::Hold => "before: [{ backup: database }]",
        Swap::Recreate => "healthy_for: 5s, before: [{ backup: database }]",
    };
    stage_with(swap, more, "")
}

/// `more` goes into the release, `below` to the end of the file.
fn stage_with(swap: Swap, more: &str, below: &str) -> Stage {
    stage_of(&[(SERVICE, swap, more)], below)
}

/// The first service is the one whose data and gate the world looks at.
fn stage_of(released: &[(&str, Swap, &str)], below: &str) -> Stage {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .expect("a folder");
    let service = |name: &str| Service {
        image: Some("app:1".into()),
        networks: [("default".to_owned(), Attachment::default())].into(),
        ..Service::named(name.parse().expect("a name"))
    };
    let services = released.iter().map(|(name, ..)| service(name));
    let network = Network {
        name: NETWORK.into(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv6: false,
        subnets: Vec::new(),
        labels: BTreeMap::new(),
    };
    let stack = Stack {
        name: "p".parse().expect("a name"),
        folder: "/p".into(),
        files: Vec::new(),
        read_files: Vec::new(),
        services: services.map(|service| (service.name.clone(), service)).collect(),
        disabled: BTreeMap::new(),
        networks: [("default".to_owned(), network)].into(),
        volumes: BTreeMap::new(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    };
    let word = |swap: &Swap| match swap {
        Swap::Overlap => "overlap",
        Swap::Hold => "hold",
        Swap::Recreate => "recreate",
    };
    let releases = released.iter().map(|(name, swap, more)| {
        let routed = match swap {
            Swap::Recreate => "",
            Swap::Overlap | Swap::Hold => "port: 3000, health: { http: /health }, ",
        };
        let swap = word(swap);
        format!("  {name}: {{ release: {{ {routed}swap: {swap}, {more} }} }}\n")
    });
    let text = format!(
        "services:\n{}backups: {{ recipients: [age1x], stores: {{ here: {{ path: ./b }} }}, \
         sets: {{ database: {{ sources: [{{ sqlite: ./data.db }}] }} }} }}\n{below}",
        releases.collect::<String>()
    );
    let names = stack.services.keys().cloned().collect();
    let config = config::load(&folder.path().join("arkwright.yaml"), &text, &names).expect("a configuration");
    let state = ProjectFolder::open(folder.path(), &stack.name).expect("a state folder");
    let folders = state.host_folders();
    let mut world = World::new(released[0].1, folder.path().join("data.db"));
    for (name, swap, _) in released {
        let service = &stack.services[*name];
        let made = standby::of_colour(service, &config.services[*name].release, Colour::Blue, &folders);
        let blue = match swap {
            Swap::Recreate => desired::recreated(&stack, service, 1, "app:1", &folders),
            Swap::Overlap | Swap::Hold => desired::colour(&stack, &made, Colour::Blue, 1, "app:1", &folders),
        }
        .expect("a specification");
        world.make(&blue);
        world.start(&blue.name);
        if *swap == Swap::Recreate {
            continue;
        }
        let mut served = route(name, *swap == Swap::Hold);
        served.slots[0].addresses = world.containers[&blue.name].ip.into_iter().collect();
        world.routes.push(served);
    }
    let edge = Edge(Arc::new(Mutex::new(world)));
    let performer = ReleasePerformer {
        engine: Arc::new(edge.clone()),
        router: Arc::new(edge.clone()),
        clock: Arc::new(edge.clone()),
        before: Arc::new(Backups),
        gauges: Arc::new(edge.clone()),
        web: Arc::new(edge.clone()),
        watch: Default::default(),
        state,
        secrets: crate::stack::Secrets::default(),
        lost: Default::default(),
    };
    Stage {
        edge,
        performer,
        stack,
        config,
        folders,
        past: Vec::new(),
        abort_while_holding: false,
        ill_while_holding: false,
        _folder: folder,
    }
}

fn deploy(image: &str) -> Order {
    Order::Deploy {
        service: SERVICE.parse().expect("a name"),
        image: Some(image.into()),
        no_canary: false,
        overriding: None,
    }
}

fn rollback() -> Order {
    Order::Rollback {
        service: SERVICE.parse().expect("a name"),
        reason: Some("a test".into()),
    }
}

fn retire() -> Order {
    Order::Retire {
        service: SERVICE.parse().expect("a name"),
    }
}

impl Stage {
    async fn plan(&self, order: &Order) -> Result<(Subjects, Plan<ReleaseStep>), crate::run::OperationError> {
        let scope = ReleaseScope {
            stack: &self.stack,
            config: &self.config,
            folders: &self.folders,
            engine: &self.edge,
            router: &self.edge,
            releases: &self.past,
            now: self.edge.now(),
        };
        plan_release(&scope, order).await
    }

    /// Plans and drives to the end with one fault on the way; what was killed is resumed from the records.
    async fn run(&mut self, order: &Order, fault: Option<Fault>) -> (Saga<ReleaseStep>, Next<ReleaseStep>) {
        let (subject, plan) = self.plan(order).await.expect("a plan");
        {
            let mut world = self.edge.world();
            world.fault = fault;
            world.calls = 0;
            let first = &subject.members()[0];
            world.heir = Some(first.to).filter(|_| first.goal != Goal::Retire);
        }
        let mut records: Vec<Record<ReleaseStep>> = Vec::new();
        let clock = self.edge.clone();
        let append = |records: &mut Vec<Record<ReleaseStep>>, event| {
            let seq = records.len() as u64;
            let at = clock.now();
            records.push(Record { seq, at, event });
        };
        let by = "a test".to_owned();
        append(&mut records, Event::Planned { subject, plan, by });
        for _ in 0..500 {
            let saga = Saga::replay(&records).expect("what was written replays");
            match saga.next(self.edge.now()) {
                Next::Do(step) => {
                    append(&mut records, Event::Began { step: step.clone() });
                    if crate::journal::Step::wait(&step).is_some() {
                        continue;
                    }
                    let result = tokio::select! {
                        result = self.performer.perform(&step, &saga, &Quiet) => result,
                        () = killed(&self.edge) => continue,
                    };
                    let event = match result {
                        Ok(output) => Event::Finished { step, output },
                        Err(error) => Event::Failed {
                            step,
                            error: error.to_string(),
                        },
                    };
                    append(&mut records, event);
                }
                Next::WaitUntil(_, Some(_)) if self.abort_while_holding => {
                    let (request, by) = (Request::Abort, "a test".to_owned());
                    append(&mut records, Event::Requested { request, by });
                }
                Next::WaitUntil(_, Some(_)) if std::mem::take(&mut self.ill_while_holding) => {
                    self.edge.world().fall_ill(Colour::Green);
                }
                Next::WaitUntil(then, _) => {
                    let left = (then - self.edge.now()).to_std().expect("forward");
                    sleep(left.max(Duration::from_millis(1))).await;
                }
                Next::Elapsed(step) => {
                    let output = Default::default();
                    append(&mut records, Event::Finished { step, output });
                }
                end => {
                    self.edge.world().fault = None;
                    self.past.push(saga.clone());
                    return (saga, end);
                }
            }
        }
        panic!("no end after 500 turns: {records:#?}");
    }

    /// That this version serves alone, and all is as it should be.
    fn serves(&self, colour: Colour, image: &str, what: &str) {
        let world = self.edge.world();
        assert_eq!(world.wrong, [""; 0], "{what}");
        assert!(!world.closed() && world.gate.is_none(), "the gate is open: {what}");
        assert!(world.previewed.is_empty(), "{what}");
        for slot in &world.routes[0].slots {
            let full = if slot.colour == colour { 100 } else { 0 };
            assert_eq!(slot.weight, full, "{what}: {:?}", world.routes);
        }
        let serving: Vec<_> = world
            .containers
            .values()
            .filter(|c| colour_of(c) == colour.as_str())
            .collect();
        assert_eq!(serving.len(), 1, "{what}");
        assert!(
            serving[0].running && Some(&serving[0].image_id) == image_id(image).as_ref(),
            "{what}"
        );
        assert!(
            !self.performer.state.scratch().join("release-app").exists(),
            "no copy is left: {what}"
        );
    }

    /// Which container there is of each colour, by the order of their making.
    fn made(&self) -> BTreeMap<String, u32> {
        let world = self.edge.world();
        world
            .containers
            .values()
            .map(|c| (colour_of(c).to_owned(), c.created))
            .collect()
    }

    fn data(&self) -> String {
        std::fs::read_to_string(&self.edge.world().data).unwrap_or_default()
    }
}

async fn killed(edge: &Edge) {
    loop {
        sleep(Duration::from_millis(1)).await;
        let mut world = edge.world();
        if world.hanging {
            world.hanging = false;
            world.fault = None;
            return;
        }
    }
}

/// What has been done before the release that is put to the test, and that release.
fn histories() -> Vec<(&'static str, Vec<Order>, Order)> {
    vec![
        ("deploy", vec![], deploy("app:2")),
        ("deploy again", vec![deploy("app:2")], deploy("app:1")),
        ("roll back to what is warm", vec![deploy("app:2")], rollback()),
        ("roll back to what is gone", vec![deploy("app:2"), retire()], rollback()),
        ("retire", vec![deploy("app:2")], retire()),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_call_may_fail_and_the_process_may_be_killed_at_any() {
    for swap in [Swap::Overlap, Swap::Hold] {
        for (name, before, order) in histories() {
            let calls = trial(swap, name, &before, &order, None).await;
            assert!(calls > 5, "{name}: {calls}");
            for at in 0..calls {
                for fault in [Fault::Before(at), Fault::After(at), Fault::Killed(at)] {
                    trial(swap, name, &before, &order, Some(fault)).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_colour_that_falls_ill_on_the_way_gets_no_more_requests() {
    let mut stage = stage(Swap::Overlap);
    stage.ill_while_holding = true;
    let (_, end) = stage.run(&deploy("app:2"), None).await;
    match end {
        Next::Done(Outcome::Unwound { step, .. }) => assert_eq!(step, "shift 50 % to green"),
        other => panic!("{other:?}"),
    }
    stage.serves(Colour::Blue, "app:1", "green fell ill at 5 %");
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_told_without_the_secrets_in_it() {
    let mut stage = stage(Swap::Overlap);
    stage.performer.secrets.give("that it cannot");
    let (_, end) = stage.run(&deploy("app:crash"), None).await;
    let Next::Done(Outcome::Unwound { error, .. }) = end else {
        panic!("{end:?}")
    };
    assert!(error.contains("says"), "{error}");
    assert!(!error.contains("that it cannot"), "{error}");
}

/// One release with one fault; how many calls it made.
async fn trial(swap: Swap, name: &str, before: &[Order], order: &Order, fault: Option<Fault>) -> usize {
    let what = format!("{swap:?}, {name}, {fault:?}");
    let mut stage = stage(swap);
    for earlier in before {
        let (_, end) = stage.run(earlier, None).await;
        assert_eq!(end, Next::Done(Outcome::Succeeded), "{what}: {earlier}");
    }
    let data = stage.data();
    let (saga, end) = {
        let was = stage.made();
        let (saga, end) = stage.run(order, fault).await;
        if matches!(end, Next::Done(Outcome::Unwound { .. })) {
            let subject = &saga.subject().members()[0];
            let to = subject.to;
            let left = |made: &BTreeMap<String, u32>| made.get(to.as_str()).copied();
            let (now, was) = (left(&stage.made()), left(&was));
            assert!(
                now.is_none() || now == was,
                "only what was warm before may be left: {what}"
            );
            let found = !subject.containers.is_empty();
            assert!(found || now == was, "what was warm still is: {what}");
        }
        (saga, end)
    };
    let subject = &saga.subject().members()[0];
    let id = |image: &crate::release::Image| match image.id.as_deref() {
        id if id == image_id("app:1").as_deref() => "app:1",
        _ => "app:2",
    };
    match end {
        Next::Done(Outcome::Succeeded) if *order == retire() => {
            stage.serves(subject.from, "app:2", &what);
            assert_eq!(stage.made().len(), 1, "{what}");
        }
        Next::Done(Outcome::Succeeded) => {
            stage.serves(subject.to, id(&subject.image), &what);
            assert_eq!(stage.made().len(), 2, "the old colour is warm: {what}");
        }
        Next::Done(Outcome::Unwound { .. }) => {
            assert!(matches!(fault, Some(Fault::Before(_) | Fault::After(_))), "{what}");
            stage.serves(subject.from, id(&subject.previous), &what);
            let now = stage.data();
            let line = format!("written by {}\n", id(&subject.previous));
            assert!(now.starts_with(&data), "the data is what it was: {what}");
            assert_eq!(now[data.len()..].replace(&line, ""), "", "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
    stage.edge.world().calls
}

#[tokio::test(start_paused = true)]
async fn what_never_gets_healthy_is_removed_and_never_gets_a_request() {
    for swap in [Swap::Overlap, Swap::Hold] {
        for (image, says) in [("app:ill", "was not healthy within"), ("app:crash", "no address")] {
            let mut stage = stage(swap);
            let data = stage.data();
            let (saga, end) = stage.run(&deploy(image), None).await;
            let Next::Done(ref outcome @ Outcome::Unwound { ref error, .. }) = end else {
                panic!("{end:?}")
            };
            assert!(error.contains(says), "{error}");
            assert!(error.contains("| that it cannot"), "the last lines: {error}");
            stage.serves(Colour::Blue, "app:1", image);
            assert_eq!(stage.made().keys().collect::<Vec<_>>(), ["blue"]);
            assert!(!stage.data().contains("app:ill"), "{}", stage.data());
            assert!(stage.data().starts_with(&data));
            assert!(
                !saga
                    .finished()
                    .any(|(step, ..)| matches!(step, ReleaseStep::Shift { .. }))
            );
            let receipt = receipt(&saga, outcome);
            assert_eq!((receipt.outcome.as_str(), receipt.ok), ("aborted", false));
        }
    }
}

fn receipt(saga: &Saga<ReleaseStep>, outcome: &Outcome) -> Receipt {
    let id = "19700101T000000Z-0102ff".parse().expect("an id");
    Receipt::of(&id, saga, Some(outcome), "over")
}

#[tokio::test(start_paused = true)]
async fn steps_hold_as_long_as_they_say_and_an_abort_takes_the_traffic_back() {
    let mut stage = stage(Swap::Overlap);
    let begun = stage.edge.now();
    let (saga, end) = stage.run(&deploy("app:2"), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    let took = Span::from((stage.edge.now() - begun).to_std().expect("forward"));
    assert!(
        took >= Span::seconds(45 * 60) && took < Span::seconds(46 * 60),
        "{took}"
    );
    let receipt = receipt(&saga, &Outcome::Succeeded);
    assert_eq!((receipt.outcome.as_str(), receipt.ok), ("deployed", true));
    assert_eq!(receipt.detail["proven"], true);
    assert_eq!(receipt.detail["digest"], image_id("app:2").expect("an image"));
    assert_eq!(receipt.detail["previous_digest"], image_id("app:1").expect("an image"));
    let text = serde_json::to_string(&receipt).expect("JSON");
    assert!(
        text.contains("rollback ready until") && !text.contains("environment"),
        "{text}"
    );

    let mut stage = self::stage(Swap::Overlap);
    stage.abort_while_holding = true;
    let (saga, end) = stage.run(&deploy("app:2"), None).await;
    let Next::Done(ref outcome @ Outcome::Aborted { .. }) = end else {
        panic!("{end:?}")
    };
    stage.serves(Colour::Blue, "app:1", "an abort");
    assert_eq!(stage.made().keys().collect::<Vec<_>>(), ["blue"]);
    let receipt = self::receipt(&saga, outcome);
    assert_eq!((receipt.outcome.as_str(), receipt.ok), ("aborted", false));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_does_not_end_changes_nothing() {
    let mut stage = stage(Swap::Hold);
    stage.edge.world().busy = 2;
    let (_, end) = stage.run(&deploy("app:2"), None).await;
    let Next::Done(Outcome::Unwound { error, .. }) = end else {
        panic!("{end:?}")
    };
    assert!(error.contains("2 requests to blue were still running"), "{error}");
    stage.serves(Colour::Blue, "app:1", "a busy service");
    let starts = stage
        .edge
        .world()
        .containers
        .values()
        .map(|c| c.starts)
        .collect::<Vec<_>>();
    assert_eq!(starts, [1], "it was never stopped");
}

#[tokio::test(start_paused = true)]
async fn the_same_image_again_is_no_release() {
    let mut stage = stage(Swap::Overlap);
    let (saga, end) = stage.run(&deploy("app:1"), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    assert_eq!(receipt(&saga, &Outcome::Succeeded).outcome, "unchanged");
    assert_eq!(stage.edge.world().calls, 0);
    let refusal = stage.plan(&rollback()).await.expect_err("nothing before");
    assert_eq!(refusal.blame, Blame::NotFound);
    stage.edge.world().routes[0].slots[1].weight = 5;
    stage.edge.world().routes[0].slots[1].state = SlotState::Ready;
    let refusal = stage.plan(&deploy("app:2")).await.expect_err("between colours");
    assert!(refusal.message.contains("between two colours"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_warm_colour_is_due_when_its_time_is_over() {
    let mut stage = stage(Swap::Overlap);
    stage.run(&deploy("app:2"), None).await;
    let now = stage.edge.now();
    assert_eq!(crate::release::due(&stage.past, now), []);
    let later = now + Span::seconds(25 * 3600).chrono();
    assert_eq!(
        crate::release::due(&stage.past, later),
        [SERVICE.parse().expect("a name")]
    );
    stage.run(&retire(), None).await;
    assert_eq!(crate::release::due(&stage.past, later), []);
}

#[tokio::test(start_paused = true)]
async fn the_way_back_to_a_warm_colour_is_planned_without_the_engine() {
    let mut stage = stage(Swap::Overlap);
    stage.run(&deploy("app:2"), None).await;
    let planned = async |stage: &Stage| {
        stage.edge.world().observed = 0;
        let planned = stage.plan(&rollback()).await.expect("a plan");
        (planned, stage.edge.world().observed)
    };
    let (at_once, asked) = planned(&stage).await;
    assert_eq!(asked, 0);
    let remembered = stage.edge.world().containers.clone();
    for made in stage.edge.world().containers.values_mut() {
        made.image_id.push('0');
    }
    let (_, asked) = planned(&stage).await;
    assert_eq!(asked, 1, "containers of another image than is remembered are looked at");
    stage.edge.world().containers = remembered;
    stage.edge.world().fall_ill(Colour::Blue);
    let (looked_at, asked) = planned(&stage).await;
    assert_eq!(asked, 1, "who does not answer is looked at");
    assert_eq!(at_once, looked_at, "and it comes to the same");
    stage.past.clear();
    let (_, asked) = planned(&stage).await;
    assert_eq!(asked, 1, "nothing is remembered");
}
