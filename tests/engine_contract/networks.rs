use std::net::IpAddr;

use arkwright::plan::{ContainerSpec, NetworkAttachment, NetworkSpec, labels};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::Subnet;

use crate::bench::{Bench, until};

fn on(network: &str, alias: &str) -> NetworkAttachment {
    NetworkAttachment {
        network: network.into(),
        aliases: vec![alias.into()],
        ..NetworkAttachment::default()
    }
}

/// Until `name` means one of the container's own addresses there.
async fn resolves(bench: &Bench, from: &arkwright::model::ContainerId, name: &str, to: IpAddr) {
    let line = format!("getent hosts {name} || true");
    until(&format!("{name} is {to}"), || async {
        bench.sh(from, &line).await.split_whitespace().next() == Some(to.to_string().as_str())
    })
    .await;
}

pub async fn two_networks_at_creation_with_their_aliases(bench: &Bench) {
    let (front, back) = (bench.network("front").await, bench.network("back").await);
    let both = ContainerSpec {
        networks: vec![on(&front, "shown"), on(&back, "hidden")],
        ..bench.sleeper("both")
    };
    let id = bench.run(&both).await;
    let seen = bench.look(&id).await;
    let ip = |network: &str| seen.networks.get(network).and_then(|e| e.ip).expect("an address");
    assert!(seen.networks[&back].aliases.contains(&"hidden".to_owned()), "{seen:?}");

    let peer = |what: &str, network: &str| ContainerSpec {
        networks: vec![on(network, what)],
        ..bench.sleeper(what)
    };
    let before = bench.run(&peer("before", &front)).await;
    let behind = bench.run(&peer("behind", &back)).await;
    resolves(bench, &before, "shown", ip(&front)).await;
    resolves(bench, &behind, "hidden", ip(&back)).await;
    assert_eq!(
        bench.sh(&before, "getent hosts hidden || echo none").await.trim(),
        "none"
    );
}

pub async fn connecting_and_disconnecting_are_idempotent(bench: &Bench) {
    let (first, second) = (bench.network("first").await, bench.network("second").await);
    let spec = ContainerSpec {
        networks: vec![on(&first, "me")],
        ..bench.sleeper("joiner")
    };
    let id = bench.run(&spec).await;
    let aliases = ["also-me".to_owned()];
    for _ in 0..2 {
        bench
            .engine
            .connect(&second, &id, &aliases, None)
            .await
            .expect("connected");
    }
    assert!(bench.look(&id).await.networks[&second].ip.is_some());
    let other = ["someone-else".to_owned()];
    let error = bench
        .engine
        .connect(&second, &id, &other, None)
        .await
        .expect_err("connected under another name");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    for _ in 0..2 {
        bench.engine.disconnect(&second, &id).await.expect("disconnected");
    }
    assert!(!bench.look(&id).await.networks.contains_key(&second));
    let error = bench
        .engine
        .connect(&bench.name("nowhere"), &id, &[], None)
        .await
        .expect_err("no network");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn a_network_is_made_once_and_removed_once(bench: &Bench) {
    let spec = NetworkSpec {
        name: bench.name("inner"),
        internal: true,
        labels: [(labels::PROJECT, bench.project.as_str()), (labels::NETWORK, "inner")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..NetworkSpec::default()
    };
    bench.engine.create_network(&spec).await.expect("made");
    let error = bench.engine.create_network(&spec).await.expect_err("taken");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    let seen = bench
        .engine
        .network(&spec.name)
        .await
        .expect("an answer")
        .expect("the network");
    assert!(
        seen.internal && seen.labels == spec.labels && seen.driver == "bridge",
        "{seen:?}"
    );
    assert_eq!(seen.subnets.len(), 1);

    let holder = ContainerSpec {
        networks: vec![on(&spec.name, "holder")],
        ..bench.sleeper("holder")
    };
    let id = bench.run(&holder).await;
    let error = bench.engine.remove_network(&spec.name).await.expect_err("in use");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.remove_container(&id).await.expect("removed");
    for _ in 0..2 {
        bench.engine.remove_network(&spec.name).await.expect("removed");
    }
    assert!(bench.engine.network(&spec.name).await.expect("an answer").is_none());
}

pub async fn a_fixed_address_is_given(bench: &Bench) {
    let third = 16 + std::process::id() % 200;
    let net = |last: &str| format!("10.{}.{third}.{last}", if bench.podman() { 213 } else { 214 });
    let spec = NetworkSpec {
        name: bench.name("fixed"),
        subnets: vec![Subnet {
            subnet: Some(net("0/24")),
            gateway: Some(net("1")),
            ip_range: None,
        }],
        labels: [(labels::PROJECT.to_owned(), bench.project.to_string())].into(),
        ..NetworkSpec::default()
    };
    bench.engine.create_network(&spec).await.expect("made");
    let attachment = NetworkAttachment {
        ipv4: Some(net("77")),
        ..on(&spec.name, "fixed")
    };
    let container = ContainerSpec {
        networks: vec![attachment],
        ..bench.sleeper("fixed")
    };
    let id = bench.run(&container).await;
    let ip = bench.look(&id).await.networks[&spec.name].ip;
    assert_eq!(ip, net("77").parse().ok());
    let loose = bench.run(&bench.sleeper("loose")).await;
    bench
        .engine
        .connect(&spec.name, &loose, &[], Some(&net("78")))
        .await
        .expect("connected");
    assert_eq!(bench.look(&loose).await.networks[&spec.name].ip, net("78").parse().ok());
}

pub async fn host_gateway_is_an_address(bench: &Bench) {
    let network = bench.network("gate").await;
    let spec = ContainerSpec {
        networks: vec![on(&network, "me")],
        extra_hosts: vec!["host.internal:host-gateway".into()],
        ..bench.sleeper("gate")
    };
    let id = bench.run(&spec).await;
    let hosts = bench.sh(&id, "grep host.internal /etc/hosts").await;
    let address = hosts.split_whitespace().next().unwrap_or_default();
    assert!(address.parse::<IpAddr>().is_ok(), "{hosts}");
}

pub async fn name_servers_of_its_own_do_not_keep_a_container_from_finding_the_others(bench: &Bench) {
    let network = bench.network("net").await;
    let peer = ContainerSpec {
        networks: vec![on(&network, "peer")],
        ..bench.sleeper("peer")
    };
    let own = ContainerSpec {
        networks: vec![on(&network, "own")],
        // Of a block kept for documents: nobody answers there.
        dns: vec!["192.0.2.53".into()],
        ..bench.sleeper("own")
    };
    let peer = bench.run(&peer).await;
    let own = bench.run(&own).await;
    let ip = bench.look(&peer).await.networks[&network].ip.expect("an address");
    resolves(bench, &own, "peer", ip).await;
}
