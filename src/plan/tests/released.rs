use super::*;

#[test]
fn a_settled_stack_needs_nothing_released_or_not() {
    for config in [None, Some(released_web())] {
        let desired = desired(&stack(), config.as_ref());
        let (observed, facts) = settled(&desired);
        let plan = diff(&desired, &observed, &facts, Wishes::default());
        assert_eq!(plan, Plan::empty(desired.project.clone()));
    }
}

#[test]
fn a_released_service_comes_up_behind_the_router() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let plan = diff(&desired, &Observed::default(), &Facts::default(), Wishes::default());
    let words = words(&plan);
    let at = |what: &str| {
        words
            .iter()
            .position(|w| w == what)
            .unwrap_or_else(|| panic!("{what}: {words:?}"))
    };
    assert!(at("write routes web") < at("create container ark-arkwright-router-1"));
    assert!(at("start container ark-arkwright-router-1") < at("create container ark-redis-1"));
    assert!(at("start container ark-web-blue-1") < at("point router web blue"));
    assert_eq!(at("point router web blue"), words.len() - 1);
}

#[test]
fn a_released_colour_is_never_replaced_by_up() {
    let config = released_web();
    let old = desired(&stack(), Some(&config));
    let (observed, facts) = settled(&old);
    let mut changed = stack();
    changed.services.get_mut("web").expect("web").tty = true;
    let plan = diff(&desired(&changed, Some(&config)), &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(plan.drift[0].subject, "web");
    assert!(plan.drift[0].what.contains("arkwright deploy web"));

    let mut serving = BTreeMap::new();
    let image = Some("localhost/web:0".to_owned());
    serving.insert(
        name("web"),
        Serving {
            colour: Colour::Green,
            image,
        },
    );
    let journalled = Desired::of(&stack(), Some(&config), &serving, &folders()).expect("a desired state");
    let (observed, facts) = settled(&journalled);
    let plan = diff(&journalled, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert!(
        plan.drift[0].what.contains("it serves localhost/web:0"),
        "{:?}",
        plan.drift
    );
}

#[test]
fn an_address_that_changed_is_given_to_the_router_and_nothing_else_is_touched() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let (mut observed, facts) = settled(&desired);
    let endpoint = container(&mut observed, "ark-web-blue-1")
        .networks
        .get_mut("ark_default")
        .expect("attached");
    endpoint.ip = Some([10, 0, 0, 99].into());
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), ["point router web blue"]);
}

#[test]
fn a_release_under_way_keeps_its_weights() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let (observed, mut facts) = settled(&desired);
    facts.routes[0].slots[0].weight = 75;
    facts.routes[0].slots[1].weight = 25;
    let given_up = diff(&desired, &observed, &facts, Wishes::default());
    let weights = |plan: &Plan| match plan.changes.first().map(|change| &change.action) {
        Some(Action::RenderRoutes { routes }) => routes[0].slots.clone().map(|slot| slot.weight),
        _ => panic!("{:?}", words(plan)),
    };
    assert_eq!(weights(&given_up), [100, 0], "nobody takes the release further");
    facts.moving.insert("web".parse().expect("a name"));
    assert_eq!(
        words(&diff(&desired, &observed, &facts, Wishes::default())),
        Vec::<String>::new()
    );
    facts.routes[0].port = 81;
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    let [
        Change {
            action: Action::RenderRoutes { routes },
            ..
        },
    ] = plan.changes.as_slice()
    else {
        panic!("{:?}", words(&plan));
    };
    assert_eq!(
        (routes[0].port, routes[0].slots[0].weight, routes[0].slots[1].weight),
        (80, 75, 25)
    );
}

