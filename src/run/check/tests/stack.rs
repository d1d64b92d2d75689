//! What can be said of the Compose file and its images.

use super::super::{Severity, VolumePlace, images, leftovers, mounts, ports, released, services};
use super::world::{World, codes, image};
use crate::model::ContainerId;
use crate::plan::{Adoption, Leftover, Notice};

const NONE: &str = "{}";

#[test]
fn a_service_without_an_image_is_named_with_what_builds_it() {
    let world = World::of("services:\n  a: { build: ./a }\n  b: { image: 'b:1' }\n", NONE);
    let found = services::check(&world.scene());
    assert_eq!(codes(&found), ["no-image a"]);
    assert!(found[0].remedy.contains("/srv/ark/a"), "{found:?}");
}

#[test]
fn what_no_engine_carries_out_of_a_restart_policy_and_a_reservation_is_a_note() {
    let world = World::of(
        "services:\n  a:\n    image: a:1\n    deploy:\n      restart_policy: { condition: any, delay: 5s, max_attempts: 3, \
         window: 120s }\n      resources: { reservations: { cpus: '0.5' } }\n",
        NONE,
    );
    let found = services::check(&world.scene());
    assert_eq!(codes(&found), ["restart-unenforced a", "reservation-unenforced a"]);
    assert!(found[0].what.contains("max_attempts: 3"), "{found:?}");
    assert!(found.iter().all(|finding| finding.severity == Severity::Note));
}

#[test]
fn waiting_for_health_nobody_checks_is_an_error() {
    let compose = "services:\n  a:\n    image: a:1\n    depends_on:\n      off: { condition: service_healthy }\n      \
                   bare: { condition: service_healthy }\n      own: { condition: service_healthy }\n      \
                   image: { condition: service_healthy }\n  off: { image: 'b:1', healthcheck: { disable: true } }\n  \
                   bare: { image: 'b:1' }\n  own: { image: 'b:1', healthcheck: { test: [CMD, x] } }\n  image: { image: 'c:1' }\n";
    let mut world = World::of(compose, NONE);
    let mut checked = image();
    checked.has_healthcheck = true;
    world.engine().images.insert("c:1".into(), Some(checked));
    let found = services::check(&world.scene());
    assert_eq!(codes(&found), ["health-check-missing bare", "health-check-missing off"]);
    // Of an image nobody has seen nothing is claimed.
    world.engine = None;
    assert_eq!(codes(&services::check(&world.scene())), ["health-check-missing off"]);
}

#[test]
fn the_engines_socket_in_a_container_is_a_warning() {
    let world = World::of(
        "services:\n  a: { image: 'a:1', volumes: ['/var/run/docker.sock:/x.sock:ro'] }\n  \
         b: { image: 'a:1', volumes: ['/srv/docker.socket:/x'] }\n",
        NONE,
    );
    let found = services::check(&world.scene());
    assert_eq!(codes(&found), ["engine-socket-mounted a"]);
}

#[test]
fn ports_beside_a_network_mode_are_ignored() {
    let world = World::of(
        "services:\n  a: { image: 'a:1', network_mode: host, ports: ['80:80'] }\n  b: { image: 'a:1', ports: ['81:80'] }\n",
        NONE,
    );
    assert_eq!(codes(&services::check(&world.scene())), ["ports-ignored a"]);
}

#[test]
fn one_port_for_two_containers_is_an_error_where_their_addresses_meet() {
    let of = |one: &str, other: &str| {
        let text = format!(
            "services:\n  a: {{ image: 'a:1', ports: ['{one}'] }}\n  b: {{ image: 'a:1', ports: ['{other}'] }}\n"
        );
        codes(&ports::check(&World::of(&text, NONE).scene())).join(", ")
    };
    assert_eq!(of("80:80", "80:81"), "port-twice 80/tcp");
    assert_eq!(of("80:80", "127.0.0.1:80:81"), "port-twice 80/tcp");
    assert_eq!(of("80:80", "[::1]:80:81"), "port-twice 80/tcp");
    assert_eq!(of("0.0.0.0:80:80", "[::1]:80:81"), "");
    assert_eq!(of("127.0.0.1:80:80", "127.0.0.2:80:81"), "");
    assert_eq!(of("80:80", "80:80/udp"), "");
    assert_eq!(of("80:80", "80-81:80"), "", "of a range the engine takes what is free");
    let world = World::of("services:\n  a: { image: 'a:1', ports: ['80:80', '80:81'] }\n", NONE);
    let found = ports::check(&world.scene());
    assert!(found[0].what.contains("a publishes 80/tcp twice"), "{found:?}");
}

