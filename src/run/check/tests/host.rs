//! What has to be looked up: the engine, and the machine.

use std::path::Path;

use super::super::{Severity, cgroups, clock, cpus, disk, dns, engine, firewall, limits, memory, podman};
use super::world::{World, codes, disk as space};
use crate::model::Timestamp;
use crate::ports::{ClockState, Firewall, Limit};

const NONE: &str = "{}";
const RELEASED: &str = "services:\n  a: { release: { port: 80, health: { http: / } } }\n";
const PLAIN: &str = "services:\n  a: { image: 'a:1' }\n";

#[test]
fn an_engine_is_judged_by_its_version_and_what_the_stack_asks() {
    let compose = "services:\n  a: { image: 'a:1', networks: [x, y], extra_hosts: ['h:host-gateway'] }\nnetworks: { x: {}, y: {} }\n";
    let mut world = World::of(compose, NONE);
    assert_eq!(engine::check(&world.scene()), []);
    world.engine().info.api_version = "1.41".into();
    let found = engine::check(&world.scene());
    assert_eq!(codes(&found), ["engine-gaps engine"]);
    assert!(found[0].reason.contains("a start on one network"), "{found:?}");
    world.engine().info.version = "19.3.1".into();
    assert_eq!(
        codes(&engine::check(&world.scene())),
        ["engine-old engine", "engine-gaps engine"]
    );
    let mut world = World::of(compose, NONE).podman();
    assert!(engine::check(&world.scene())[0].reason.contains("host-gateway"));
    world.engine().info.version = "5.2.0".into();
    assert_eq!(engine::check(&world.scene()), []);
    world.engine().info.host = "tcp://10.0.0.1:2375".into();
    assert_eq!(codes(&engine::check(&world.scene())), ["engine-elsewhere engine"]);
}

#[test]
fn releases_and_logging_an_engine_refuses_are_errors() {
    let compose = "services:\n  a: { image: 'a:1', logging: { driver: gelf } }\n";
    let mut world = World::of(compose, RELEASED);
    world.engine().info.rootless = true;
    let found = engine::check(&world.scene());
    assert_eq!(codes(&found), ["rootless-releases engine", "log-driver-missing engine"]);
    assert!(found.iter().all(|finding| finding.severity == Severity::Error));
    let found = engine::check(&World::of(compose, NONE).podman().scene());
    assert_eq!(codes(&found), ["log-driver-missing engine"]);
    let plugin = "services:\n  a: { image: 'a:1', logging: { driver: 'loki:latest' } }\n";
    assert_eq!(engine::check(&World::of(plugin, NONE).scene()), []);
}

#[test]
fn what_podman_leaves_to_systemd_is_looked_for() {
    let compose = "services:\n  a: { image: 'a:1', restart: always, init: true, healthcheck: { test: [CMD, x] } }\n";
    assert_eq!(
        podman::check(&World::of(compose, RELEASED).scene()),
        [],
        "Docker does it itself"
    );
    let mut world = World::of(compose, NONE).podman();
    let found = podman::check(&world.scene());
    assert_eq!(
        codes(&found),
        [
            "podman-health-idle engine",
            "podman-restart-off engine",
            "init-missing engine"
        ]
    );
    assert!(found[1].remedy.contains("arkwright up"), "{found:?}");
    world.machine.file("/usr/bin/catatonit", "");
    world.machine.folder("/run/systemd/system");
    let found = podman::check(&world.scene());
    assert_eq!(codes(&found), ["podman-restart-off engine"]);
    assert_eq!(found[0].remedy, "systemctl enable podman-restart.service");
    let unit = "/etc/systemd/system/default.target.wants/podman-restart.service";
    world
        .machine
        .file(unit, "ExecStart=podman start --all --filter restart-policy=always");
    assert_eq!(podman::check(&world.scene()), []);
    // The colours of a released service are `unless-stopped`, whatever the Compose file says.
    let mut released = World::of(compose, RELEASED).podman();
    released.machine = world.machine;
    assert_eq!(
        codes(&podman::check(&released.scene())),
        ["podman-restart-partial engine"]
    );
    released.machine.file(unit, "--filter restart-policy=unless-stopped");
    assert_eq!(podman::check(&released.scene()), []);
    released.machine.file(unit, "").readable = false;
    assert!(podman::check(&released.scene())[0].unchecked);
}

