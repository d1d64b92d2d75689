use super::*;

/// The project behind the router, and as it is to be without.
fn routed() -> (Desired, Desired, Observed, Vec<Route>) {
    let config = released_web();
    let released = desired(&stack(), Some(&config));
    let (observed, facts) = settled(&released);
    (desired(&stack(), None), released, observed, facts.routes)
}

const WHOLE: [&str; 6] = [
    "create container ark-web-1",
    "remove container ark-arkwright-router-1",
    "remove container ark-web-blue-1",
    "start container ark-web-1",
    "wait for web to be running",
    "write routes to nothing",
];

#[test]
fn what_is_released_is_made_plain_before_the_router_goes() {
    let (plain, _, observed, routes) = routed();
    let plan = eject(&plain, &observed, &routes);
    assert_eq!(words(&plan), WHOLE);
    assert_eq!(plan.blocked, Vec::<String>::new());
    for (at, change) in plan.changes.iter().enumerate() {
        assert_eq!(change.after, at.checked_sub(1).into_iter().collect::<Vec<_>>());
    }
    assert_eq!(
        words(&eject(&plain, &Observed::default(), &[])),
        Vec::<String>::new(),
        "nothing is released, nothing to do"
    );
}

#[test]
fn cut_off_anywhere_the_next_plan_does_the_rest() {
    let (plain, _, observed, routes) = routed();
    let web = plain.service("web").expect("web").containers[0].clone();
    for done in 0..=WHOLE.len() {
        let mut now = observed.clone();
        let mut left = routes.clone();
        for word in &WHOLE[..done] {
            match *word {
                "create container ark-web-1" => {
                    let mut made = running(&web, 77);
                    made.state = ContainerState::Created;
                    now.containers.push(made);
                }
                "start container ark-web-1" => {
                    let made = now.containers.iter_mut().find(|c| c.name == web.name).expect("made");
                    made.state = ContainerState::Running;
                }
                "write routes to nothing" => left.clear(),
                word => {
                    let gone = word.strip_prefix("remove container ");
                    now.containers.retain(|c| Some(c.name.as_str()) != gone);
                }
            }
        }
        // A container that runs is not waited for again.
        let rest = match done {
            4 => &WHOLE[5..],
            done => &WHOLE[done..],
        };
        assert_eq!(words(&eject(&plain, &now, &left)), rest, "after {done}");
    }
}

#[test]
fn replicas_that_share_a_port_are_refused() {
    let mut stack = stack();
    let web = stack.services.get_mut("web").expect("web");
    web.replicas = 2;
    web.ports.push(Port {
        host_ip: String::new(),
        published: "8080".into(),
        target: 80,
        protocol: "tcp".into(),
    });
    let released = desired(&stack, Some(&released_web()));
    let (observed, facts) = settled(&released);
    let plan = eject(&desired(&stack, None), &observed, &facts.routes);
    assert!(plan.blocked[0].contains("set one replica"), "{:?}", plan.blocked);
}

/// Somebody ran `docker-compose up` beside the router: what he started is not what serves.
#[test]
fn a_strangers_container_of_the_name_is_made_anew() {
    let (plain, _, mut observed, routes) = routed();
    let mut stray = running(&plain.service("web").expect("web").containers[0], 78);
    stray.labels.remove(labels::SPEC_HASH);
    observed.containers.push(stray);
    let plan = words(&eject(&plain, &observed, &routes));
    assert_eq!(
        plan[..4],
        [
            "remove container ark-arkwright-router-1",
            "remove container ark-web-blue-1",
            "recreate container ark-web-1",
            "start container ark-web-1"
        ]
    );
}