#[test]
fn replicas_need_a_port_each_unless_the_router_has_it() {
    let compose = "services:\n  a: { image: 'a:1', ports: ['80:80'], deploy: { replicas: 2 } }\n  \
                   b: { image: 'a:1', ports: ['90-91:80'], deploy: { replicas: 2 } }\n";
    let found = ports::check(&World::of(compose, NONE).scene());
    assert_eq!(codes(&found), ["port-replicas 80/tcp"]);
    let config = "services:\n  a: { release: { port: 80, health: { http: / } } }\n";
    assert_eq!(ports::check(&World::of(compose, config).scene()), []);
}

#[test]
fn a_port_is_taken_by_others_and_not_by_our_own() {
    let compose = "services:\n  a: { image: 'a:1', ports: ['80:80'] }\n";
    let mut world = World::of(compose, NONE);
    world.machine.taken.insert(("::".parse().expect("an address"), 80));
    let found = ports::check(&world.scene());
    assert_eq!(codes(&found), ["port-taken 80/tcp"]);
    assert!(found[0].what.contains("something else"), "{found:?}");
    // A longer number that ends alike, and another protocol, are no excuse.
    world.runs("a", "ark-a-1", &["0.0.0.0:8080->80/tcp", "0.0.0.0:80->80/udp"]);
    assert_eq!(ports::check(&world.scene()).len(), 1);
    world.runs("a", "ark-a-2", &["[::]:80->80/tcp"]);
    assert_eq!(ports::check(&world.scene()), []);
    // An orphan does not make room by itself.
    world.plan.as_mut().expect("a plan").orphans.push(Leftover {
        container: "ark-a-2".into(),
        id: ContainerId::new("ark-a-2"),
        service: "old".into(),
        what: "nothing asks for it".into(),
    });
    let found = ports::check(&world.scene());
    assert!(
        found[0].what.contains("ark-a-2") && found[0].remedy.contains("--remove-orphans"),
        "{found:?}"
    );
}

#[test]
fn a_range_is_taken_when_all_of_it_is() {
    let mut world = World::of(
        "services:\n  a: { image: 'a:1', ports: ['127.0.0.1:90-91:80/udp'] }\n",
        NONE,
    );
    let local = "127.0.0.1".parse().expect("an address");
    world.machine.taken.insert((local, 90));
    assert_eq!(ports::check(&world.scene()), []);
    world.machine.taken.insert((local, 91));
    assert_eq!(codes(&ports::check(&world.scene())), ["port-taken 90-91/udp"]);
    world.engine().info.host = "tcp://10.0.0.1:2375".into();
    assert_eq!(
        ports::check(&world.scene()),
        [],
        "another machine's ports are not ours to try"
    );
}

#[test]
fn a_rootless_engine_has_no_low_ports_unless_the_kernel_lets_it() {
    let mut world = World::of("services:\n  a: { image: 'a:1', ports: ['80:80', '8080:80'] }\n", NONE);
    world.engine().info.rootless = true;
    assert_eq!(codes(&ports::check(&world.scene())), ["port-privileged 80/tcp"]);
    world
        .machine
        .file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
    assert_eq!(ports::check(&world.scene()), []);
}

#[test]
fn mounts_that_are_not_there_are_told_by_what_becomes_of_them() {
    let compose = "services:\n  a:\n    image: a:1\n    volumes:\n      - ./data:/data\n      - ./nginx.conf:/etc/nginx.conf\n      \
                   - ./conf.d:/etc/conf.d\n      - { type: bind, source: ./must, target: /must, bind: { create_host_path: false } }\n  \
                   b: { image: 'a:1', volumes: ['./data:/data'] }\n";
    let mut world = World::of(compose, NONE);
    assert_eq!(mounts::check(&world.scene()), []);
    world
        .machine
        .things
        .get_mut("/srv/ark/data".as_ref() as &std::path::Path)
        .expect("made")
        .readable = false;
    for path in ["nginx.conf", "conf.d", "must"] {
        world
            .machine
            .things
            .remove(&std::path::Path::new("/srv/ark").join(path));
    }
    let found = mounts::check(&world.scene());
    assert_eq!(
        codes(&found),
        [
            "mount-made /srv/ark/conf.d",
            "mount-unreadable /srv/ark/data",
            "mount-missing /srv/ark/must",
            "mount-missing-file /srv/ark/nginx.conf"
        ]
    );
    assert_eq!(found[1].what, "a and b mount ./data, which this user cannot read");
    world.engine().info.host = "tcp://10.0.0.1:2375".into();
    assert_eq!(mounts::check(&world.scene()), []);
}