#[test]
fn a_rootless_podman_needs_its_user_to_linger() {
    let mut world = World::of("services:\n  a: { image: 'a:1', restart: always }\n", NONE).podman();
    world.engine().info.rootless = true;
    world.machine.user.name = Some("app".into());
    world.machine.user.home = Some("/home/app".into());
    world.machine.folder("/run/systemd/system");
    let unit = "/home/app/.config/systemd/user/default.target.wants/podman-restart.service";
    world.machine.file(unit, "restart-policy=always");
    let found = podman::check(&world.scene());
    assert_eq!(codes(&found), ["podman-linger-off engine"]);
    assert_eq!(found[0].remedy, "loginctl enable-linger app");
    world.machine.file("/var/lib/systemd/linger/app", "");
    assert_eq!(podman::check(&world.scene()), []);
}

#[test]
fn limits_nobody_may_raise_to_are_told() {
    let compose = "services:\n  a: { image: 'a:1', ulimits: { nofile: 65536, nproc: 100, core: 9999999 } }\n";
    let mut world = World::of(compose, RELEASED);
    let limits = world.machine.limits.as_mut().expect("limits");
    let limit = Limit {
        soft: Some(100),
        hard: Some(20_000),
    };
    (limits.files, limits.processes) = (limit, limit);
    assert_eq!(codes(&limits::check(&world.scene())), ["few-open-files host"]);
    world.machine.limits.as_mut().expect("limits").may_raise = false;
    assert_eq!(
        codes(&limits::check(&world.scene())),
        ["few-open-files host", "ulimit-too-high a"]
    );
    let mut bare = World::of(PLAIN, NONE).podman();
    assert_eq!(limits::check(&bare.scene()), []);
    bare.machine.limits.as_mut().expect("limits").may_raise = false;
    assert_eq!(codes(&limits::check(&bare.scene())), ["ulimits-spelled engine"]);
    bare.machine.limits = None;
    assert_eq!(codes(&limits::check(&bare.scene())), ["limits-unchecked host"]);
}

#[test]
fn each_limit_that_is_not_carried_out_is_named() {
    let compose =
        "services:\n  a: { image: 'a:1', mem_limit: 1g, memswap_limit: 2g, cpus: 1, pids_limit: 5, cpuset: '0' }\n";
    let mut world = World::of(compose, NONE);
    assert_eq!(cgroups::check(&world.scene()), []);
    let enforces = &mut world.engine().info.enforces;
    (enforces.swap, enforces.pids, enforces.cpuset) = (Some(false), None, Some(false));
    let found = cgroups::check(&world.scene());
    assert_eq!(
        codes(&found),
        ["limit-unenforced a", "limit-unenforced a", "limit-unchecked a"]
    );
    assert!(
        found[0].what.contains("`memswap_limit`") && found[1].what.contains("`cpuset`"),
        "{found:?}"
    );
}

