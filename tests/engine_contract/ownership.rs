//! What belongs to whom: labels decide, and nothing of anybody else is ever removed.

use std::collections::BTreeMap;

use arkwright::plan::{NetworkAttachment, NetworkSpec, TearDown, VolumeSpec, Wishes, labels};
use arkwright::ports::{Engine, EngineError};
use arkwright::stack::{Attachment, Service};

use crate::bench::Bench;
use crate::stacks::{Project, data, service, words};

const EVERYTHING: TearDown = TearDown {
    volumes: true,
    orphans: true,
};

fn labelled(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Podman takes label filters for alternatives and prefixes for matches in places; what comes back is looked at again.
pub async fn networks_and_volumes_are_listed_by_the_whole_label(bench: &Bench) {
    let mine = bench.project.as_str();
    let longer = format!("{mine}x");
    let owners = [
        ("a", labels::PROJECT, mine),
        ("b", labels::PROJECT, longer.as_str()),
        ("c", "ark.other", mine),
    ];
    for (what, key, value) in owners {
        let labels = labelled(&[(key, value), ("ark.case", mine)]);
        let (name, labels_) = (bench.name(what), labels.clone());
        bench
            .engine
            .create_volume(&VolumeSpec {
                name: name.clone(),
                labels,
                ..VolumeSpec::default()
            })
            .await
            .expect("made");
        bench
            .engine
            .create_network(&NetworkSpec {
                name,
                labels: labels_,
                ..NetworkSpec::default()
            })
            .await
            .expect("made");
    }
    let by = async |label: &str| {
        let volumes = bench.engine.volumes_labelled(label).await.expect("a list");
        let networks = bench.engine.networks_labelled(label).await.expect("a list");
        let volumes: Vec<String> = volumes.into_iter().map(|v| v.name).collect();
        let networks: Vec<String> = networks.into_iter().map(|n| n.name).collect();
        assert_eq!(volumes, networks, "{label}");
        volumes
    };
    let by_project = by(&format!("{}={mine}", labels::PROJECT)).await;
    let by_case = by(&format!("ark.case={mine}")).await;
    let by_value = by(&format!("ark.other={mine}")).await;
    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    for (what, ..) in owners {
        bench.engine.remove_volume(&bench.name(what)).await.expect("removed");
        bench.engine.remove_network(&bench.name(what)).await.expect("removed");
    }
    assert_eq!(by_project, [bench.name("a")]);
    assert_eq!(by_case, ["a", "b", "c"].map(|what| bench.name(what)));
    assert_eq!(by_value, [bench.name("c")]);
    assert_eq!((observed.networks.len(), observed.volumes.len()), (1, 1));
}

pub async fn what_is_external_is_used_and_never_removed(bench: &Bench) {
    let (network, volume) = (format!("x{}-net", bench.project), format!("x{}-vol", bench.project));
    bench
        .engine
        .create_network(&NetworkSpec {
            name: network.clone(),
            ..NetworkSpec::default()
        })
        .await
        .expect("made");
    let web = Service {
        mounts: vec![data()],
        ..service(bench, "web", "date >> /data/log; sleep 600")
    };
    let mut project = Project::of(bench, [web]);
    let wanted = project.stack.networks.get_mut("default").expect("declared");
    (wanted.name, wanted.external) = (network.clone(), true);
    let wanted = project.stack.volumes.get_mut("data").expect("declared");
    (wanted.name, wanted.external) = (volume.clone(), true);

    // One that is not there is not made: its name is somebody's promise.
    let plan = project.plan().await;
    let blocked = plan.blocked.join("; ");
    bench
        .engine
        .create_volume(&VolumeSpec {
            name: volume.clone(),
            ..VolumeSpec::default()
        })
        .await
        .expect("made");
    project.up().await;
    let web = project.find("web").await;
    let on_it = web.networks.contains_key(&network);
    let down = words(&project.down(EVERYTHING).await);
    let there = (
        bench.engine.network(&network).await.expect("an answer").is_some(),
        bench.engine.volume(&volume).await.expect("an answer").is_some(),
    );
    bench.engine.remove_network(&network).await.expect("removed");
    bench.engine.remove_volume(&volume).await.expect("removed");
    assert!(blocked.contains(&volume) && blocked.contains("external"), "{blocked}");
    assert!(on_it);
    assert_eq!(down, [format!("remove container {}", web.name)]);
    assert_eq!(there, (true, true), "the network and the volume after `down --volumes`");
}

/// Another project whose name only begins like ours loses nothing by our `down`.
pub async fn a_project_with_a_longer_name_is_not_ours(bench: &Bench) {
    let project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.up().await;
    let longer = format!("{}-2", bench.project);
    let mut other = bench.sleeper("2-web-1");
    other.labels.insert(labels::PROJECT.into(), longer.clone());
    let id = bench.run(&other).await;
    let name = format!("{longer}_data");
    let labels = labelled(&[(labels::PROJECT, &longer)]);
    bench
        .engine
        .create_volume(&VolumeSpec {
            name: name.clone(),
            labels,
            ..VolumeSpec::default()
        })
        .await
        .expect("made");
    project.down(EVERYTHING).await;
    let left = (
        bench.look(&id).await.running(),
        bench.engine.volume(&name).await.expect("an answer").is_some(),
    );
    bench.engine.remove_container(&id).await.expect("removed");
    bench.engine.remove_volume(&name).await.expect("removed");
    assert_eq!(left, (true, true));
    assert_eq!(bench.services().await, Vec::<String>::new());
}

pub async fn a_network_that_a_stranger_uses_survives_down_and_he_is_told(bench: &Bench) {
    let project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.up().await;
    let network = bench.name("default");
    let mut stranger = bench.sleeper("stranger");
    stranger.labels.clear();
    stranger.networks.push(NetworkAttachment {
        network: network.clone(),
        ..NetworkAttachment::default()
    });
    let id = bench.run(&stranger).await;
    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    let plan = arkwright::plan::teardown(&project.desired(), &observed, EVERYTHING);
    let result = project.perform(&plan).await;
    let said = match &result {
        Ok(()) => project.said.lines(),
        Err(error) => format!(
            "{error}: {}",
            std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default()
        ),
    };
    let there = bench.engine.network(&network).await.expect("an answer").is_some();
    let lives = bench.look(&id).await.running();
    let of_ours = bench.services().await;
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(there && lives, "the network and its stranger stay");
    assert_eq!(of_ours, Vec::<String>::new(), "ours are gone all the same");
    assert!(said.contains(&network), "{said}");
    project.down(EVERYTHING).await;
    assert!(bench.engine.network(&network).await.expect("an answer").is_none());
}

pub async fn orphans_are_reported_and_removed_only_when_asked(bench: &Bench) {
    let mut project = Project::of(
        bench,
        [service(bench, "web", "sleep 600"), service(bench, "old", "sleep 600")],
    );
    project.up().await;
    project.stack.services.retain(|name, _| name.as_str() != "old");
    let plan = project.up().await;
    assert_eq!(words(&plan), Vec::<String>::new());
    assert_eq!(
        plan.orphans.iter().map(|o| o.service.as_str()).collect::<Vec<_>>(),
        ["old"]
    );
    assert!(plan.orphans[0].what.contains("--remove-orphans"), "{:?}", plan.orphans);
    assert_eq!(bench.services().await, ["old runs", "web runs"]);

    // Nor by `down`, and then its network stays with it.
    let down = project.down(TearDown::default()).await;
    assert_eq!(down.orphans.len(), 1);
    assert_eq!(bench.services().await, ["old runs"]);
    assert!(
        bench
            .engine
            .network(&bench.name("default"))
            .await
            .expect("an answer")
            .is_some()
    );

    let wishes = Wishes {
        remove_orphans: true,
        ..Wishes::default()
    };
    let plan = project.plan_with(wishes).await;
    project.perform(&plan).await.expect("up");
    assert_eq!(bench.services().await, ["web runs"]);
}

/// The engines give a reference back altered; only the image's id tells whether it is the same.
pub async fn an_image_is_known_by_its_id_whatever_its_name_comes_back_as(bench: &Bench) {
    let repository = format!("arkwright-test-{}", bench.project);
    // Docker's short names are Docker Hub's; an image built by Podman is under localhost.
    let spelled = if bench.podman() {
        format!("localhost/{repository}")
    } else {
        repository.clone()
    };
    bench.engine.tag(&bench.image, &spelled, "1").await.expect("named");
    let mut project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.service("web").image = Some(format!("{repository}:1"));
    project.up().await;
    let again = words(&project.up().await);
    let web = project.find("web").await;
    // The same image under another name is another specification; it is made anew once, and then at rest.
    bench.engine.remove_container(&web.id).await.expect("removed");
    bench
        .engine
        .remove_image(&format!("{spelled}:1"))
        .await
        .expect("removed");
    assert_eq!(
        again,
        Vec::<String>::new(),
        "{} came back as {}",
        format_args!("{repository}:1"),
        web.image
    );
}

pub async fn a_name_with_the_address_of_docker_hub_means_the_same_image(bench: &Bench) {
    let repository = format!("docker.io/library/arkwright-test-{}", bench.project);
    bench.engine.tag(&bench.image, &repository, "1").await.expect("named");
    let mut project = Project::of(bench, [service(bench, "web", "sleep 600")]);
    project.service("web").image = Some(format!("{repository}:1"));
    project.up().await;
    let again = words(&project.up().await);
    let web = project.find("web").await;
    let wanted = bench
        .engine
        .image(&bench.image)
        .await
        .expect("an answer")
        .expect("the image")
        .id;
    bench.engine.remove_container(&web.id).await.expect("removed");
    bench
        .engine
        .remove_image(&format!("{repository}:1"))
        .await
        .expect("removed");
    assert_eq!((again, web.image_id), (Vec::<String>::new(), wanted));
}

/// Docker makes a second network of the same name, and every use of that name is refused from then on.
pub async fn two_creations_of_one_network_at_once_make_one(bench: &Bench) {
    for round in 0..5 {
        let spec = NetworkSpec {
            name: bench.name(&format!("twice{round}")),
            labels: labelled(&[(labels::PROJECT, bench.project.as_str())]),
            ..NetworkSpec::default()
        };
        let (a, b) = tokio::join!(bench.engine.create_network(&spec), bench.engine.create_network(&spec));
        let conflict = |r: &Result<(), EngineError>| matches!(r, Err(EngineError::Conflict { .. }));
        assert!(a.is_ok() && conflict(&b) || b.is_ok() && conflict(&a), "{a:?} {b:?}");
        let observed = bench.engine.observe(&bench.project).await.expect("observed");
        assert_eq!(observed.networks.iter().filter(|n| n.name == spec.name).count(), 1);
    }
}

pub async fn an_alias_is_set_at_creation_and_means_every_replica(bench: &Bench) {
    let mut project = Project::of(
        bench,
        [service(bench, "web", "sleep 600"), service(bench, "asks", "sleep 600")],
    );
    project.service("web").replicas = 2;
    let attachment = Attachment {
        aliases: vec!["shop".into()],
        ..Attachment::default()
    };
    project.service("web").networks.insert("default".into(), attachment);
    project.up().await;
    let asks = project.find("asks").await;
    let network = bench.name("default");
    let observed = bench.engine.observe(&bench.project).await.expect("observed");
    let of_web = observed
        .containers
        .iter()
        .filter(|c| c.label(labels::SERVICE) == Some("web"));
    let mut wanted: Vec<String> = of_web
        .filter_map(|c| Some(c.networks.get(&network)?.ip?.to_string()))
        .collect();
    wanted.sort();
    assert_eq!(wanted.len(), 2);
    for name in ["web", "shop"] {
        crate::bench::until(&format!("{name} means both"), || async {
            let line = format!("getent ahostsv4 {name} | cut -d' ' -f1 | sort -u");
            let mut found: Vec<String> = bench.sh(&asks.id, &line).await.lines().map(str::to_owned).collect();
            found.sort();
            found == wanted
        })
        .await;
    }
}
