mod config;
mod host;
mod stack;
mod world;

use super::{Affairs, AgentState, Finding, check};
use world::World;

fn quiet() -> Affairs {
    Affairs {
        agent: AgentState::Answers,
        history: Ok(Vec::new()),
        driven: false,
    }
}

#[tokio::test]
async fn a_project_in_good_health_is_not_talked_about() {
    let compose = "services:\n  web:\n    image: registry.example/web:1.4\n    restart: always\n    ports: ['8080:80']\n    \
                   volumes: ['./data:/data']\n    healthcheck: { test: [CMD, 'true'] }\n    \
                   deploy: { resources: { limits: { memory: 512M, cpus: '1.0' } } }\n  \
                   db:\n    image: registry.example/db:7\n    depends_on: { web: { condition: service_healthy } }\n";
    let config = "services:\n  web: { release: { port: 80, health: { http: /health } } }\n";
    let mut world = World::of(compose, config);
    world.machine.folder("/state/ark");
    world.machine.file("/etc/resolv.conf", "nameserver 10.0.0.1\n");
    assert_eq!(check(&world.scene(), &quiet()).await, []);
}

/// Every check runs without an engine, and with a machine that answers nothing at all.
#[tokio::test]
async fn what_does_not_answer_stops_no_other_check() {
    let compose =
        "services:\n  web: { image: 'web:latest', ports: ['80:80', '80:81'], volumes: ['./a.conf:/a.conf'] }\n";
    let config = "services:\n  web: { release: { port: 80, health: { http: / } } }\n";
    let mut world = World::of(compose, config);
    world.machine.things.clear();
    world.machine.disks.clear();
    (world.machine.limits, world.machine.memory) = (None, None);
    world.machine.clock = crate::ports::ClockState::Unknown("nobody".into());
    world.machine.firewall = crate::ports::Firewall::Unknown("nobody".into());
    world.machine.unresolved = true;
    let affairs = Affairs {
        agent: AgentState::Unreachable("broken".into()),
        history: Err("damaged".into()),
        driven: false,
    };
    let has = |findings: &[Finding], code: &str| findings.iter().any(|finding| finding.code == code);
    let with = check(&world.scene(), &affairs).await;
    for code in [
        "port-twice",
        "image-unpinned",
        "mount-missing-file",
        "limits-unchecked",
        "memory-unknown",
        "disk-unchecked",
        "dns-unchecked",
        "clock-unchecked",
        "firewall-unchecked",
        "agent-unreachable",
        "operations-unchecked",
    ] {
        assert!(has(&with, code), "{code}: {with:?}");
    }
    (world.engine, world.plan) = (None, None);
    let without = check(&world.scene(), &affairs).await;
    for code in [
        "port-twice",
        "image-unpinned",
        "clock-unchecked",
        "operations-unchecked",
    ] {
        assert!(has(&without, code), "{code}: {without:?}");
    }
    for finding in with.iter().chain(&without) {
        let whole = |text: &str| !text.is_empty() && !text.contains('\n');
        assert!(
            whole(&finding.what) && whole(&finding.reason) && whole(&finding.remedy),
            "{finding:?}"
        );
        assert!(
            finding.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{}",
            finding.code
        );
        assert_eq!(
            finding.unchecked,
            finding.what.starts_with("could not be checked"),
            "{finding:?}"
        );
    }
}
