use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use arkwright::config;
use arkwright::model::{Colour, ServiceName, Span, Timestamp};
use arkwright::plan::desired::ROUTER;
use arkwright::plan::{Change, Desired, Plan, Wishes, diff, labels};
use arkwright::ports::{Engine, Figures, Latency, Notice, Route, Router, RouterError, SlotView};
use arkwright::run::{Converge, Patience, facts};
use async_trait::async_trait;

use crate::bench::Bench;
use crate::stacks::{Project, words};

/// Remembers what it is told, and does not answer the first time it is given addresses, as one that is just starting.
#[derive(Default)]
struct Remembered {
    routes: Mutex<Vec<Route>>,
    refused: Mutex<bool>,
    asked: Mutex<bool>,
}

#[async_trait]
impl Router for Remembered {
    async fn apply(&self, routes: &[Route]) -> Result<(), RouterError> {
        *self.routes.lock().expect("unbroken") = routes.to_vec();
        Ok(())
    }

    async fn routes(&self) -> Result<Vec<Route>, RouterError> {
        Ok(self.routes.lock().expect("unbroken").clone())
    }

    async fn point(&self, service: &ServiceName, colour: Colour, addresses: &[IpAddr]) -> Result<(), RouterError> {
        if !std::mem::replace(&mut *self.refused.lock().expect("unbroken"), true) {
            return Err(RouterError::Unreachable {
                socket: "none".into(),
                source: std::io::ErrorKind::ConnectionRefused.into(),
            });
        }
        let mut routes = self.routes.lock().expect("unbroken");
        let route = routes.iter_mut().find(|route| route.service == *service);
        let route = route.ok_or_else(|| RouterError::UnknownService(service.clone()))?;
        for slot in route.slots.iter_mut().filter(|slot| slot.colour == colour) {
            slot.addresses = addresses.to_vec();
        }
        Ok(())
    }

    async fn steer(&self, service: &ServiceName, _: [(Colour, u8); 2]) -> Result<Span, RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn gate(&self, service: &ServiceName, _: Option<Span>) -> Result<(), RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    /// Every container is found healthy the second time it is asked about.
    async fn slots(&self, service: &ServiceName) -> Result<Vec<SlotView>, RouterError> {
        let up = std::mem::replace(&mut *self.asked.lock().expect("unbroken"), true);
        let routes = self.routes.lock().expect("unbroken");
        let slots = routes
            .iter()
            .filter(|route| route.service == *service)
            .flat_map(|route| &route.slots);
        Ok(slots
            .flat_map(|slot| slot.addresses.iter().map(move |address| (slot, address)))
            .map(|(slot, address)| SlotView {
                colour: slot.colour,
                replica: 1,
                address: Some(*address),
                weight: slot.weight,
                up,
                down: !up,
                state: slot.state,
                last_check: "L4CON".into(),
                in_flight: 0,
                upgraded: 0,
            })
            .collect())
    }

    async fn waiting(&self, service: &ServiceName) -> Result<(u64, Span), RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn shut_sessions(&self, service: &ServiceName, _: Colour, _: Span) -> Result<u64, RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn figures(&self, service: &ServiceName) -> Result<[(Colour, Figures); 2], RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn preview(&self, service: &ServiceName, _: Option<Colour>) -> Result<(), RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn maintenance(&self, service: &ServiceName, _: Option<Notice>) -> Result<(), RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn in_maintenance(&self) -> Result<BTreeMap<ServiceName, Notice>, RouterError> {
        Ok(BTreeMap::new())
    }

    async fn preview_cookie(&self, service: &ServiceName, _: Timestamp) -> Result<String, RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn listen(&self) -> Result<(), RouterError> {
        Ok(())
    }

    async fn latency(&self, service: &ServiceName, _: Span) -> Result<[(Colour, Latency); 2], RouterError> {
        Err(RouterError::UnknownService(service.clone()))
    }

    async fn alive(&self) -> bool {
        true
    }
}

/// The plan without the router's own container, whose image the tests do not have.
fn without_router(mut plan: Plan) -> Plan {
    let dropped = |change: &Change| change.action.service() == Some(ROUTER) || change.action.kind() == "pull image";
    let mut places = Vec::new();
    for change in &plan.changes {
        places.push((!dropped(change)).then(|| places.iter().flatten().count()));
    }
    plan.changes.retain(|change| !dropped(change));
    for change in &mut plan.changes {
        change.after = change.after.iter().filter_map(|at| places[*at]).collect();
    }
    plan
}

pub async fn a_released_service_comes_up_and_the_router_gets_its_addresses(bench: &Bench) {
    let mut project = Project::three(bench);
    project.service("web").replicas = 2;
    let text = "services: { web: { release: { port: 80, health: { http: /up } } } }";
    let names: BTreeSet<ServiceName> = project.stack.services.keys().cloned().collect();
    let config = config::load(Path::new("arkwright.yaml"), text, &names).expect("a configuration");
    let folders = project.folders();
    let desired = Desired::of(&project.stack, Some(&config), &BTreeMap::new(), &folders).expect("a desired state");
    let router = Remembered::default();
    let plan = async || {
        let observed = bench.engine.observe(&bench.project).await.expect("observed");
        let facts = facts(&desired, &bench.engine, Some(&router), &project.environment)
            .await
            .expect("facts");
        without_router(diff(&desired, &observed, &facts, Wishes::default()))
    };
    let converge = Converge {
        engine: &bench.engine,
        router: Some(&router),
        folders: &folders,
        environment: &project.environment,
        progress: &project.said,
        patience: Patience::default(),
    };
    let first = plan().await;
    assert_eq!(
        first.changes.last().map(|c| c.action.kind()),
        Some("point router"),
        "{:?}",
        words(&first)
    );
    converge.perform(&first).await.expect("up");
    for folder in [&folders.router_config, &folders.router_run] {
        let owner = std::fs::metadata(folder).expect("made");
        assert_eq!((owner.uid(), owner.gid()), (99, 99));
    }

    let blue = bench.engine.observe(&bench.project).await.expect("observed").containers;
    let blue: Vec<_> = blue
        .into_iter()
        .filter(|c| c.label(labels::COLOUR) == Some("blue"))
        .collect();
    let network = bench.name("back");
    let addresses: BTreeSet<IpAddr> = blue.iter().filter_map(|c| c.networks[&network].ip).collect();
    let given: BTreeSet<IpAddr> = router.routes().await.expect("routes")[0].slots[0]
        .addresses
        .iter()
        .copied()
        .collect();
    assert_eq!((blue.len(), addresses.len()), (2, 2));
    assert_eq!(given, addresses);
    let aliases = &blue[0].networks[&network].aliases;
    assert!(
        !aliases.contains(&"web".to_owned()),
        "a colour never answers to the service's own name: {aliases:?}"
    );

    // The router's container is never there in this test, so it is given what it has once more; the engine is left alone.
    let writes = bench.engine.writes();
    let again = ["point router web blue"];
    let second = plan().await;
    assert_eq!(words(&second), again);
    converge.perform(&second).await.expect("pointed");
    assert_eq!(bench.engine.writes(), writes);

    // The engine restarted one, and it came back under whatever address.
    bench.engine.stop_container(&blue[0].id, None).await.expect("stopped");
    let third = plan().await;
    assert_eq!(words(&third)[0], format!("start container {}", blue[0].name));
    converge.perform(&third).await.expect("started");
    assert_eq!(words(&plan().await), again);
}
