//! What a change of the Compose file costs: the service it is about, and no other.

use arkwright::plan::{TearDown, Wishes};
use arkwright::ports::Engine;
use arkwright::stack::{Condition, Mount, NetworkMode, Restart, Service};

use crate::bench::{Bench, until};
use crate::stacks::{Project, data, depends, network, service, words};

fn both<'a>(bench: &'a Bench) -> Project<'a> {
    let web = Service {
        mounts: vec![data()],
        ..service(bench, "web", "echo begun >> /data/log; sleep 600")
    };
    Project::of(bench, [web, service(bench, "cache", "sleep 600")])
}

/// What `web` costs, with `cache` untouched and a second `up` at rest.
async fn web_alone(bench: &Bench, project: &Project<'_>) -> Vec<String> {
    let (web, cache) = (project.find("web").await, project.find("cache").await);
    let plan = project.up().await;
    assert_eq!(project.find("cache").await.id, cache.id, "{:?}", words(&plan));
    let fresh = project.find("web").await;
    assert!(fresh.running() && fresh.id != web.id, "{:?}", words(&plan));
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    words(&plan)
        .into_iter()
        .map(|word| word.replace(bench.project.as_str(), "…"))
        .filter(|word| !word.starts_with("create network"))
        .collect()
}

const RECREATED: [&str; 2] = ["recreate container …-web-1", "start container …-web-1"];

pub async fn a_changed_variable_recreates_its_service_alone(bench: &Bench) {
    let mut project = both(bench);
    project.up().await;
    project
        .service("web")
        .environment
        .insert("COLOUR".into(), Some("rot".into()));
    assert_eq!(web_alone(bench, &project).await, RECREATED);
    let web = project.find("web").await;
    assert_eq!(
        bench.sh(&web.id, "echo $COLOUR; cat /data/log").await,
        "rot\nbegun\nbegun\n",
        "the data stay"
    );
}

pub async fn a_changed_mount_recreates_its_service_alone(bench: &Bench) {
    let mut project = both(bench);
    project.up().await;
    let source = project.folder.path().join("uploads");
    project.service("web").mounts.push(Mount::Bind {
        source: source.clone(),
        target: "/uploads".into(),
        read_only: false,
        create_host_path: true,
        propagation: None,
        selinux: None,
    });
    let path = format!("create folder {}", source.display());
    assert_eq!(
        web_alone(bench, &project).await,
        [&[path.as_str()][..], &RECREATED].concat()
    );
    let web = project.find("web").await;
    bench.sh(&web.id, "touch /uploads/here").await;
    assert!(source.join("here").exists());
}

pub async fn a_new_network_of_a_service_recreates_it_alone(bench: &Bench) {
    let mut project = both(bench);
    project.up().await;
    project.stack.networks.insert("extra".into(), network(bench, "extra"));
    project
        .service("web")
        .networks
        .insert("extra".into(), Default::default());
    assert_eq!(web_alone(bench, &project).await, RECREATED);
    assert!(project.find("web").await.networks.contains_key(&bench.name("extra")));
}

/// `build` again under the same name: nothing in the Compose file changed.
pub async fn an_image_that_means_another_one_now_recreates_its_service_alone(bench: &Bench) {
    let repository = format!("localhost/arkwright-test/{}", bench.project);
    bench.engine.tag(&bench.image, &repository, "1").await.expect("named");
    let mut project = both(bench);
    project.service("web").image = Some(format!("{repository}:1"));
    project.up().await;
    let web = project.find("web").await;
    bench.sh(&web.id, "echo new > /version").await;
    bench
        .order(
            "POST",
            &format!("/commit?container={}&repo={repository}&tag=1&pause=false", web.id),
        )
        .await;
    let plan = words(&project.plan().await);
    let done = web_alone(bench, &project).await;
    let fresh = project.find("web").await;
    let version = bench.sh(&fresh.id, "cat /version").await;
    bench.engine.remove_container(&fresh.id).await.expect("removed");
    bench
        .engine
        .remove_image(&format!("{repository}:1"))
        .await
        .expect("removed");
    assert_eq!(
        (done.as_slice(), version.as_str()),
        (&RECREATED.map(str::to_owned)[..], "new\n"),
        "{plan:?}"
    );
}

