//! Several services in one release: all on the new image or all on the old, whatever fails and wherever it is killed.

use super::world::service_of;
use super::*;
use crate::journal::{encode, parse};
use crate::model::ServiceName;
use crate::run::Target;

pub(super) const WEB: &str = "web";
const STEPS: &str = "steps: [{ weight: 5, hold: 15m }, { weight: 50, hold: 30m }]";

/// `app` and `web`, both serving `app:1`; of `app` the data and the gate are looked at.
fn two(swap: Swap) -> Stage {
    let app = match swap {
        Swap::Overlap => STEPS,
        Swap::Hold => "before: [{ backup: database }]",
        Swap::Recreate => "",
    };
    stage_of(&[(SERVICE, swap, app), (WEB, Swap::Overlap, STEPS)], "")
}

fn name(name: &str) -> ServiceName {
    name.parse().expect("a name")
}

fn named<'a>(services: impl IntoIterator<Item = &'a ServiceName>) -> Vec<&'a str> {
    services.into_iter().map(ServiceName::as_str).collect()
}

fn to(service: &str, image: &str) -> Target {
    Target {
        service: name(service),
        image: Some(image.into()),
    }
}

pub(super) fn both(app: &str, web: &str) -> Order {
    Order::DeployTogether {
        overriding: None,
        services: vec![to(SERVICE, app), to(WEB, web)],
        no_canary: false,
    }
}

fn back(services: &[&str], group: bool) -> Order {
    Order::RollbackTogether {
        services: services.iter().map(|service| name(service)).collect(),
        group,
        reason: Some("a test".into()),
    }
}

fn words(plan: &Plan<ReleaseStep>) -> String {
    let mut words: Vec<String> = plan.forward.iter().map(ToString::to_string).collect();
    words.insert(plan.commit, "|".into());
    words.join("; ")
}

impl Stage {
    /// That each of these serves alone with this image, and that nothing is left of anything else.
    pub(super) fn serve(&self, images: &[(&str, Colour, &str)], what: &str) {
        let world = self.edge.world();
        assert_eq!(world.wrong, [""; 0], "{what}");
        assert!(world.gate.is_none(), "the gate is open: {what}");
        assert!(world.previewed.is_empty(), "{what}");
        for (service, colour, image) in images {
            let route = world
                .routes
                .iter()
                .find(|route| route.service.as_str() == *service)
                .expect("a route");
            for slot in &route.slots {
                let full = if slot.colour == *colour { 100 } else { 0 };
                assert_eq!(slot.weight, full, "{what}: {service} {route:?}");
            }
            let mut serving = world.containers.values().filter(|made| service_of(made) == *service);
            let serving = serving
                .find(|made| colour_of(made) == colour.as_str())
                .expect("it is there");
            assert!(serving.running, "{what}: {service}");
            assert_eq!(Some(&serving.image_id), image_id(image).as_ref(), "{what}: {service}");
        }
        let copies = std::fs::read_dir(self.performer.state.scratch()).map_or(0, Iterator::count);
        assert_eq!(copies, 0, "no copy is left: {what}");
    }

    /// Colours there are containers of, `service colour`.
    pub(super) fn colours(&self) -> Vec<String> {
        let world = self.edge.world();
        let mut all: Vec<String> = world
            .containers
            .values()
            .map(|c| format!("{} {}", service_of(c), colour_of(c)))
            .collect();
        all.sort();
        all
    }
}

