use super::*;

#[test]
fn an_empty_host_gets_everything_in_order_with_the_waits_between() {
    let desired = desired(&stack(), None);
    let mut facts = Facts::default();
    facts.images.insert("localhost/redis:1".into(), None);
    facts.paths.insert("/srv/uploads".into(), false);
    let plan = diff(&desired, &Observed::default(), &facts, Wishes::default());
    assert_eq!(plan.blocked, Vec::<String>::new());
    assert_eq!(
        words(&plan),
        [
            "create network ark_default",
            "create volume ark_data",
            "create folder /srv/uploads",
            "pull image localhost/redis:1",
            "create container ark-redis-1",
            "start container ark-redis-1",
            "wait for redis to be healthy",
            "create container ark-migrate-1",
            "start container ark-migrate-1",
            "wait for migrate to be done",
            "create container ark-web-1",
            "start container ark-web-1",
        ]
    );
    assert!(plan.changes.iter().all(|change| !change.reason.is_empty()));
}

#[test]
fn a_stopped_container_is_started_and_only_that() {
    let desired = desired(&stack(), None);
    let (mut observed, facts) = settled(&desired);
    let redis = container(&mut observed, "ark-redis-1");
    (redis.state, redis.exit_code) = (ContainerState::Exited, Some(137));
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), ["start container ark-redis-1"]);
    assert_eq!(plan.changes[0].reason, "it is stopped (exit code 137)");
}

#[test]
fn a_job_that_failed_runs_again_and_its_dependents_stay() {
    let desired = desired(&stack(), None);
    let (mut observed, facts) = settled(&desired);
    container(&mut observed, "ark-migrate-1").exit_code = Some(1);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), ["start container ark-migrate-1"]);
}

#[test]
fn what_changed_is_recreated_for_the_reason_given() {
    let old = desired(&stack(), None);
    let (observed, facts) = settled(&old);
    let mut changed = stack();
    let web = changed.services.get_mut("web").expect("web");
    web.environment.insert("A".into(), Some("1".into()));
    let plan = diff(&desired(&changed, None), &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan),
        ["recreate container ark-web-1", "start container ark-web-1"]
    );
    assert_eq!(plan.changes[0].reason, "its specification changed");

    let mut moved = facts.clone();
    moved
        .images
        .insert("localhost/web:1".into(), Some("sha256:0123456789abcdef".into()));
    let plan = diff(&old, &observed, &moved, Wishes::default());
    assert_eq!(
        words(&plan),
        ["recreate container ark-web-1", "start container ark-web-1"]
    );
    assert!(
        plan.changes[0].reason.contains("is now 0123456789ab"),
        "{}",
        plan.changes[0].reason
    );

    let mut foreign = observed.clone();
    container(&mut foreign, "ark-web-1").labels.remove(labels::SPEC_HASH);
    let plan = diff(&old, &foreign, &facts, Wishes::default());
    assert!(
        plan.changes[0].reason.contains("arkwright did not create it"),
        "{}",
        plan.changes[0].reason
    );
}

#[test]
fn a_file_rewritten_after_the_start_recreates_who_mounts_it() {
    let mut stack = stack();
    let object = FileObject {
        name: "key".into(),
        from: FileSource::Content("new".into()),
    };
    stack.secrets.insert("key".into(), object);
    let grant = FileGrant {
        source: "key".into(),
        target: "/run/secrets/key".into(),
        uid: None,
        gid: None,
        mode: None,
    };
    stack.services.get_mut("web").expect("web").secrets.push(grant);
    let desired = desired(&stack, None);
    let (mut observed, mut facts) = settled(&desired);
    let path = PathBuf::from("/state/files/secret-key");

    facts.files.insert(path.clone(), FileFact::Outdated);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    let wanted = [
        "write file /state/files/secret-key",
        "recreate container ark-web-1",
        "start container ark-web-1",
    ];
    assert_eq!(words(&plan), wanted);

    let at = |seconds| chrono::DateTime::from_timestamp(seconds, 0);
    container(&mut observed, "ark-web-1").started = at(100);
    for (written, recreated) in [(99, false), (101, true)] {
        facts
            .files
            .insert(path.clone(), FileFact::Current { written: at(written) });
        let plan = diff(&desired, &observed, &facts, Wishes::default());
        assert_eq!(
            words(&plan).contains(&wanted[1].to_owned()),
            recreated,
            "written at {written}"
        );
    }
}

