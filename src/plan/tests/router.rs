use super::*;

const FIRST: &str = "ark-arkwright-router-1";
const SECOND: &str = "ark-arkwright-router-2";

fn handed_over(doors: &[u32], serving: u32) -> Arrangement {
    Arrangement {
        serving,
        doors: doors.iter().copied().collect(),
    }
}

/// The container a plan makes, as the engine shows it afterwards.
fn made(plan: &Plan, at: u8) -> Container {
    let spec = plan.changes.iter().find_map(|change| match &change.action {
        Action::CreateContainer { spec, .. } => Some(spec),
        _ => None,
    });
    running(spec.expect("a container"), at)
}

fn aliases(container: &Container) -> Vec<&String> {
    container
        .networks
        .values()
        .flat_map(|endpoint| &endpoint.aliases)
        .collect()
}

#[test]
fn a_new_image_begins_beside_the_old_one_and_leaves_it_its_names() {
    let config = released_web();
    let (mut observed, mut facts) = settled(&desired(&stack(), Some(&config)));
    let mut other = config.clone();
    other.router.image = "localhost/haproxy:9".into();
    let now = desired(&stack(), Some(&other));
    facts
        .images
        .insert(other.router.image.clone(), Some("id of localhost/haproxy:9".into()));
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan),
        [
            format!("create container {SECOND}"),
            format!("hand over to {SECOND}"),
            "point router web blue".into()
        ]
    );
    assert_eq!(plan.drift, []);
    let to = plan.changes.iter().find_map(|change| match &change.action {
        Action::HandOver { to, .. } => Some(to.clone()),
        _ => None,
    });
    assert_eq!(to, Some(handed_over(&[1], 2)));

    observed.containers.push(made(&plan, 90));
    let second = container(&mut observed, SECOND).clone();
    assert_eq!(aliases(&second), Vec::<&String>::new());
    assert_eq!(second.networks.keys().collect::<Vec<_>>(), ["ark_default"]);
    facts.arrangement = handed_over(&[1], 2);
    facts.idle = [1].into();
    let settled = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(words(&settled), Vec::<String>::new(), "the first one holds the names");
    assert_eq!(settled.drift, []);

    let wishes = Wishes {
        recreate_router: true,
        ..Wishes::default()
    };
    let one = words(&diff(&now, &observed, &facts, wishes));
    let wanted = [
        format!("remove container {SECOND}"),
        format!("recreate container {FIRST}"),
        format!("hand over to {FIRST}"),
        "point router web blue".into(),
    ];
    assert_eq!(one, wanted);
}

#[test]
fn what_holds_nothing_goes_once_nobody_comes_to_it() {
    let mut config = released_web();
    let (mut observed, mut facts) = settled(&desired(&stack(), Some(&config)));
    for number in [2, 3] {
        config.router.image = format!("localhost/haproxy:{number}");
        let now = desired(&stack(), Some(&config));
        facts.images.insert(
            config.router.image.clone(),
            Some(format!("id of {}", config.router.image)),
        );
        let plan = diff(&now, &observed, &facts, Wishes::default());
        observed.containers.push(made(&plan, 90 + number as u8));
        facts.arrangement = handed_over(&(1..number).collect::<Vec<_>>(), number);
        facts.idle = [1].into();
        assert_eq!(
            words(&diff(&now, &observed, &facts, Wishes::default())),
            Vec::<String>::new()
        );
    }
    let now = desired(&stack(), Some(&config));
    facts.idle = [1, 2].into();
    let plan = diff(&now, &observed, &facts, Wishes::default());
    let third = "ark-arkwright-router-3";
    assert_eq!(
        words(&plan),
        [format!("remove container {SECOND}"), format!("hand over to {third}")]
    );
    assert_eq!(plan.changes[1].after, [0]);
    observed.containers.retain(|c| c.name != SECOND);
    facts.arrangement = handed_over(&[1], 3);
    assert_eq!(
        words(&diff(&now, &observed, &facts, Wishes::default())),
        Vec::<String>::new()
    );
}

#[test]
fn a_service_more_is_answered_by_a_container_more() {
    let config = released_web();
    let mut stack = stack();
    let alias = |stack: &mut Stack, name: &str| {
        let web = stack.services.get_mut("web").expect("web");
        let attachment = web.networks.get_mut("default").expect("attached");
        attachment.aliases.push(name.into());
    };
    let (mut observed, mut facts) = settled(&desired(&stack, Some(&config)));
    alias(&mut stack, "www");
    let now = desired(&stack, Some(&config));
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan),
        [
            format!("create container {SECOND}"),
            format!("hand over to {SECOND}"),
            "point router web blue".into()
        ]
    );
    assert!(plan.changes[0].reason.contains("`www`"), "{}", plan.changes[0].reason);
    observed.containers.push(made(&plan, 90));
    assert_eq!(aliases(container(&mut observed, SECOND)), ["www"]);
    facts.arrangement = handed_over(&[1], 2);
    assert_eq!(
        words(&diff(&now, &observed, &facts, Wishes::default())),
        Vec::<String>::new()
    );

    // One name less is nothing another container could take away.
    let web = stack.services.get_mut("web").expect("web");
    web.networks.get_mut("default").expect("attached").aliases.clear();
    let plan = diff(&desired(&stack, Some(&config)), &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert!(
        plan.drift[0].what.contains("still answers to `www`"),
        "{:?}",
        plan.drift
    );
    assert!(plan.drift[0].what.contains("--recreate-router"), "{:?}", plan.drift);
}

#[test]
fn the_one_that_serves_is_made_again_and_a_stopped_one_is_started() {
    let config = released_web();
    let now = desired(&stack(), Some(&config));
    let (mut observed, mut facts) = settled(&now);
    facts.arrangement = handed_over(&[1], 2);
    let plan = diff(&now, &observed, &facts, Wishes::default());
    let wanted = [
        format!("create container {SECOND}"),
        format!("start container {SECOND}"),
        "point router web blue".into(),
    ];
    assert_eq!(words(&plan), wanted);
    observed.containers.push(made(&plan, 90));
    container(&mut observed, FIRST).state = ContainerState::Exited;
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan)[0], format!("start container {FIRST}"));
    observed
        .containers
        .retain(|c| c.label(labels::SERVICE) != Some("arkwright-router"));
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan)[..2],
        [format!("create container {FIRST}"), format!("hand over to {FIRST}")]
    );
}
