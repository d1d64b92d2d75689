use super::*;

#[test]
fn down_takes_dependents_first_the_router_last_and_volumes_only_when_asked() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let (mut observed, _) = settled(&desired);
    let stranger = service("stranger");
    let mut orphan = running(
        &super::desired::container(&stack(), &stranger, 1, &folders()).expect("a spec"),
        50,
    );
    orphan.networks.clear();
    observed.containers.push(orphan.clone());
    let mut program = orphan.clone();
    program.name = "ark-web-hook-1".into();
    program.labels = [(labels::HOOK.to_owned(), "ark/web".to_owned())].into();
    observed.containers.push(program);
    let plan = teardown(&desired, &observed, TearDown::default());
    assert_eq!(
        words(&plan),
        [
            "remove container ark-web-hook-1",
            "remove container ark-web-blue-1",
            "remove container ark-migrate-1",
            "remove container ark-redis-1",
            "remove container ark-arkwright-router-1",
            "remove network ark_default",
        ]
    );
    assert_eq!(plan.orphans[0].container, "ark-stranger-1");
    let all = TearDown {
        volumes: true,
        orphans: true,
    };
    let words = words(&teardown(&desired, &observed, all));
    assert_eq!(
        words[..2],
        ["remove container ark-web-hook-1", "remove container ark-stranger-1"]
    );
    assert_eq!(words.last().map(String::as_str), Some("remove volume ark_data"));
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let desired = desired(&stack(), Some(&released_web()));
    let plan = diff(&desired, &Observed::default(), &Facts::default(), Wishes::default());
    let text = serde_json::to_string(&plan).expect("written");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("read"), plan);
}