#[test]
fn images_are_here_pinned_and_of_this_architecture() {
    let compose = "services:\n  a: { image: 'a:1' }\n  b: { image: 'localhost:5000/b' }\n  c: { image: 'localhost/c:1' }\n  \
                   d: { image: 'd:1', build: ./d }\n  e: { image: 'e:1', platform: linux/arm64/v8 }\n  f: { image: 'f@sha256:00' }\n";
    let mut world = World::of(compose, NONE);
    assert_eq!(
        codes(&images::check(&world.scene())),
        ["image-unpinned localhost:5000/b", "platform-foreign e"]
    );
    let mut foreign = image();
    foreign.architecture = "arm64".into();
    let images = &mut world.engine().images;
    images.insert("a:1".into(), Some(foreign));
    for gone in ["localhost/c:1", "d:1", "f@sha256:00"] {
        images.insert(gone.into(), None);
    }
    let found = images::check(&world.scene());
    assert_eq!(
        codes(&found)[1..],
        [
            "image-architecture a:1",
            "image-not-built d:1",
            "image-missing f@sha256:00",
            "image-not-built localhost/c:1",
            "platform-foreign e"
        ]
    );
    assert_eq!(found[1].severity, Severity::Error);
    world.machine.file("/proc/sys/fs/binfmt_misc/qemu-aarch64", "enabled");
    assert_eq!(images::check(&world.scene())[1].severity, Severity::Warning);
}

#[test]
fn an_old_router_is_known_by_its_tag_and_others_are_not_guessed_at() {
    let of = |image: &str| {
        let config = format!(
            "router: {{ image: '{image}' }}\nservices:\n  a: {{ release: {{ port: 80, health: {{ http: / }} }} }}\n"
        );
        codes(&images::check(
            &World::of("services:\n  a: { image: 'a:1' }\n", &config).scene(),
        ))
        .join(", ")
    };
    assert_eq!(of("haproxy:2.4-alpine"), "router-old haproxy:2.4-alpine");
    for fine in [
        "haproxy:2.6",
        "docker.io/library/haproxy:3.0",
        "proxy:1.0",
        "haproxy:lts",
    ] {
        assert_eq!(of(fine), "", "{fine}");
    }
}

#[test]
fn a_released_service_has_a_network_and_tcp() {
    let config = "services:\n  a: { release: { port: 80, health: { http: / } } }\n";
    let of = |rest: &str| {
        let text = format!("services:\n  a: {{ image: 'a:1', {rest} }}\nnetworks: {{ n: {{}} }}\n");
        codes(&released::check(&World::of(&text, config).scene())).join(", ")
    };
    assert_eq!(of("network_mode: host"), "released-network-mode a");
    assert_eq!(of("networks: { n: { ipv4_address: 10.0.0.9 } }"), "released-address a");
    assert_eq!(of("ports: ['53:53/udp']"), "released-port-not-tcp a");
    assert_eq!(of("ports: ['80:80'], deploy: { replicas: 2 }"), "");
    let held = config.replace("http: / }", "http: / }, swap: hold");
    let of = |replicas: u32| {
        let text = format!("services:\n  a: {{ image: 'a:1', deploy: {{ replicas: {replicas} }} }}\n");
        codes(&released::check(&World::of(&text, &held).scene())).join(", ")
    };
    assert_eq!((of(2).as_str(), of(1).as_str()), ("held-replicas a", ""));
}

