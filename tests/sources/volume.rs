use std::os::unix::fs::{FileTypeExt, MetadataExt};

use arkwright::model::ContainerId;
use arkwright::plan::{SpecMount, VolumeSpec, labels};
use arkwright::run::verify::{Level, Verdict};

use crate::stage::{Stage, closing, good, refusal, restored};

const IMAGE: &str = "localhost/memoryark/debian:bookworm";

/// A volume with this key in the Compose file, of this project unless another is named.
async fn volume(stage: &Stage, key: &str, project: &str) -> String {
    let name = format!("{}_{key}", stage.project);
    named(stage, &name, key, project).await;
    name
}

async fn named(stage: &Stage, name: &str, key: &str, project: &str) {
    let spec = VolumeSpec {
        name: name.to_owned(),
        labels: [(labels::PROJECT, project), (labels::VOLUME, key)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..VolumeSpec::default()
    };
    stage.engine.create_volume(&spec).await.expect("a volume");
}

async fn writer(stage: &Stage, service: &str, volume: &str) -> ContainerId {
    let mut spec = stage.spec(service, IMAGE);
    spec.command = Some(["sleep", "600"].map(str::to_owned).to_vec());
    spec.mounts = vec![SpecMount::Volume {
        source: Some(volume.to_owned()),
        target: "/data".into(),
        read_only: false,
        nocopy: true,
    }];
    stage.start(&spec).await
}

pub async fn everything_in_a_volume_is_kept(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let name = volume(stage, "uploads", stage.project.as_str()).await;
    let id = writer(stage, "app", &name).await;
    let fill = "cd /data && chown 33:44 . && chmod 750 . && mkdir -p a/b cache/x 'odd 100%' && head -c 5000000 /dev/urandom >a/b/big && \
                echo one >a/one && ln a/one a/two && ln -s ../gone a/link && mkfifo a/pipe && echo x >cache/x/y && : >empty && \
                chown 1234:5678 a/one && chmod 4755 a/one && touch -d '2001-02-03 04:05:06.789 UTC' a/one && \
                printf z >'odd 100%/ä\n' && for i in $(seq 1 500); do echo $i >a/b/$i; done";
    stage.sh(&id, fill).await;
    // A log that grows all the while.
    stage
        .sh(
            &id,
            "nohup sh -c 'while :; do head -c 3000 /dev/zero; done >>/data/growing' >/dev/null 2>&1 & echo $! >/tmp/w",
        )
        .await;
    let world = stage.world_with(
        r#"[{ "volume": "uploads", "exclude": ["cache"] }]"#,
        &[("uploads", &name)],
    );
    let receipt = world.backup().await;
    stage.sh(&id, "kill $(cat /tmp/w)").await;
    good(&receipt);
    let top = restored(&world, "out").await.join("@volumes/uploads");
    let closing = closing(&world).await;
    let record = &closing.sources[0];
    assert_eq!(
        (record.kind.as_str(), record.path.as_str()),
        ("volume", "@volumes/uploads")
    );
    let missing: Vec<String> = (1..=500)
        .map(|n| format!("a/b/{n}"))
        .chain(
            [
                "a/b/big",
                "a/one",
                "a/two",
                "a/link",
                "empty",
                "growing",
                "odd 100%/ä\n",
            ]
            .map(str::to_owned),
        )
        .filter(|name| std::fs::symlink_metadata(top.join(name)).is_err())
        .collect();
    assert!(missing.is_empty(), "{missing:?} {:?}", closing.notes);
    assert_eq!(record.files, 507);
    let pipe = std::fs::symlink_metadata(top.join("a/pipe")).expect("restored");
    assert!(pipe.file_type().is_fifo(), "{pipe:?} {:?}", closing.notes);
    assert!(!top.join("cache").exists());
    let found = std::fs::metadata(top.join("a/one")).expect("restored");
    assert_eq!(found.mode() & 0o7777, 0o4755);
    assert_eq!((found.mtime(), found.mtime_nsec()), (981_173_106, 789_000_000));
    if rustix::process::geteuid().is_root() {
        assert_eq!((found.uid(), found.gid()), (1234, 5678));
        let found = std::fs::metadata(&top).expect("restored");
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (33, 44, 0o750));
    }
    assert_eq!(
        std::fs::read_link(top.join("a/link")).expect("a link").to_str(),
        Some("../gone")
    );
    assert_eq!(std::fs::read(top.join("a/two")).expect("restored"), b"one\n");
    std::fs::remove_file(top.join("growing")).expect("restored");
    let ours = std::process::Command::new("sh")
        .args([
            "-c",
            "cd \"$0\" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum",
        ])
        .arg(&top)
        .output()
        .expect("run");
    let theirs = "cd /data && rm -rf growing cache && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum";
    assert_eq!(String::from_utf8_lossy(&ours.stdout), stage.sh(&id, theirs).await);
    let report = world.verify(Level::Files).await;
    assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
    // Also while nothing runs.
    stage
        .engine
        .stop_container(&id, Some(std::time::Duration::ZERO))
        .await
        .expect("stopped");
    good(&world.backup().await);
}

pub async fn a_volume_of_another_project_is_not_read(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let name = volume(stage, "theirs", "srcs-somebody-else").await;
    let ours = format!("{}_ours", stage.project);
    let world = stage.world_with(r#"[{ "volume": "theirs" }]"#, &[("theirs", &ours)]);
    let told = refusal(&world, &world.backup().await);
    assert!(
        told.contains("the volume theirs") && told.contains("no such volume") && told.contains(&ours),
        "{told}"
    );
    stage.engine.remove_volume(&name).await.expect("removed");
    let world = stage.world(r#"[{ "volume": "theirs" }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("no service of this project uses"), "{told}");
    let name = volume(stage, "empty", stage.project.as_str()).await;
    let world = stage.world_with(r#"[{ "volume": "empty" }]"#, &[("empty", &name)]);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("no file in it"), "{told}");
}

pub async fn the_volume_is_the_one_the_compose_file_names(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    // The one it had before it was given a name comes first among those of the project.
    let old = volume(stage, "data", stage.project.as_str()).await;
    let new = format!("{}_shop-data", stage.project);
    named(stage, &new, "data", stage.project.as_str()).await;
    // Made by hand: no label says whose it is.
    let by_hand = format!("{}-by-hand", stage.project);
    let spec = VolumeSpec {
        name: by_hand.clone(),
        ..VolumeSpec::default()
    };
    stage.engine.create_volume(&spec).await.expect("a volume");
    let mut containers = Vec::new();
    for (service, name) in [("old", &old), ("new", &new), ("by-hand", &by_hand)] {
        let id = writer(stage, service, name).await;
        stage.sh(&id, &format!("echo {service} >/data/which")).await;
        containers.push(id);
    }
    let mut found = Vec::new();
    for name in [&new, &by_hand] {
        let world = stage.world_with(r#"[{ "volume": "data" }]"#, &[("data", name)]);
        good(&world.backup().await);
        let file = restored(&world, "out").await.join("@volumes/data/which");
        found.push(std::fs::read_to_string(file).expect("restored"));
    }
    for id in &containers {
        stage.engine.remove_container(id).await.expect("removed");
    }
    stage.engine.remove_volume(&by_hand).await.expect("removed");
    assert_eq!(found, ["new\n", "by-hand\n"]);
}
