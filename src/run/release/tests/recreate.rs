//! One version in the other's place: whatever fails, one of the two runs in the end, and never both.

use super::*;

impl Stage {
    /// The image of the one container there is, which runs.
    fn alone(&self, what: &str) -> String {
        let world = self.edge.world();
        assert_eq!(world.wrong, [""; 0], "{what}");
        let all: Vec<_> = world.containers.values().collect();
        assert_eq!(all.len(), 1, "{what}: {all:?}");
        assert!(all[0].running && all[0].spec.name == "p-app-1", "{what}: {all:?}");
        all[0].spec.image.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_may_fail_and_the_process_may_be_killed_at_any() {
    let histories = [
        ("deploy", vec![], deploy("app:2"), ["app:1", "app:2"]),
        (
            "deploy again",
            vec![deploy("app:2")],
            deploy("app:1"),
            ["app:2", "app:1"],
        ),
        ("roll back", vec![deploy("app:2")], rollback(), ["app:2", "app:1"]),
    ];
    for (name, before, order, images) in histories {
        let calls = trial(name, &before, &order, images, None).await;
        assert!(calls > 5, "{name}: {calls}");
        for at in 0..calls.min(60) {
            for fault in [Fault::Before(at), Fault::After(at), Fault::Killed(at)] {
                trial(name, &before, &order, images, Some(fault)).await;
            }
        }
    }
}

async fn trial(name: &str, before: &[Order], order: &Order, [old, new]: [&str; 2], fault: Option<Fault>) -> usize {
    let what = format!("{name}, {fault:?}");
    let mut stage = stage(Swap::Recreate);
    for earlier in before {
        let (_, end) = stage.run(earlier, None).await;
        assert_eq!(end, Next::Done(Outcome::Succeeded), "{what}: {earlier}");
    }
    let (saga, end) = stage.run(order, fault).await;
    match end {
        Next::Done(Outcome::Succeeded) => assert_eq!(stage.alone(&what), new, "{what}"),
        Next::Done(Outcome::Unwound { .. }) => {
            assert!(matches!(fault, Some(Fault::Before(_) | Fault::After(_))), "{what}");
            assert_eq!(stage.alone(&what), old, "{what}");
        }
        other => panic!("{what}: {other:?}"),
    }
    if fault.is_none() {
        let receipt = receipt(&saga, &Outcome::Succeeded);
        let word = if *order == rollback() {
            "rolled_back"
        } else {
            "deployed"
        };
        assert_eq!((receipt.outcome.as_str(), receipt.ok), (word, true), "{what}");
        assert_eq!(
            receipt.detail["previous_digest"],
            image_id(old).expect("an image"),
            "{what}"
        );
        assert_eq!(receipt.detail["proven"], true, "{what}");
        assert_eq!(receipt.detail["from"], serde_json::Value::Null, "it has no colours");
    }
    stage.edge.world().calls
}

#[tokio::test(start_paused = true)]
async fn what_does_not_get_healthy_makes_room_for_the_old_one_again() {
    for (image, says) in [
        ("app:ill", "its own check says unhealthy"),
        ("app:crash", "exit code 1"),
    ] {
        let mut stage = stage(Swap::Recreate);
        let (saga, end) = stage.run(&deploy(image), None).await;
        let Next::Done(ref outcome @ Outcome::Unwound { ref error, .. }) = end else {
            panic!("{end:?}")
        };
        assert!(error.contains(says) && error.contains("| that it cannot"), "{error}");
        assert_eq!(stage.alone(image), "app:1");
        assert_eq!(receipt(&saga, outcome).outcome, "aborted");
        let refusal = stage.plan(&rollback()).await.expect_err("nothing before");
        assert_eq!(refusal.blame, Blame::NotFound);
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_a_check_has_to_run_for_as_long_as_is_asked() {
    let mut stage = stage(Swap::Recreate);
    let begun = stage.edge.now();
    stage.run(&deploy("app:2"), None).await;
    let took = Span::from((stage.edge.now() - begun).to_std().expect("forward"));
    assert!(took >= Span::seconds(5) && took < Span::seconds(7), "{took}");
}

#[tokio::test(start_paused = true)]
async fn one_made_from_another_specification_is_replaced_all_the_same_and_comes_back() {
    let mut stage = stage(Swap::Recreate);
    let service = stage.stack.services.get_mut(SERVICE).expect("there");
    service.environment.insert("MODE".into(), Some("new".into()));
    let (_, end) = stage.run(&deploy("app:ill"), None).await;
    assert!(matches!(end, Next::Done(Outcome::Unwound { .. })), "{end:?}");
    assert_eq!(stage.alone("taken back"), "app:1");
    let (_, end) = stage.run(&deploy("app:2"), None).await;
    assert_eq!(end, Next::Done(Outcome::Succeeded));
    assert_eq!(stage.alone("deployed"), "app:2");
}