#[test]
fn a_second_colour_needs_memory_by_its_limit_or_by_what_runs() {
    let limited = "services:\n  a: { image: 'a:1', mem_limit: 3g, deploy: { replicas: 2 } }\n";
    let mut world = World::of(limited, RELEASED);
    let found = memory::check(&world.scene());
    assert_eq!(codes(&found), ["memory-two-colours host"]);
    assert!(
        found[0].what.contains("6.0 GiB") && found[0].what.contains("4.0 GiB"),
        "{found:?}"
    );
    // Where both run already, no more is needed.
    for colour in ["blue", "green"] {
        let container = world.runs("a", colour, &[]);
        container
            .labels
            .insert(crate::plan::labels::COLOUR.into(), colour.into());
    }
    assert_eq!(memory::check(&world.scene()), []);
    let mut world = World::of(PLAIN, RELEASED);
    assert!(memory::check(&world.scene())[0].unchecked);
    world.runs("a", "ark-a-blue-1", &[]);
    world.engine().memory.insert("ark-a-blue-1".into(), 1 << 30);
    assert_eq!(memory::check(&world.scene()), []);
    world.machine.memory = Some(1 << 20);
    assert_eq!(codes(&memory::check(&world.scene())), ["memory-two-colours host"]);
    world.machine.memory = None;
    assert_eq!(codes(&memory::check(&world.scene())), ["memory-unchecked host"]);
    let held = "services:\n  a: { release: { port: 80, health: { http: / }, swap: hold } }\n";
    assert_eq!(memory::check(&World::of(PLAIN, held).scene()), []);
}

#[test]
fn a_full_file_system_is_told_once_with_all_that_lies_there() {
    let stores = "services:\n  a: { release: { port: 80, health: { http: / } } }\nbackups:\n  recipients: []\n  \
                  stores: { local: { path: ./backups } }\n  sets: {}\n";
    let mut world = World::of(PLAIN, stores);
    assert_eq!(disk::check(&world.scene()), []);
    let full = world.machine.disks.get_mut(&1).expect("a disk");
    (full.free, full.inodes_free) = (1 << 30, 5);
    let found = disk::check(&world.scene());
    assert_eq!(
        found.iter().map(|f| f.code).collect::<Vec<_>>(),
        ["disk-low", "inodes-low"]
    );
    for part in ["images", "arkwright's state", "the store local"] {
        assert!(found[0].what.contains(part), "{found:?}");
    }
    // Little, and still no room for what a release brings; a tenth of a large disk is plenty.
    let mut large = space(1);
    (large.free, large.total) = (90 << 30, 1 << 40);
    world.machine.disks.insert(1, large);
    assert_eq!(disk::check(&world.scene()), []);
    world
        .engine()
        .images
        .values_mut()
        .flatten()
        .for_each(|image| image.size = 100 << 30);
    assert!(disk::check(&world.scene())[0].reason.contains("100.0 GiB"));
    world.machine.disks.clear();
    assert!(disk::check(&world.scene()).iter().all(|finding| finding.unchecked));
}

#[tokio::test]
async fn names_are_looked_up_for_images_that_are_to_be_pulled_only() {
    let compose = "services:\n  a: { image: 'registry.example:5000/a:1' }\n  b: { image: 'b:1' }\n  c: { image: 'localhost/c:1' }\n  d: { image: 'other.example/d:1', build: ./d }\n";
    let mut world = World::of(compose, NONE);
    world.machine.file("/etc/resolv.conf", "nameserver 10.0.0.1\n");
    world.machine.unresolved = true;
    assert_eq!(dns::check(&world.scene()).await, []);
    world.engine().images.values_mut().for_each(|image| *image = None);
    let found = dns::check(&world.scene()).await;
    let said: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "the registry registry-1.docker.io has no address here: no answer in 3 s",
            "the registry registry.example has no address here: no answer in 3 s"
        ]
    );
    assert!(found.iter().all(|finding| finding.severity == Severity::Warning));
    world.machine.unresolved = false;
    assert_eq!(dns::check(&world.scene()).await, []);
}

#[tokio::test]
async fn name_servers_are_addresses_that_containers_reach() {
    let mut world = World::of(
        "services:\n  a: { image: 'a:1', dns: [1.1.1.1, 'dns.example'] }\n",
        NONE,
    );
    world.machine.file("/etc/resolv.conf", "nameserver 127.0.0.53\n");
    let found = dns::check(&world.scene()).await;
    assert_eq!(codes(&found), ["dns-server-invalid a", "dns-loopback host"]);
    world
        .machine
        .file("/run/systemd/resolve/resolv.conf", "nameserver 10.0.0.1\n");
    assert_eq!(codes(&dns::check(&world.scene()).await), ["dns-server-invalid a"]);
    world.machine.things.remove(Path::new("/etc/resolv.conf"));
    assert_eq!(
        codes(&dns::check(&world.scene()).await),
        ["dns-server-invalid a", "dns-unchecked host"]
    );
}