pub async fn a_job_that_is_done_is_not_run_again(bench: &Bench) {
    let job = Service {
        mounts: vec![data()],
        ..service(bench, "job", "echo ran >> /data/log")
    };
    let web = Service {
        mounts: vec![data()],
        depends_on: depends("job", Condition::Completed),
        ..service(bench, "web", "sleep 600")
    };
    let mut project = Project::of(bench, [job, web]);
    project.up().await;
    for round in 0..2 {
        project
            .service("web")
            .environment
            .insert("ROUND".into(), Some(round.to_string()));
        project.up().await;
    }
    bench
        .engine
        .stop_container(&project.find("web").await.id, None)
        .await
        .expect("stopped");
    project.up().await;
    let web = project.find("web").await;
    assert_eq!(bench.sh(&web.id, "cat /data/log").await, "ran\n");
    // One whose own specification changes is another job.
    project
        .service("job")
        .environment
        .insert("STEP".into(), Some("2".into()));
    project.up().await;
    assert_eq!(bench.sh(&web.id, "cat /data/log").await, "ran\nran\n");
}

pub async fn what_asks_for_it_is_restarted_with_what_it_depends_on(bench: &Bench) {
    let web = Service {
        depends_on: depends("cache", Condition::Started),
        ..service(bench, "web", "sleep 600")
    };
    let other = Service {
        depends_on: depends("cache", Condition::Started),
        ..service(bench, "other", "sleep 600")
    };
    let mut project = Project::of(bench, [service(bench, "cache", "sleep 600"), web, other]);
    project
        .service("web")
        .depends_on
        .get_mut("cache")
        .expect("declared")
        .restart = true;
    project.up().await;
    let (web, other) = (project.find("web").await, project.find("other").await);
    project
        .service("cache")
        .environment
        .insert("X".into(), Some("1".into()));
    let plan = words(&project.up().await);
    assert!(plan.contains(&format!("restart container {}", web.name)), "{plan:?}");
    let (web_now, other_now) = (project.find("web").await, project.find("other").await);
    assert_eq!(
        (&web_now.id, &other_now.id),
        (&web.id, &other.id),
        "neither is made anew"
    );
    assert!(
        web_now.started > web.started && other_now.started == other.started,
        "{plan:?}"
    );
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
}

pub async fn replicas_come_and_go_from_the_end(bench: &Bench) {
    let mut project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.service("web").replicas = 3;
    project.up().await;
    assert_eq!(bench.services().await, ["web runs"; 3]);
    let first = project.find("web").await;
    project.service("web").replicas = 1;
    let mut gone = words(&project.up().await);
    gone.sort();
    assert_eq!(
        gone,
        [2, 3].map(|n| format!("remove container {}-web-{n}", bench.project))
    );
    assert_eq!(project.find("web").await.id, first.id);
    project.service("web").replicas = 0;
    project.up().await;
    assert_eq!(bench.services().await, Vec::<String>::new());
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
}

pub async fn a_killed_container_is_started_again_by_up(bench: &Bench) {
    let project = both(bench);
    project.up().await;
    let (web, cache) = (project.find("web").await, project.find("cache").await);
    bench
        .order("POST", &format!("/containers/{}/kill?signal=SIGKILL", web.id))
        .await;
    until("it is dead", || async { !bench.look(&web.id).await.running() }).await;
    assert_eq!(words(&project.up().await), [format!("start container {}", web.name)]);
    assert!(project.find("web").await.running());
    assert_eq!(project.find("cache").await.started, cache.started);
}

pub async fn a_paused_container_is_told_and_left_to_whoever_paused_it(bench: &Bench) {
    let project = both(bench);
    project.up().await;
    let web = project.find("web").await;
    bench.order("POST", &format!("/containers/{}/pause", web.id)).await;
    let plan = project.up().await;
    assert_eq!(words(&plan), Vec::<String>::new());
    assert!(
        plan.drift.iter().any(|notice| notice.what.contains("paused")),
        "{:?}",
        plan.drift
    );
    bench.order("POST", &format!("/containers/{}/unpause", web.id)).await;
    assert!(project.up().await.drift.is_empty());
    assert!(project.find("web").await.running());
}

/// Somebody cleaned up with too broad a brush: the containers stopped, their network gone.
pub async fn a_network_removed_by_hand_is_made_again_with_everything_on_it(bench: &Bench) {
    let project = both(bench);
    project.up().await;
    let network = bench.name("default");
    for service in ["web", "cache"] {
        let id = project.find(service).await.id;
        bench.engine.stop_container(&id, None).await.expect("stopped");
        bench.engine.disconnect(&network, &id).await.expect("disconnected");
    }
    bench.order("DELETE", &format!("/networks/{network}")).await;
    project.up().await;
    assert_eq!(bench.services().await, ["cache runs", "web runs"]);
    let web = project.find("web").await;
    until("the other one is found", || async {
        !bench.sh(&web.id, "getent hosts cache || true").await.is_empty()
    })
    .await;
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    assert_eq!(
        bench.sh(&web.id, "grep -c begun /data/log").await.trim(),
        "2",
        "and the data are there"
    );
}