#[test]
fn what_shares_a_network_follows_its_host_and_what_asks_is_restarted() {
    let mut stack = stack();
    let mut side = service("side");
    side.networks.clear();
    side.network_mode = Some(NetworkMode::Service(name("web")));
    stack.services.insert(side.name.clone(), side);
    let mut follower = service("follower");
    follower.depends_on = depends("web", Condition::Started);
    follower.depends_on.get_mut("web").expect("web").restart = true;
    stack.services.insert(follower.name.clone(), follower);
    let old = desired(&stack, None);
    let (observed, facts) = settled(&old);
    stack.services.get_mut("web").expect("web").tty = true;
    let plan = diff(&desired(&stack, None), &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan),
        [
            "remove container ark-side-1",
            "recreate container ark-web-1",
            "start container ark-web-1",
            "wait for web to be running",
            "restart container ark-follower-1",
            "create container ark-side-1",
            "start container ark-side-1",
        ]
    );
}

#[test]
fn orphans_are_told_and_removed_only_on_request() {
    let mut old = stack();
    old.services.insert(name("old"), service("old"));
    let (observed, facts) = settled(&desired(&old, None));
    let now = desired(&stack(), None);
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert!(plan.changes.is_empty());
    assert_eq!(plan.orphans[0].container, "ark-old-1");
    let wishes = Wishes {
        remove_orphans: true,
        ..Wishes::default()
    };
    assert_eq!(
        words(&diff(&now, &observed, &facts, wishes.clone())),
        ["remove container ark-old-1"]
    );

    let mut off = stack();
    off.disabled.insert(name("old"), service("old"));
    let plan = diff(&desired(&off, None), &observed, &facts, wishes);
    assert!(
        plan.changes.is_empty() && plan.orphans.is_empty(),
        "a profile that is off makes no orphan"
    );
}

#[test]
fn what_cannot_be_made_blocks_the_plan() {
    let mut stack = stack();
    stack.networks.get_mut("default").expect("a network").external = true;
    let web = stack.services.get_mut("web").expect("web");
    web.pull_policy = Some("never".into());
    if let Some(Mount::Bind { create_host_path, .. }) = web.mounts.get_mut(1) {
        *create_host_path = false;
    }
    let mut facts = Facts::default();
    facts.images.insert("localhost/web:1".into(), None);
    facts.paths.insert("/srv/uploads".into(), false);
    let plan = diff(&desired(&stack, None), &Observed::default(), &facts, Wishes::default());
    for said in [
        "network ark_default is external",
        "/srv/uploads, which is not there",
        "pull_policy",
    ] {
        assert!(
            plan.blocked.iter().any(|b| b.contains(said)),
            "{said}: {:?}",
            plan.blocked
        );
    }
}

#[test]
fn only_what_is_named_is_looked_at_and_force_recreates_it() {
    let desired = desired(&stack(), None);
    let (mut observed, facts) = settled(&desired);
    container(&mut observed, "ark-web-1").state = ContainerState::Exited;
    let only = |wishes: Wishes| {
        words(&diff(
            &desired,
            &observed,
            &facts,
            Wishes {
                only: Some([name("redis")].into()),
                ..wishes
            },
        ))
    };
    assert_eq!(only(Wishes::default()), Vec::<String>::new());
    let forced = Wishes {
        recreate: [name("redis"), name("web")].into(),
        ..Wishes::default()
    };
    assert_eq!(
        only(forced),
        ["recreate container ark-redis-1", "start container ark-redis-1"]
    );
}

#[test]
fn what_shares_a_network_that_began_after_it_is_made_anew() {
    let mut stack = stack();
    let side = Service {
        network_mode: Some(NetworkMode::Service(name("redis"))),
        networks: BTreeMap::new(),
        ..service("side")
    };
    stack.services.insert(name("side"), side);
    let desired = desired(&stack, None);
    let (mut observed, facts) = settled(&desired);
    let at = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0);
    container(&mut observed, "ark-side-1").started = at(100);
    container(&mut observed, "ark-redis-1").started = at(90);
    assert_eq!(
        words(&diff(&desired, &observed, &facts, Wishes::default())),
        Vec::<String>::new()
    );
    container(&mut observed, "ark-redis-1").started = at(110);
    assert_eq!(
        words(&diff(&desired, &observed, &facts, Wishes::default())),
        ["recreate container ark-side-1", "start container ark-side-1"]
    );
}