#[test]
fn a_project_that_is_not_adopted_is_left_alone_and_said() {
    let (observed, facts) = settled(&desired(&stack(), None));
    let config = released_web();
    let plan = diff(&desired(&stack(), Some(&config)), &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(plan.adoption[0].service, name("web"));
    assert_eq!(plan.adoption[0].containers, ["ark-web-1"]);
    let adopt = Wishes {
        adopt: true,
        ..Wishes::default()
    };
    let plan = diff(&desired(&stack(), Some(&config)), &observed, &facts, adopt);
    assert_eq!(plan.adoption, []);
    let words = words(&plan);
    let at = |part: &str| {
        words
            .iter()
            .position(|word| word.contains(part))
            .unwrap_or_else(|| panic!("{part}: {words:?}"))
    };
    assert!(
        at("remove container ark-web-1") < at("create container ark-arkwright-router-1"),
        "{words:?}"
    );
    assert!(
        at("start container ark-web-blue-1") < at("point router web blue"),
        "{words:?}"
    );
}

#[test]
fn a_plain_container_beside_the_router_is_a_stray() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let (mut observed, facts) = settled(&desired);
    let mut stray = running(
        &super::desired::container(&stack(), &service("web"), 1, &folders()).expect("a spec"),
        77,
    );
    stray.labels.remove(labels::SPEC_HASH);
    observed.containers.push(stray);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(plan.strays[0].container, "ark-web-1");
    assert!(plan.strays[0].what.contains("`docker compose up`"));
}

#[test]
fn who_calls_a_released_service_is_started_anew_when_the_router_takes_its_place() {
    let mut stack = stack();
    let proxy = Service {
        depends_on: depends("web", Condition::Started),
        ..service("proxy")
    };
    stack.services.insert(name("proxy"), proxy);
    let (observed, facts) = settled(&desired(&stack, None));
    let config = released_web();
    let adopt = Wishes {
        adopt: true,
        ..Wishes::default()
    };
    let plan = diff(&desired(&stack, Some(&config)), &observed, &facts, adopt);
    let words = words(&plan);
    assert_eq!(
        words[words.len() - 2..],
        ["point router web blue", "restart container ark-proxy-1"]
    );
    let last = plan.changes.last().expect("changes");
    assert!(last.after.contains(&(words.len() - 2)), "{last:?}");
}

#[test]
fn a_proxy_that_started_before_the_router_is_started_anew_once() {
    let mut stack = stack();
    let proxy = Service {
        depends_on: depends("web", Condition::Started),
        ..service("proxy")
    };
    stack.services.insert(name("proxy"), proxy);
    let config = released_web();
    let desired = desired(&stack, Some(&config));
    let (mut observed, facts) = settled(&desired);
    let at = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0);
    container(&mut observed, "ark-arkwright-router-1").started = at(100);
    container(&mut observed, "ark-proxy-1").started = at(90);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), ["restart container ark-proxy-1"]);
    container(&mut observed, "ark-proxy-1").started = at(101);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
}

#[test]
fn a_colour_that_nobody_releases_any_more_is_not_taken_for_a_replica() {
    let config = released_web();
    let (observed, facts) = settled(&desired(&stack(), Some(&config)));
    let plan = diff(&desired(&stack(), None), &observed, &facts, Wishes::default());
    assert!(
        plan.blocked.iter().any(|why| why.contains("arkwright eject")),
        "{:?}",
        plan.blocked
    );
    assert_eq!(words(&plan), Vec::<String>::new());
}

#[test]
fn nothing_that_serves_is_removed_before_what_replaces_it_is_here() {
    let (observed, mut facts) = settled(&desired(&stack(), None));
    let config = released_web();
    facts.images.insert(config.router.image.clone(), None);
    let adopt = Wishes {
        adopt: true,
        ..Wishes::default()
    };
    let plan = diff(&desired(&stack(), Some(&config)), &observed, &facts, adopt);
    let words = words(&plan);
    let pull = words
        .iter()
        .position(|word| word.starts_with("pull image"))
        .expect("a pull");
    let remove = words
        .iter()
        .position(|word| word == "remove container ark-web-1")
        .expect("a removal");
    assert!(plan.changes[remove].after.contains(&pull), "{words:?}");
}

#[test]
fn a_slot_the_router_finds_down_is_pointed_to_again() {
    let config = released_web();
    let desired = desired(&stack(), Some(&config));
    let (observed, mut facts) = settled(&desired);
    facts.down.insert(name("web"));
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), ["point router web blue"]);
}
