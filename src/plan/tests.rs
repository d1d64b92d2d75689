use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::model::{Colour, ContainerId, Health, ServiceName};
use crate::stack::{
    Attachment, Condition, Dependency, FileGrant, FileObject, FileSource, Healthcheck, Mount, Network, NetworkMode,
    Restart, Service, Stack, Volume,
};

use super::desired::HostFolders;
use super::*;

fn name(text: &str) -> ServiceName {
    text.parse().expect("a name")
}

fn service(text: &str) -> Service {
    Service {
        image: Some(format!("localhost/{text}:1")),
        restart: Restart::UnlessStopped,
        networks: [("default".to_owned(), Attachment::default())].into(),
        ..Service::named(name(text))
    }
}

fn depends(on: &str, condition: Condition) -> BTreeMap<ServiceName, Dependency> {
    let dependency = Dependency {
        condition,
        required: true,
        restart: false,
    };
    [(name(on), dependency)].into()
}

/// redis ← migrate (a job) ← web, where web is healthy-checked and mounts a volume and a folder.
fn stack() -> Stack {
    let redis = Service {
        healthcheck: Some(Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        }),
        ..service("redis")
    };
    let migrate = Service {
        restart: Restart::No,
        depends_on: depends("redis", Condition::Healthy),
        ..service("migrate")
    };
    let web = Service {
        depends_on: depends("migrate", Condition::Completed),
        mounts: vec![
            Mount::Volume {
                source: Some("data".into()),
                target: "/data".into(),
                read_only: false,
                nocopy: false,
            },
            Mount::Bind {
                source: "/srv/uploads".into(),
                target: "/uploads".into(),
                read_only: false,
                create_host_path: true,
                propagation: None,
                selinux: None,
            },
        ],
        ..service("web")
    };
    Stack {
        name: "ark".parse().expect("a name"),
        folder: "/p".into(),
        files: vec!["/p/compose.yaml".into()],
        read_files: Vec::new(),
        services: [redis, migrate, web].map(|s| (s.name.clone(), s)).into(),
        disabled: BTreeMap::new(),
        networks: [(
            "default".to_owned(),
            Network {
                name: "ark_default".into(),
                external: false,
                driver: None,
                driver_opts: BTreeMap::new(),
                internal: false,
                attachable: false,
                ipv6: false,
                subnets: Vec::new(),
                labels: BTreeMap::new(),
            },
        )]
        .into(),
        volumes: [(
            "data".to_owned(),
            Volume {
                name: "ark_data".into(),
                external: false,
                driver: None,
                driver_opts: BTreeMap::new(),
                labels: BTreeMap::new(),
            },
        )]
        .into(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    }
}

fn released_web() -> Config {
    let text = "services: { web: { release: { port: 80, health: { http: /up } } } }";
    config::load(Path::new("arkwright.yaml"), text, &[name("web")].into()).expect("a configuration")
}

fn folders() -> HostFolders {
    HostFolders {
        files: "/state/files".into(),
        router_config: "/state/router/config".into(),
        router_run: "/state/router/run".into(),
    }
}

fn desired(stack: &Stack, config: Option<&Config>) -> Desired {
    Desired::of(stack, config, &BTreeMap::new(), &folders()).expect("a desired state")
}

/// As an engine shows a container that was made from `spec` and runs.
fn running(spec: &ContainerSpec, at: u8) -> Container {
    Container {
        id: ContainerId::new(format!("{at:064x}")),
        name: spec.name.clone(),
        image: spec.image.clone(),
        image_id: format!("id of {}", spec.image),
        state: ContainerState::Running,
        exit_code: None,
        health: if spec.healthcheck.is_some() {
            Health::Healthy
        } else {
            Health::Unchecked
        },
        labels: spec.labels.clone(),
        created: None,
        started: None,
        networks: spec
            .networks
            .iter()
            .map(|n| {
                let ip = Some(std::net::IpAddr::from([10, 0, 0, at]));
                (
                    n.network.clone(),
                    Endpoint {
                        ip,
                        aliases: n.aliases.clone(),
                    },
                )
            })
            .collect(),
        ports: Vec::new(),
        restart_count: 0,
    }
}

