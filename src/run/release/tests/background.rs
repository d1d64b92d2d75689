//! Whose the queue is, at every moment of every release: never two colours', and never an unproven one's.

use super::*;

const CALLS: &str = "background: { pause: { run: [pause] }, resume: { run: [resume] } }";

fn stage(swap: Swap) -> Stage {
    let more = match swap {
        Swap::Overlap => "steps: [{ weight: 5, hold: 15m }], settle: 10m",
        Swap::Hold => "before: [{ backup: database }]",
        Swap::Recreate => panic!("it is never two"),
    };
    stage_with(swap, &format!("{more}, {CALLS}"), "")
}

impl Stage {
    /// The colours that take jobs.
    fn working(&self) -> Vec<String> {
        let world = self.edge.world();
        let working = world.containers.values().filter(|made| made.running && made.works);
        working.map(|made| colour_of(made).to_owned()).collect()
    }

    /// What those would do that are started now.
    fn marked(&self, colour: Colour) -> bool {
        standby::mark(&self.folders, &SERVICE.parse().expect("a name"), colour).exists()
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_queue_has_one_colour_and_the_proven_one() {
    for swap in [Swap::Overlap, Swap::Hold] {
        for (name, before, order) in histories() {
            let calls = trial(swap, name, &before, &order, None).await;
            for at in 0..calls {
                for fault in [Fault::Before(at), Fault::After(at), Fault::Killed(at)] {
                    trial(swap, name, &before, &order, Some(fault)).await;
                }
            }
        }
    }
}

async fn trial(swap: Swap, name: &str, before: &[Order], order: &Order, fault: Option<Fault>) -> usize {
    let what = format!("{swap:?}, {name}, {fault:?}");
    let mut stage = stage(swap);
    for earlier in before {
        let (_, end) = stage.run(earlier, None).await;
        assert_eq!(end, Next::Done(Outcome::Succeeded), "{what}: {earlier}");
    }
    let (saga, end) = stage.run(order, fault).await;
    let subject = &saga.subject().members()[0];
    let serving = match end {
        Next::Done(Outcome::Succeeded) if subject.goal != Goal::Retire => subject.to,
        Next::Done(Outcome::Succeeded | Outcome::Unwound { .. }) => subject.from,
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(stage.edge.world().wrong, [""; 0], "{what}");
    assert_eq!(stage.working(), [serving.as_str()], "{what}");
    assert!(!stage.marked(serving), "{what}");
    let left = stage.made().contains_key(serving.other().as_str());
    assert!(
        !left || stage.marked(serving.other()),
        "a colour kept warm stands by: {what}"
    );
    stage.edge.world().calls
}

#[tokio::test(start_paused = true)]
async fn a_new_version_that_does_not_listen_is_taken_back_and_an_old_one_is_stopped_by_a_rollback() {
    let mut stage = stage(Swap::Overlap);
    stage.edge.world().deaf = Some("resume".into());
    let (_, end) = stage.run(&deploy("app:2"), None).await;
    let Next::Stuck { step, error } = end else {
        panic!("{end:?}")
    };
    assert_eq!(
        step,
        ReleaseStep::TakeJobs { colour: Colour::Blue },
        "nobody listens to it: {error}"
    );

    let mut stage = self::stage(Swap::Overlap);
    stage.edge.world().deaf = Some("pause".into());
    let (_, end) = stage.run(&deploy("app:2"), None).await;
    let Next::Done(Outcome::Unwound { step, error }) = end else {
        panic!("{end:?}")
    };
    assert_eq!(step, "have blue stand by");
    assert!(error.contains("it does not listen"), "{error}");
    assert_eq!(stage.working(), ["blue"]);

    stage.edge.world().deaf = None;
    stage.run(&deploy("app:2"), None).await;
    stage.edge.world().deaf = Some("pause".into());
    let (_, end) = stage.run(&rollback(), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    assert_eq!(stage.working(), ["blue"]);
    let world = stage.edge.world();
    let green = world.containers.values().find(|made| colour_of(made) == "green");
    assert!(green.is_some_and(|made| !made.running), "the sure way not to take jobs");
}

#[tokio::test(start_paused = true)]
async fn one_made_before_there_was_anything_to_tell_is_left_in_peace() {
    let mut stage = super::stage(Swap::Overlap);
    let background = self::stage(Swap::Overlap).config.services[SERVICE]
        .release
        .background
        .clone();
    stage
        .config
        .services
        .get_mut(SERVICE)
        .expect("there")
        .release
        .background = background;
    let (saga, end) = stage.run(&deploy("app:2"), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    let told = saga.finished().find_map(|(step, finding, _)| {
        matches!(step, ReleaseStep::StandBy { colour: Colour::Blue }).then(|| finding.to_string())
    });
    assert!(
        told.is_some_and(|told| told.contains("1 were made before")),
        "it is said"
    );
    assert_eq!(stage.working(), ["green"]);
}
