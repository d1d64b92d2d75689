use super::*;

/// redis released in place, serving this image.
fn in_place(image: &str) -> Desired {
    let text = "services: { redis: { release: { swap: recreate } } }";
    let config = config::load(Path::new("arkwright.yaml"), text, &[name("redis")].into()).expect("a configuration");
    let serving = Serving {
        image: Some(image.to_owned()),
        ..Serving::default()
    };
    Desired::of(&stack(), Some(&config), &[(name("redis"), serving)].into(), &folders()).expect("desired")
}

#[test]
fn what_was_released_in_place_stays_whatever_the_compose_file_says() {
    let desired = in_place("localhost/redis:7");
    assert!(desired.router.is_none(), "nothing stands in front of it");
    let (observed, facts) = settled(&desired);
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), [""; 0]);
    let told: Vec<&str> = plan.drift.iter().map(|notice| notice.what.as_str()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("it serves localhost/redis:7 and the Compose file says localhost/redis:1"),
        "{told:?}"
    );
}

#[test]
fn it_is_put_back_where_it_is_gone_or_stopped_and_never_replaced() {
    let desired = in_place("localhost/redis:1");
    let (mut observed, facts) = settled(&desired);
    container(&mut observed, "ark-redis-1").state = ContainerState::Exited;
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan)[0], "start container ark-redis-1");

    let (mut observed, facts) = settled(&desired);
    let redis = container(&mut observed, "ark-redis-1");
    redis.labels.insert(labels::SPEC_HASH.into(), "another".into());
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), [""; 0]);
    assert!(
        plan.drift[0].what.contains("`arkwright deploy redis` takes it"),
        "{:?}",
        plan.drift
    );

    observed.containers.retain(|c| c.name != "ark-redis-1");
    let plan = diff(&desired, &observed, &facts, Wishes::default());
    assert_eq!(
        words(&plan)[..2],
        ["create container ark-redis-1", "start container ark-redis-1"]
    );
}
