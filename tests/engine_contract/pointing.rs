//! An engine that begins anew gives containers other addresses, and the router behind which they serve has them soon.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arkwright::app::{Living, Project, Selection};
use arkwright::plan::{Wishes, labels};
use arkwright::ports::{Engine, Router};
use arkwright::router::{HaProxy, Inside};
use arkwright::run::Progress;
use rustix::process::Signal;
use tokio_util::task::AbortOnDropHandle;

use crate::bench::Bench;
use crate::common;
use crate::private::Private;

const HAPROXY: &str = "localhost/memoryark/haproxy:2.6";
const ANSWERS: &str = "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
                       frontend all\n  bind *:8081\n  http-request return status 200\n";

struct Says;

impl Progress for Says {
    fn say(&self, text: &str) {
        println!("    {text}");
    }
}

/// `first` has the lowest address and does not come back; `web` has the next three.
fn project(folder: &Path, host: String, name: &str, image: &str) -> Project {
    let compose = format!(
        "name: {name}\nservices:\n  first: {{ image: \"{image}\", command: [sleep, \"600\"], restart: \"no\" }}\n  \
         web:\n    image: {HAPROXY}\n    restart: unless-stopped\n    deploy: {{ replicas: 3 }}\n    \
         entrypoint: [haproxy, -f, /etc/web.cfg]\n    volumes: [\"./web.cfg:/etc/web.cfg:ro\"]\n    \
         depends_on: [first]\n"
    );
    let config = format!(
        "services: {{ web: {{ release: {{ port: 8081, health: {{ http: /, every: 500ms, healthy_after: 2 }} }} }} }}\n\
         router: {{ image: \"{HAPROXY}\" }}\nstate: ./state\n"
    );
    for (name, text) in [
        ("compose.yaml", compose.as_str()),
        ("arkwright.yaml", config.as_str()),
        ("web.cfg", ANSWERS),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let selection = Selection {
        files: vec![folder.join("compose.yaml")],
        host: Some(host),
        ..Selection::default()
    };
    Project::load(&selection).expect("a project")
}

async fn addresses(engine: &dyn Engine, project: &Project) -> BTreeSet<IpAddr> {
    let observed = engine.observe(&project.stack().name).await.expect("observed");
    let blue = observed
        .containers
        .iter()
        .filter(|c| c.label(labels::COLOUR) == Some("blue"));
    blue.flat_map(|c| c.networks.values().filter_map(|endpoint| endpoint.ip))
        .collect()
}

pub async fn after_a_restart_of_the_engine_the_router_asks_the_new_addresses(bench: &Bench) {
    if bench.engine.image(HAPROXY).await.expect("an answer").is_none() {
        common::not_run(&format!("{HAPROXY} is not on this engine (./scripts/images)"));
        return;
    }
    let Some(mut own) = Private::start(bench).await else {
        return;
    };
    let inside = own.bench("pointing").await;
    let archive = bench.engine.export_image(HAPROXY).await.expect("an archive");
    inside.engine.import_image(archive).await.expect("imported");
    let folder = tempfile::tempdir().expect("a folder");
    let name = inside.project.to_string();
    let load = || project(folder.path(), own.host(), &name, &bench.image);
    let site = load();
    let site = site.site().await.expect("a site");
    let observed = site.observe().await.expect("observed");
    let plan = site.plan(&observed, Wishes::default()).await.expect("a plan");
    site.perform(&plan, &Says).await.expect("up");

    let folders = load().folder().expect("a state folder").host_folders();
    let router = HaProxy::new(folders.router_config, folders.router_run, Inside::container());
    let before = addresses(&inside.engine, &load()).await;
    let living = Arc::new(Living::of(load()).await.expect("alive"));
    let _agent = AbortOnDropHandle::new(tokio::spawn(async move { living.keep_pointed().await }));

    own.end(Signal::TERM).await;
    own.serve().await;
    let began = Instant::now();
    let fresh = own.bench("again").await;
    let project = project(folder.path(), own.host(), &name, &bench.image);
    if bench.podman() {
        // Its containers outlive its service; somebody starts them again.
        let observed = fresh.engine.observe(&project.stack().name).await.expect("observed");
        for container in observed.containers.iter().filter(|c| c.label(labels::COLOUR).is_some()) {
            fresh.engine.stop_container(&container.id, None).await.expect("stopped");
            fresh.engine.start_container(&container.id).await.expect("started");
        }
    }
    loop {
        let now = addresses(&fresh.engine, &project).await;
        let routes = router.routes().await.expect("routes");
        let given: BTreeSet<IpAddr> = routes[0].slots[0].addresses.iter().copied().collect();
        let slots = router.slots(&"web".parse().expect("a name")).await.unwrap_or_default();
        if now.len() == 3 && now == given && slots.iter().filter(|slot| slot.up).count() == 3 {
            println!(
                "  {before:?} became {now:?}, healthy at the router after {:?}",
                began.elapsed()
            );
            assert_ne!(before, now, "the engine gave them the same ones, which shows nothing");
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{now:?}, the router has {given:?}: {slots:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