/// What a host looks like on which everything desired has been done.
fn settled(desired: &Desired) -> (Observed, Facts) {
    let mut observed = Observed::default();
    let mut facts = Facts::default();
    let specs = desired
        .services
        .iter()
        .flat_map(|s| &s.containers)
        .chain(&desired.router);
    for (at, spec) in specs.enumerate() {
        let mut container = running(spec, at as u8 + 2);
        if spec.restart == Restart::No {
            container.state = ContainerState::Exited;
            container.exit_code = Some(0);
        }
        facts
            .images
            .insert(spec.image.clone(), Some(container.image_id.clone()));
        observed.containers.push(container);
    }
    for network in &desired.networks {
        let found = ObservedNetwork {
            id: "n".into(),
            name: network.spec.name.clone(),
            driver: "bridge".into(),
            internal: network.spec.internal,
            labels: network.spec.labels.clone(),
            subnets: Vec::new(),
            gateway: None,
        };
        facts.networks.insert(found.name.clone(), found.clone());
        observed.networks.push(found);
    }
    for volume in &desired.volumes {
        facts.volumes.insert(volume.spec.name.clone());
        observed.volumes.push(ObservedVolume {
            name: volume.spec.name.clone(),
            driver: "local".into(),
            labels: volume.spec.labels.clone(),
        });
    }
    for file in &desired.files {
        facts
            .files
            .insert(file.path.clone(), FileFact::Current { written: None });
    }
    for released in desired.services.iter().filter_map(|s| s.released.as_ref()) {
        let mut route = released.route.clone();
        for slot in route.slots.iter_mut().filter(|slot| slot.colour == released.colour) {
            let of_colour = |c: &&Container| c.label(labels::COLOUR) == Some(released.colour.as_str());
            let endpoints = observed
                .containers
                .iter()
                .filter(of_colour)
                .filter_map(|c| c.networks.get(&released.network));
            slot.addresses = endpoints.filter_map(|e| e.ip).collect();
        }
        facts.routes.push(route);
    }
    (observed, facts)
}

fn words(plan: &Plan) -> Vec<String> {
    plan.changes
        .iter()
        .map(|change| format!("{} {}", change.action.kind(), change.action.subject()))
        .collect()
}

fn container<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Container {
    observed
        .containers
        .iter_mut()
        .find(|c| c.name == name)
        .expect("a container")
}

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
fn a_settled_stack_needs_nothing_released_or_not() {
    for config in [None, Some(released_web())] {
        let desired = desired(&stack(), config.as_ref());
        let (observed, facts) = settled(&desired);
        let plan = diff(&desired, &observed, &facts, Wishes::default());
        assert_eq!(plan, Plan::empty(desired.project.clone()));
    }
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
            "recreate container ark-web-1",
            "start container ark-web-1",
            "wait for web to be running",
            "restart container ark-follower-1",
            "recreate container ark-side-1",
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
        words(&diff(&now, &observed, &facts, wishes)),
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
fn the_routers_own_change_waits_for_a_wish() {
    let config = released_web();
    let (observed, facts) = settled(&desired(&stack(), Some(&config)));
    let mut other = config.clone();
    other.router.image = "localhost/haproxy:9".into();
    let now = desired(&stack(), Some(&other));
    let plan = diff(&now, &observed, &facts, Wishes::default());
    assert_eq!(words(&plan), Vec::<String>::new());
    assert!(plan.drift[0].what.contains("--recreate-router"));
    let wishes = Wishes {
        recreate_router: true,
        ..Wishes::default()
    };
    let words = words(&diff(&now, &observed, &facts, wishes));
    let wanted = [
        "recreate container ark-arkwright-router-1",
        "start container ark-arkwright-router-1",
        "point router web blue",
    ];
    assert_eq!(words, wanted);
}

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
    observed.containers.push(orphan);
    let plan = teardown(&desired, &observed, TearDown::default());
    assert_eq!(
        words(&plan),
        [
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
        words.first().map(String::as_str),
        Some("remove container ark-stranger-1")
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