#[tokio::test(start_paused = true)]
async fn all_come_up_then_all_move_and_then_all_are_committed() {
    let stage = two(Swap::Overlap);
    let (subjects, plan) = stage.plan(&both("app:2", "app:2")).await.expect("a plan");
    assert_eq!(
        words(&plan),
        "app: check the router; app: fetch the image; app: remove green; app: create green; \
         web: check the router; web: fetch the image; web: remove green; web: create green; \
         app: start green; app: show green to the router; app: wait for green to be healthy; \
         web: start green; web: show green to the router; web: wait for green to be healthy; \
         shift 5 % to green of app and green of web; hold at 5 % for 15m 0s; \
         shift 50 % to green of app and green of web; hold at 50 % for 30m 0s; \
         shift 100 % to green of app and green of web; app: ask green what it runs; web: ask green what it runs; |; \
         app: keep blue warm for 24h 0m; web: keep blue warm for 24h 0m"
    );
    let told = crate::release::describe(&subjects, &plan);
    assert!(
        told[0].starts_with("app: blue app:1") && told[1].starts_with("web: blue app:1"),
        "{told:?}"
    );

    let stage = two(Swap::Hold);
    let (_, plan) = stage.plan(&both("app:2", "app:2")).await.expect("a plan");
    assert!(
        words(&plan).ends_with(
            "shift 100 % to green of web; web: ask green what it runs; \
             app: back up database; app: remove green; app: create green; \
             app: close the gate; app: let blue finish; app: stop blue behind the gate; app: copy the data; \
             app: start green; app: show green to the router; app: wait for green to be healthy; |; \
             app: shift 100 % to green; app: open the gate; app: ask green what it runs; \
             app: keep blue warm for 24h 0m; web: keep blue warm for 24h 0m"
        ),
        "{}",
        words(&plan)
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_move_together_is_refused() {
    let refused = async |stage: Stage, order: &Order, part: &str| {
        let refusal = stage.plan(order).await.expect_err(part);
        assert_eq!(refusal.blame, Blame::Input, "{refusal}");
        assert!(refusal.message.contains(part), "{refusal}");
        assert_eq!(stage.edge.world().wrong, [""; 0]);
    };
    let held = stage_of(&[(SERVICE, Swap::Hold, ""), (WEB, Swap::Hold, "")], "");
    refused(held, &both("app:2", "app:2"), "`app` and `web` are swapped in place").await;
    let other = "steps: [{ weight: 10, hold: 15m }]";
    let unlike = || stage_of(&[(SERVICE, Swap::Overlap, STEPS), (WEB, Swap::Overlap, other)], "");
    refused(
        unlike(),
        &both("app:2", "app:2"),
        "app 5 % for 15m, 50 % for 30m; web 10 % for 15m",
    )
    .await;
    let twice = Order::DeployTogether {
        overriding: None,
        services: vec![to(WEB, "app:1"), to(WEB, "app:2")],
        no_canary: false,
    };
    refused(two(Swap::Overlap), &twice, "`web` is named twice").await;
    let none = Order::DeployTogether {
        overriding: None,
        services: Vec::new(),
        no_canary: false,
    };
    refused(two(Swap::Overlap), &none, "at least one service").await;
    let straight = Order::DeployTogether {
        overriding: None,
        services: vec![to(SERVICE, "app:2"), to(WEB, "app:2")],
        no_canary: true,
    };
    assert!(
        unlike().plan(&straight).await.is_ok(),
        "without steps there is nothing to differ in"
    );
}

#[tokio::test(start_paused = true)]
async fn one_without_steps_moves_at_the_end_and_is_not_judged_before() {
    let gates = "gates: { errors: { source: router, metric: error_rate, max: 1% } }\n";
    let stepped = format!("{STEPS}, gates: [errors], inconclusive: {{ after: 20m, do: abort }}");
    let plain = "settle: 10m, gates: [errors]";
    let stage = stage_of(
        &[(SERVICE, Swap::Overlap, &stepped), (WEB, Swap::Overlap, plain)],
        gates,
    );
    let (_, plan) = stage.plan(&both("app:2", "app:2")).await.expect("a plan");
    assert!(
        words(&plan).contains(
            "shift 5 % to green of app; hold at 5 % for 15m 0s; shift 50 % to green of app; hold at 50 % for 30m 0s; \
             shift 100 % to green of app and green of web; app: ask green what it runs; web: ask green what it runs; \
             settle for 10m 0s; |"
        ),
        "{}",
        words(&plan)
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_runs_it_already_is_left_out() {
    let mut stage = two(Swap::Overlap);
    let (saga, end) = stage.run(&both("app:1", "app:2"), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    stage.serve(
        &[(SERVICE, Colour::Blue, "app:1"), (WEB, Colour::Green, "app:2")],
        "one of two",
    );
    assert_eq!(named(saga.subject().services()), [WEB]);
    let receipt = receipt(&saga, &Outcome::Succeeded);
    assert_eq!(receipt.subject, "web → app:2");
    let said = |label: &str| {
        receipt
            .lines
            .iter()
            .find(|line| line.label == label)
            .map(|line| line.value.clone())
    };
    assert_eq!(said("unchanged").as_deref(), Some("app runs app:1 already"));
    let (saga, _) = stage.run(&both("app:1", "app:2"), None).await;
    assert_eq!(self::receipt(&saga, &Outcome::Succeeded).outcome, "unchanged");
}

/// What has been done before the release that is put to the test, and that release.
fn histories() -> Vec<(&'static str, Vec<Order>, Order)> {
    vec![
        ("deploy", vec![], both("app:2", "app:2")),
        (
            "roll back to what is warm",
            vec![both("app:2", "app:2")],
            back(&[SERVICE, WEB], false),
        ),
        (
            "roll back, one warm and one gone",
            vec![both("app:2", "app:2"), Order::Retire { service: name(WEB) }],
            back(&[WEB], true),
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn every_call_may_fail_and_the_process_may_be_killed_at_any_and_they_stay_together() {
    for swap in [Swap::Overlap, Swap::Hold] {
        for (what, before, order) in histories() {
            let calls = trial(swap, what, &before, &order, None).await;
            assert!(calls > 15, "{what}: {calls}");
            for at in 0..calls {
                for fault in [Fault::Before(at), Fault::After(at), Fault::Killed(at)] {
                    trial(swap, what, &before, &order, Some(fault)).await;
                }
            }
        }
    }
}

async fn trial(swap: Swap, what: &str, before: &[Order], order: &Order, fault: Option<Fault>) -> usize {
    let what = format!("{swap:?}, {what}, {fault:?}");
    let mut stage = two(swap);
    for earlier in before {
        let (_, end) = stage.run(earlier, None).await;
        assert_eq!(end, Next::Done(Outcome::Succeeded), "{what}: {earlier}");
    }
    let was = stage.colours();
    let (saga, end) = stage.run(order, fault).await;
    let (new, old) = match before.is_empty() {
        true => ((Colour::Green, "app:2"), (Colour::Blue, "app:1")),
        false => ((Colour::Blue, "app:1"), (Colour::Green, "app:2")),
    };
    let serving = |(colour, image)| [(SERVICE, colour, image), (WEB, colour, image)];
    match end {
        Next::Done(Outcome::Succeeded) => {
            stage.serve(&serving(new), &what);
            assert_eq!(stage.colours().len(), 4, "the old colours are warm: {what}");
            // Every service's part of the journal is whole.
            let past = crate::release::past(&stage.past, stage.edge.now());
            assert_eq!(named(&past[WEB].together), [SERVICE], "{what}");
            assert!(past.values().all(|past| past.warm.is_some()), "{what}");
        }
        Next::Done(Outcome::Unwound { .. }) => {
            assert!(matches!(fault, Some(Fault::Before(_) | Fault::After(_))), "{what}");
            stage.serve(&serving(old), &what);
            let orphans: Vec<String> = stage
                .colours()
                .into_iter()
                .filter(|colour| !was.contains(colour))
                .collect();
            assert_eq!(orphans, [""; 0], "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
    let bytes: Vec<u8> = records(&saga)
        .iter()
        .flat_map(|r| encode(r).expect("encodes"))
        .collect();
    let (read, _) = parse::<ReleaseStep>(&bytes).expect("it reads back");
    assert_eq!(read[0], records(&saga)[0], "{what}");
    stage.edge.world().calls
}

/// The first record of its journal.
fn records(saga: &Saga<ReleaseStep>) -> Vec<Record<ReleaseStep>> {
    vec![Record {
        seq: 0,
        at: saga.started(),
        event: Event::Planned {
            subject: saga.subject().clone(),
            plan: saga.plan().clone(),
            by: saga.by().to_owned(),
        },
    }]
}

#[tokio::test(start_paused = true)]
async fn one_that_never_gets_healthy_takes_all_back() {
    for swap in [Swap::Overlap, Swap::Hold] {
        for (app, web) in [("app:2", "app:ill"), ("app:crash", "app:2")] {
            let mut stage = two(swap);
            let (saga, end) = stage.run(&both(app, web), None).await;
            let Next::Done(ref outcome @ Outcome::Unwound { .. }) = end else {
                panic!("{end:?}")
            };
            stage.serve(&[(SERVICE, Colour::Blue, "app:1"), (WEB, Colour::Blue, "app:1")], app);
            assert_eq!(stage.colours(), ["app blue", "web blue"]);
            let shifted = saga
                .finished()
                .any(|(step, ..)| matches!(step, ReleaseStep::ShiftTogether { weight: 1.., .. }));
            // A swap in place comes after the others have moved.
            assert_eq!(shifted, swap == Swap::Hold && app == "app:crash");
            let receipt = receipt(&saga, outcome);
            let word = if shifted { "rolled_back" } else { "aborted" };
            assert_eq!((receipt.outcome.as_str(), receipt.ok), (word, false));
            assert_eq!(receipt.services(), [SERVICE, WEB]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_in_a_hold_takes_all_back_and_no_unwinding_step_is_made_for_each_weight() {
    let mut stage = two(Swap::Overlap);
    stage.abort_while_holding = true;
    let (saga, end) = stage.run(&both("app:2", "app:2"), None).await;
    assert!(matches!(end, Next::Done(Outcome::Aborted { .. })), "{end:?}");
    stage.serve(
        &[(SERVICE, Colour::Blue, "app:1"), (WEB, Colour::Blue, "app:1")],
        "an abort",
    );
    assert_eq!(stage.colours(), ["app blue", "web blue"]);
    let backwards: Vec<String> = saga
        .finished()
        .skip_while(|(step, ..)| !zero(step))
        .map(|(s, ..)| s.to_string())
        .collect();
    assert_eq!(
        backwards.join("; "),
        "shift 0 % to green of app and green of web; web: take green from the router; web: stop green; \
         app: take green from the router; app: stop green; web: remove green; app: remove green; \
         app: read the router's counters; web: read the router's counters"
    );
}

fn zero(step: &ReleaseStep) -> bool {
    matches!(step, ReleaseStep::ShiftTogether { weight: 0, .. })
}

#[tokio::test(start_paused = true)]
async fn going_back_with_one_says_what_stays_and_with_the_group_takes_all() {
    let mut stage = two(Swap::Overlap);
    stage.run(&both("app:2", "app:2"), None).await;
    let alone = Order::Rollback {
        service: name(WEB),
        reason: None,
    };
    let (subjects, plan) = stage.plan(&alone).await.expect("a plan");
    assert_eq!(named(&subjects.left), [SERVICE]);
    let told = crate::release::describe(&subjects, &plan).join("\n");
    assert!(told.contains("released together with app, left as it is"), "{told}");
    let (subjects, _) = stage.plan(&back(&[WEB], true)).await.expect("a plan");
    assert_eq!(named(subjects.services()), [WEB, SERVICE]);
    let (saga, end) = stage.run(&alone, None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    stage.serve(
        &[(SERVICE, Colour::Green, "app:2"), (WEB, Colour::Blue, "app:1")],
        "one of two",
    );
    let said = receipt(&saga, &Outcome::Succeeded);
    assert!(
        said.lines
            .iter()
            .any(|line| line.label == "alone" && line.value.contains("app")),
        "{said:?}"
    );
    let (subjects, _) = stage.plan(&back(&[SERVICE], true)).await.expect("a plan");
    assert_eq!(named(subjects.services()), [SERVICE], "web has moved since");
    assert_eq!(named(&subjects.left), [""; 0]);
}

#[test]
fn a_journal_of_before_is_read_and_one_service_is_written_as_then() {
    let stage = two(Swap::Overlap);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let (subjects, _) = runtime.block_on(stage.plan(&deploy("app:2"))).expect("a plan");
    let written = serde_json::to_value(&subjects).expect("JSON");
    assert_eq!(written["service"], SERVICE, "a subject as it always was");
    assert!(written.get("members").is_none());
    assert_eq!(
        serde_json::from_value::<Subjects>(written).expect("it reads back"),
        subjects
    );
    let none = serde_json::json!({ "members": [] });
    assert!(serde_json::from_value::<Subjects>(none).is_err());
}