#[test]
fn a_sqlite_file_both_colours_would_open_is_found_unless_held() {
    let compose = "services:\n  a: { image: 'a:1', volumes: ['./data:/data', './ro:/ro:ro'] }\n";
    let config =
        |swap: &str| format!("services:\n  a: {{ release: {{ port: 80, health: {{ http: / }}, swap: {swap} }} }}\n");
    let mut world = World::of(compose, &config("overlap"));
    world.machine.file("/srv/ark/data/notes.db", "not a database");
    world.machine.file("/srv/ark/ro/app.db", "SQLite format 3\0...");
    assert_eq!(released::check(&world.scene()), []);
    world.machine.cut = true;
    let found = released::check(&world.scene());
    assert_eq!(codes(&found), ["sqlite-unchecked a"]);
    world
        .machine
        .file("/srv/ark/data/inner/app.sqlite", "SQLite format 3\0...");
    let found = released::check(&world.scene());
    assert_eq!(codes(&found), ["sqlite-two-colours a"]);
    assert!(found[0].what.contains("./data/inner/app.sqlite"), "{found:?}");
    world
        .machine
        .things
        .get_mut("/srv/ark/data".as_ref() as &std::path::Path)
        .expect("made")
        .readable = false;
    assert!(released::check(&world.scene())[0].unchecked);
    let held = World {
        config: World::of(compose, &config("hold")).config,
        ..world
    };
    assert_eq!(released::check(&held.scene()), []);
}

#[test]
fn whose_a_held_port_is_stays_open_where_the_engine_does_not_say() {
    let mut world = World::of("services:\n  a: { image: 'a:1', ports: ['80:80'] }\n", NONE);
    world.engine().observed = None;
    assert_eq!(ports::check(&world.scene()), []);
    world.machine.taken.insert(("::".parse().expect("an address"), 80));
    let found = ports::check(&world.scene());
    assert_eq!(codes(&found), ["port-unchecked 80/tcp"]);
    assert!(
        found[0].unchecked && found[0].reason.contains("by this project"),
        "{found:?}"
    );
}

#[test]
fn volumes_are_looked_into_for_sqlite_where_that_can_be_done() {
    let compose =
        "services:\n  a: { image: 'a:1', volumes: ['data:/data', 'ro:/ro:ro', /cache] }\nvolumes: { data: , ro: }\n";
    let config = "services:\n  a: { release: { port: 80, health: { http: / } } }\n";
    let mut world = World::of(compose, config);
    world.machine.folder("/v/data");
    world.machine.file("/v/data/app.db", "SQLite format 3\0...");
    let mut found = |place: VolumePlace| {
        world.engine().volumes = [("data".to_owned(), place)].into();
        released::check(&world.scene())
    };
    assert_eq!(found(VolumePlace::Missing), []);
    let open = found(VolumePlace::At("/v/data".into()));
    assert_eq!(codes(&open), ["sqlite-two-colours a"]);
    assert!(open[0].what.contains("/v/data/app.db"), "{open:?}");
    for place in [VolumePlace::Elsewhere, VolumePlace::Unknown("out of order".into())] {
        let told = found(place);
        assert_eq!(codes(&told), ["sqlite-unchecked a"]);
        assert!(told[0].unchecked);
    }
    world.engine().info.host = "tcp://elsewhere.example:2375".into();
    assert_eq!(codes(&released::check(&world.scene())), ["sqlite-unchecked a"]);
    world.engine = None;
    assert_eq!(codes(&released::check(&world.scene())), ["sqlite-unchecked a"]);
}

#[test]
fn what_the_plan_says_is_told_once() {
    let mut world = World::of("services:\n  a: { image: 'a:1' }\n", NONE);
    assert_eq!(leftovers::check(&world.scene(), &[]), []);
    let leftover = |container: &str| Leftover {
        container: container.into(),
        id: ContainerId::new(container),
        service: "a".into(),
        what: "w".into(),
    };
    let plan = world.plan.as_mut().expect("a plan");
    plan.blocked = vec!["a mounts /srv/x, which is not there".into(), "another reason".into()];
    plan.strays.push(leftover("stray"));
    plan.orphans.push(leftover("orphan"));
    plan.drift.push(Notice {
        subject: "network default".into(),
        what: "w".into(),
    });
    plan.adoption.push(Adoption {
        service: "a".parse().expect("a name"),
        containers: Vec::new(),
    });
    let told = super::super::Finding::new(
        Severity::Error,
        "mount-missing",
        super::super::Subject::Path("/srv/x".into()),
        "w",
        "r",
        "d",
    );
    assert_eq!(
        codes(&leftovers::check(&world.scene(), &[told])),
        [
            "up-blocked project",
            "stray-container stray",
            "orphan-container orphan",
            "drift default",
            "adoption-awaited project"
        ]
    );
}
