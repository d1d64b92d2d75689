mod down;
mod eject;
mod order;
mod plain;
mod recreated;
mod released;
mod router;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{self, Config};
use crate::model::{Colour, ContainerId, Health, ServiceName};
use crate::stack::{
    Attachment, Condition, Dependency, FileGrant, FileObject, FileSource, Healthcheck, Mount, Network, NetworkMode,
    Port, Restart, Service, Stack, Volume,
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
        standby: "/state/standby".into(),
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
                        network_id: "n".into(),
                        ip,
                        aliases: n.aliases.clone(),
                    },
                )
            })
            .collect(),
        ports: Vec::new(),
        restart_count: 0,
        oom_killed: false,
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