#[tokio::test]
async fn a_clock_is_right_wrong_or_unknown_and_nothing_is_from_the_future() {
    let mut world = World::of(PLAIN, NONE);
    world.machine.folder("/state/ark");
    assert_eq!(clock::check(&world.scene()).await, []);
    world.machine.clock = ClockState::Unsynchronised("chrony".into());
    assert_eq!(clock::check(&world.scene()).await[0].severity, Severity::Warning);
    world.machine.clock = ClockState::Unknown("nobody".into());
    let found = clock::check(&world.scene()).await;
    assert!(found[0].unchecked && found[0].severity == Severity::Note, "{found:?}");
    world.machine.clock = ClockState::Synchronised;
    world.machine.file("/state/ark/journal/x", "").modified = Timestamp::UNIX_EPOCH + chrono::TimeDelta::minutes(4);
    assert_eq!(clock::check(&world.scene()).await, []);
    world.machine.file("/state/ark/journal/y", "").modified = Timestamp::UNIX_EPOCH + chrono::TimeDelta::minutes(6);
    let found = clock::check(&world.scene()).await;
    assert_eq!(codes(&found), ["state-from-the-future /state/ark"]);
    assert!(
        found[0].what.contains("journal/y") && !found[0].what.contains("journal/x"),
        "{found:?}"
    );
}

#[tokio::test]
async fn published_ports_go_past_a_firewall_unless_they_are_local() {
    let compose = "services:\n  a: { image: 'a:1', ports: ['80:80', '[::]:443:443'] }\n  b: { image: 'a:1', ports: ['127.0.0.1:81:80', '[::1]:82:80'] }\n";
    let mut world = World::of(compose, NONE);
    assert_eq!(firewall::check(&world.scene()).await, []);
    world.machine.firewall = Firewall::On("ufw".into());
    let found = firewall::check(&world.scene()).await;
    assert_eq!(codes(&found), ["firewall-bypassed a"]);
    assert_eq!(found[0].what, "a publishes 80/tcp, 443/tcp past ufw");
    assert!(found[0].remedy.contains("DOCKER-USER"), "{found:?}");
    world.machine.firewall = Firewall::Unknown("iptables: none".into());
    assert!(firewall::check(&world.scene()).await[0].unchecked);
    world.engine().info.rootless = true;
    assert_eq!(firewall::check(&world.scene()).await, []);
    let mut local = World::of("services:\n  b: { image: 'a:1', ports: ['127.0.0.1:81:80'] }\n", NONE);
    local.machine.firewall = Firewall::On("ufw".into());
    assert_eq!(firewall::check(&local.scene()).await, []);
}

#[test]
fn limits_on_cpus_are_held_against_those_of_the_host() {
    let of = |cpus: &str| World::of(&format!("services:\n  a: {{ image: 'a:1', cpus: {cpus} }}\n"), RELEASED);
    let found = cpus::check(&of("3").scene());
    assert_eq!(codes(&found), ["cpus-beyond-host host", "cpus-overcommitted host"]);
    assert_eq!(found[0].severity, Severity::Error);
    assert_eq!(
        cpus::check(&of("3").podman().scene())[0].severity,
        Severity::Warning,
        "Podman takes it"
    );
    let found = cpus::check(&of("1.5").scene());
    assert!(
        found[0].what.contains("3.0") && found[0].what.ends_with("has 2"),
        "{found:?}"
    );
    let mut world = of("1");
    assert_eq!(cpus::check(&world.scene()), []);
    world.engine().info.cpus = 0;
    assert_eq!(cpus::check(&world.scene()), []);
}
