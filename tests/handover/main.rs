//! The router's containers under load that never tries again, on every engine: one makes room for another, and addresses
//! of what is behind it change.
//!
//! `ARKWRIGHT_TEST_DOCKER` and `ARKWRIGHT_TEST_PODMAN` name the engines (`unix:///…`); the images are those of
//! `scripts/images`.

#[path = "../common/mod.rs"]
mod common;
#[path = "../lab/mod.rs"]
mod lab;
mod pointing;
mod stage;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use arkwright::model::Colour;
use arkwright::plan::Wishes;
use arkwright::ports::{Arrangement, Router};
use arkwright::router::HaProxy;
use lab::{Load, Sockets, until};
use stage::{HAPROXY, PORT, Stage, TOKEN, answers, routers, service};

fn arrangement(doors: &[u32], serving: u32) -> Arrangement {
    Arrangement {
        serving,
        doors: doors.iter().copied().collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_takes_another_image_and_another_service_without_losing_a_request() {
    for stage in Stage::all("door", 1) {
        println!("on {}", stage.host);
        scene(&stage).await;
    }
}

async fn scene(stage: &Stage) {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let project = stage.write(false, HAPROXY);
    stage.up(&project, Wishes::default()).await;
    let engine = project.engine().await.expect("an engine");
    let router = stage.router(&project);
    let first: IpAddr = routers(engine.as_ref(), &project).await[0]
        .networks
        .values()
        .find_map(|endpoint| endpoint.ip)
        .expect("an address");
    let places = [local(stage.published[0]), SocketAddr::from((first, PORT))];
    for at in places {
        until("web", 30, || answers(at)).await;
    }
    let header = format!("Authorization: Bearer {TOKEN}\r\n");
    let load = |at| Load::start(at, "/api/photos/upload", 32, Duration::from_millis(5), &header);
    let loads = places.map(load);
    let sockets = [
        Sockets::open(places[0], "/api/ws", 5).await,
        Sockets::open(places[1], "/api/ws", 5).await,
    ];
    let breath = || tokio::time::sleep(Duration::from_millis(700));
    breath().await;

    let mut images = Vec::new();
    for (number, name) in [(2, "second"), (3, "third")] {
        let image = stage.image(name);
        let project = stage.write(false, &image);
        images.push(image);
        let began = Instant::now();
        let words = stage.up(&project, Wishes::default()).await;
        println!("  image {name} after {:?}: {words:?}", began.elapsed());
        let doors: Vec<u32> = (1..number).collect();
        assert_eq!(router.arrangement().await.expect("told"), arrangement(&doors, number));
        let before = router.figures(&service("web")).await.expect("figures")[0].1.requests;
        breath().await;
        let after = router.figures(&service("web")).await.expect("figures")[0].1.requests;
        assert!(after > before + 100, "the new one is asked: {before}, {after}");
        let slots = router.slots(&service("web")).await.expect("slots");
        let open: u64 = slots.iter().map(|slot| slot.upgraded).sum();
        assert_eq!(open, 10, "WebSockets are told of wherever they are: {slots:?}");
    }
    let third = images.last().expect("an image").clone();
    let project = stage.write(true, &third);
    let words = stage.up(&project, Wishes::default()).await;
    println!("  a service more: {words:?}");
    assert_eq!(router.arrangement().await.expect("told").serving, 4);
    let more = local(stage.published[1]);
    until("the new service", 10, || answers(more)).await;
    let fourth = routers(engine.as_ref(), &project).await.pop().expect("a router");
    for (name, network) in [("api", "front"), ("api", "back"), ("web", "front")] {
        let network = format!("{}_{network}", stage.name);
        let found = stage.engine(&[
            "run",
            "--rm",
            // Podman's own are more than some hosts allow.
            "--ulimit=nofile=10000:20000",
            "--ulimit=nproc=10000:10000",
            &format!("--network={network}"),
            "localhost/memoryark/debian:bookworm",
            "getent",
            "hosts",
            name,
        ]);
        let wanted = if name == "web" {
            first.to_string()
        } else {
            fourth.networks[&network].ip.expect("an address").to_string()
        };
        assert_eq!(found.split_whitespace().next(), Some(wanted.as_str()), "{name}");
    }
    breath().await;

    // A change of weights reaches everybody, wherever they come in.
    let weights = [(Colour::Blue, 100), (Colour::Green, 0)];
    router.steer(&service("web"), weights).await.expect("steered");
    // Somebody reloads, as a service that comes or goes does.
    let routes = router.routes().await.expect("routes");
    let only: Vec<_> = routes.iter().filter(|r| r.service == service("web")).cloned().collect();
    router.apply(&only).await.expect("applied");
    router.apply(&routes).await.expect("applied");
    breath().await;
    let mut counts = Vec::new();
    for load in loads {
        let counted = load.stop().await;
        counts.push((counted.sent, counted.lost.len(), counted.slowest));
        let first = &counted.lost[..counted.lost.len().min(5)];
        assert_eq!(first, [""; 0], "{} of {}", counted.lost.len(), counted.sent);
    }
    let mut cut = 0;
    for sockets in sockets {
        cut += sockets.cut().await;
    }
    println!("  (sent, lost, slowest): {counts:?}, {cut} of 10 WebSockets cut");
    assert_eq!(cut, 0);

    // Whoever was cut off while the doors were opened leaves that to the next one.
    let file = stage
        .folder
        .path()
        .join("state")
        .join(&stage.name)
        .join("router/config/doors.json");
    let text = std::fs::read_to_string(&file).expect("there");
    std::fs::write(&file, text.replace("\"opening\":false", "\"opening\":true")).expect("written");
    router.steer(&service("web"), weights).await.expect("steered");
    assert_eq!(std::fs::read_to_string(&file).expect("there"), text);

    // What nobody needs any more goes; what holds a name stays.
    until("the old ones have nobody", 20, || async {
        let idle = router.idle().await.expect("told");
        idle == BTreeSet::from([1, 2, 3])
    })
    .await;
    stage.up(&project, Wishes::default()).await;
    assert_eq!(router.arrangement().await.expect("told"), arrangement(&[1], 4));
    assert_eq!(stage.up(&project, Wishes::default()).await, Vec::<String>::new());
    stage.doors_start_by_themselves(&router, places[0], more).await;

    let recreate = Wishes {
        recreate_router: true,
        ..Wishes::default()
    };
    stage.up(&project, recreate).await;
    assert_eq!(router.arrangement().await.expect("told"), arrangement(&[], 1));
    until("the new service", 10, || answers(more)).await;
    assert_eq!(stage.up(&project, Wishes::default()).await, Vec::<String>::new());
    stage.down(&project).await;
    assert_eq!(routers(engine.as_ref(), &project).await, []);
    for image in images {
        engine.remove_image(&image).await.expect("removed");
    }
}

impl Stage {
    /// As after a restart of the host, with nobody there to help.
    async fn doors_start_by_themselves(&self, router: &HaProxy, web: SocketAddr, api: SocketAddr) {
        let names = [4, 1].map(|number| format!("{}-arkwright-router-{number}", self.name));
        for name in &names {
            self.engine(&["restart", "--time", "1", name]);
        }
        until("both answer", 10, || async { answers(web).await && answers(api).await }).await;
        assert!(router.alive().await);
    }
}