pub async fn down_keeps_named_volumes_and_up_finds_the_data_again(bench: &Bench) {
    let project = both(bench);
    project.up().await;
    project.down(TearDown::default()).await;
    assert_eq!(bench.services().await, Vec::<String>::new());
    assert!(
        bench
            .engine
            .network(&bench.name("default"))
            .await
            .expect("an answer")
            .is_none()
    );
    project.up().await;
    let web = project.find("web").await;
    until("its line", || async {
        bench.sh(&web.id, "cat /data/log").await == "begun\nbegun\n"
    })
    .await;
}

pub async fn wishes_about_releases_change_nothing_where_nothing_is_released(bench: &Bench) {
    let project = both(bench);
    project.up().await;
    let wishes = Wishes {
        adopt: true,
        recreate_router: true,
        remove_orphans: true,
        ..Wishes::default()
    };
    assert_eq!(words(&project.plan_with(wishes).await), Vec::<String>::new());
}

pub async fn what_waits_for_a_start_begins_after_it(bench: &Bench) {
    let web = Service {
        depends_on: depends("cache", Condition::Started),
        restart: Restart::UnlessStopped,
        ..service(bench, "web", "sleep 600")
    };
    let project = Project::of(bench, [web, service(bench, "cache", "sleep 600")]);
    project.up().await;
    let (web, cache) = (project.find("web").await, project.find("cache").await);
    assert!(
        web.started >= cache.started && cache.started.is_some(),
        "{:?} {:?}",
        web.started,
        cache.started
    );
}

/// A volume that nobody named goes over into the container that takes the old one's place; `down` leaves it.
pub async fn data_in_a_volume_without_a_name_outlives_a_recreation(bench: &Bench) {
    let web = Service {
        mounts: vec![arkwright::stack::Mount::Volume {
            source: None,
            target: "/kept".into(),
            read_only: false,
            nocopy: false,
        }],
        ..service(bench, "web", "echo once >> /kept/log; sleep 600")
    };
    let mut project = Project::of(bench, [web]);
    project.up().await;
    let log = || async {
        let web = project.find("web").await;
        bench.sh(&web.id, "cat /kept/log 2>/dev/null || true").await
    };
    until("a line", || async { log().await == "once\n" }).await;
    project
        .service("web")
        .environment
        .insert("NEW".into(), Some("1".into()));
    project.up().await;
    let web = project.find("web").await;
    until("a second line", || async {
        bench.sh(&web.id, "cat /kept/log").await == "once\nonce\n"
    })
    .await;
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    let volumes = bench.engine.anonymous_volumes(&web.id).await.expect("asked");
    project.down(TearDown::default()).await;
    let [volume] = volumes.as_slice() else {
        panic!("{volumes:?}");
    };
    let left = bench.engine.volume(&volume.name).await.expect("asked");
    bench.engine.remove_volume(&volume.name).await.expect("removed");
    assert!(left.is_some(), "nobody asked for its removal");
}

pub async fn what_shares_a_network_is_made_anew_with_it(bench: &Bench) {
    let side = Service {
        network_mode: Some(NetworkMode::Service("web".parse().expect("a name"))),
        networks: Default::default(),
        ..service(bench, "side", "sleep 600")
    };
    let mut project = Project::of(bench, [service(bench, "web", "sleep 600"), side]);
    project.up().await;
    project
        .service("web")
        .environment
        .insert("NEW".into(), Some("1".into()));
    project.up().await;
    let (web, side) = (project.find("web").await, project.find("side").await);
    let address = "cat /proc/net/fib_trie | grep -B1 'host LOCAL' | grep -o '[0-9.]*' | sort -u";
    assert_eq!(bench.sh(&web.id, address).await, bench.sh(&side.id, address).await);
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
    // Somebody started the host of the network anew.
    bench.engine.stop_container(&web.id, None).await.expect("stopped");
    project.up().await;
    let (web, side) = (project.find("web").await, project.find("side").await);
    assert_eq!(bench.sh(&web.id, address).await, bench.sh(&side.id, address).await);
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
}
