//! Who starts a container again gives it another address, and the router has it soon.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arkwright::app::{Living, Project};
use arkwright::plan::Wishes;
use arkwright::ports::Router;
use tokio_util::task::AbortOnDropHandle;

use crate::lab::{Load, until};
use crate::stage::{HAPROXY, Stage, TOKEN, routers, service};

/// From the moment the engine has started it.
const SOON: Duration = Duration::from_secs(1);

impl Stage {
    async fn living(&self, project: Project) -> AbortOnDropHandle<()> {
        let living = Arc::new(Living::of(project).await.expect("alive"));
        AbortOnDropHandle::new(tokio::spawn(async move { living.keep_pointed().await }))
    }

    fn address(&self, container: &str) -> Option<IpAddr> {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.engine(&["inspect", "--format", format, container])
            .trim()
            .parse()
            .ok()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_somebody_starts_again_is_found_within_a_second() {
    for stage in Stage::all("point", 2) {
        println!("on {}", stage.host);
        scene(&stage).await;
    }
}

async fn scene(stage: &Stage) {
    let project = stage.write(false, HAPROXY);
    stage.up(&project, Wishes::default()).await;
    let router = stage.router(&project);
    let engine = project.engine().await.expect("an engine");
    let entry = routers(engine.as_ref(), &project).await[0]
        .networks
        .values()
        .find_map(|endpoint| endpoint.ip)
        .expect("an address");
    let agent = stage.living(stage.write(false, HAPROXY)).await;
    let given = async || {
        let routes = router.routes().await.expect("routes");
        routes[0].slots[0].addresses.clone()
    };
    let up = async || {
        let slots = router.slots(&service("web")).await.expect("slots");
        slots.iter().filter(|slot| slot.up).count() == 2
    };
    until("both", 30, up).await;
    let names = [1, 2].map(|number| format!("{}-web-blue-{number}", stage.name));
    let header = format!("Authorization: Bearer {TOKEN}\r\n");
    let at = (entry, crate::PORT).into();
    let load = Load::start(at, "/api/photos/upload", 16, Duration::from_millis(5), &header);
    tokio::time::sleep(Duration::from_millis(500)).await;

    stage.engine(&["restart", "--time", "10", &names[0]]);
    // The router may not notice, or for longer than a check.
    tokio::time::sleep(Duration::from_secs(1)).await;
    until("it serves again", 15, up).await;
    // Another container takes the address that one leaves.
    let before = stage.address(&names[0]).expect("an address");
    stage.engine(&["stop", "--time", "10", &names[0]]);
    let squatter = format!("{}-squatter", stage.name);
    let network = format!("{}_front", stage.name);
    stage.engine(&[
        "run",
        "-d",
        "--name",
        &squatter,
        "--ulimit=nofile=10000:20000",
        "--ulimit=nproc=10000:10000",
        &format!("--network={network}"),
        "localhost/memoryark/debian:bookworm",
        "sleep",
        "600",
    ]);
    stage.engine(&["start", &names[0]]);
    let began = Instant::now();
    let now = stage.address(&names[0]).expect("an address");
    until("the router has its address", 10, async || given().await[0] == now).await;
    let took = began.elapsed();
    println!("  {before} became {now}, and the router has it {took:?} after the engine had started it");
    assert!(took < SOON, "{took:?}");
    until("it serves again", 15, up).await;
    assert_eq!(
        given().await,
        names.clone().map(|name| stage.address(&name).expect("an address"))
    );

    let counted = load.stop().await;
    // No more than the two stops broke off at that container itself, which does not wait for what it has.
    println!("  {} requests, lost: {:?}", counted.sent, counted.lost);
    assert!(counted.sent > 100 && counted.lost.len() <= 2 * 16, "{:?}", counted.lost);
    drop(agent);
    stage.engine(&["rm", "-f", &squatter]);
    stage.down(&project).await;
}
