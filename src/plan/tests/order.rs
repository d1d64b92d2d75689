use super::*;

/// By subject, what each change comes after.
fn after(plan: &Plan) -> BTreeMap<String, Vec<String>> {
    let all = words(plan);
    let pairs = plan.changes.iter().zip(&all);
    pairs
        .map(|(change, word)| (word.clone(), change.after.iter().map(|at| all[*at].clone()).collect()))
        .collect()
}

#[test]
fn what_does_not_need_each_other_may_be_done_at_the_same_time() {
    let mut stack = stack();
    stack.services.insert(name("cron"), service("cron"));
    let desired = desired(&stack, None);
    let mut facts = Facts::default();
    facts.images.insert("localhost/redis:1".into(), None);
    facts.paths.insert("/srv/uploads".into(), false);
    let plan = diff(&desired, &Observed::default(), &facts, Wishes::default());
    let after = after(&plan);
    assert_eq!(after["create container ark-cron-1"], ["create network ark_default"]);
    assert_eq!(after["pull image localhost/redis:1"], Vec::<String>::new());
    assert_eq!(
        after["create container ark-redis-1"],
        ["create network ark_default", "pull image localhost/redis:1"]
    );
    assert_eq!(
        after["wait for redis to be healthy"].last(),
        Some(&"start container ark-redis-1".to_owned())
    );
    let migrate = &after["create container ark-migrate-1"];
    assert!(
        migrate.contains(&"wait for redis to be healthy".to_owned()),
        "{migrate:?}"
    );
    let web = &after["create container ark-web-1"];
    for needed in [
        "create volume ark_data",
        "create folder /srv/uploads",
        "wait for migrate to be done",
    ] {
        assert!(web.contains(&needed.to_owned()), "{needed}: {web:?}");
    }
    assert!(!web.contains(&"start container ark-cron-1".to_owned()), "{web:?}");
}

#[test]
fn who_only_wants_a_start_does_not_wait_for_health() {
    let mut stack = stack();
    let fast = Service {
        depends_on: depends("redis", Condition::Started),
        ..service("zeta")
    };
    stack.services.insert(name("zeta"), fast);
    let plan = diff(
        &desired(&stack, None),
        &Observed::default(),
        &Facts::default(),
        Wishes::default(),
    );
    let after = after(&plan);
    let zeta = &after["create container ark-zeta-1"];
    assert!(zeta.contains(&"wait for redis to be running".to_owned()), "{zeta:?}");
    assert!(!zeta.contains(&"wait for redis to be healthy".to_owned()), "{zeta:?}");
}

#[test]
fn a_port_is_freed_before_another_service_takes_it() {
    let mut stack = stack();
    stack.services.insert(name("zeta"), service("zeta"));
    let (mut observed, facts) = settled(&desired(&stack, None));
    container(&mut observed, "ark-redis-1").ports = vec!["127.0.0.1:8080->80/tcp".into()];
    if let Some(redis) = stack.services.get_mut("redis") {
        redis.environment.insert("MOVED".into(), Some("1".into()));
    }
    if let Some(zeta) = stack.services.get_mut("zeta") {
        zeta.ports.push(Port {
            host_ip: "127.0.0.1".into(),
            published: "8080".into(),
            target: 80,
            protocol: "tcp".into(),
        });
    }
    let plan = diff(&desired(&stack, None), &observed, &facts, Wishes::default());
    let zeta = &after(&plan)["recreate container ark-zeta-1"];
    assert!(zeta.contains(&"recreate container ark-redis-1".to_owned()), "{zeta:?}");
}

#[test]
fn a_released_service_is_pointed_to_when_it_and_the_router_are_there() {
    let config = released_web();
    let plan = diff(
        &desired(&stack(), Some(&config)),
        &Observed::default(),
        &Facts::default(),
        Wishes::default(),
    );
    let after = after(&plan);
    let point = &after["point router web blue"];
    for needed in [
        "wait for web to be running",
        "start container ark-arkwright-router-1",
        "write routes web",
    ] {
        assert!(point.contains(&needed.to_owned()), "{needed}: {point:?}");
    }
    assert_eq!(
        after["create container ark-arkwright-router-1"].first(),
        Some(&"create network ark_default".to_owned())
    );
}

#[test]
fn down_takes_dependents_before_what_they_need_and_unrelated_ones_together() {
    let mut stack = stack();
    stack.services.insert(name("cron"), service("cron"));
    let desired = desired(&stack, None);
    let (observed, _) = settled(&desired);
    let plan = teardown(&desired, &observed, TearDown::default());
    let after = after(&plan);
    assert_eq!(after["remove container ark-cron-1"], Vec::<String>::new());
    assert_eq!(after["remove container ark-migrate-1"], ["remove container ark-web-1"]);
    assert_eq!(
        after["remove container ark-redis-1"],
        ["remove container ark-web-1", "remove container ark-migrate-1"],
        "also where the one between is gone"
    );
    assert_eq!(after["remove network ark_default"].len(), 4);
}

#[test]
fn every_change_comes_after_earlier_ones_only() {
    let config = released_web();
    for config in [None, Some(&config)] {
        let desired = desired(&stack(), config);
        let (observed, _) = settled(&desired);
        let up = diff(&desired, &Observed::default(), &Facts::default(), Wishes::default());
        for plan in [up, teardown(&desired, &observed, TearDown::default())] {
            assert!(!plan.changes.is_empty());
            for (at, change) in plan.changes.iter().enumerate() {
                assert!(change.after.iter().all(|before| *before < at), "{change}");
            }
        }
    }
}
