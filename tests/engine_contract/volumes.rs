use arkwright::plan::{ContainerSpec, SpecMount, VolumeSpec, labels};
use arkwright::ports::{Engine, EngineError};

use crate::bench::Bench;

fn volume(bench: &Bench, what: &str) -> VolumeSpec {
    VolumeSpec {
        name: bench.name(what),
        labels: [(labels::PROJECT, bench.project.as_str()), (labels::VOLUME, what)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        ..VolumeSpec::default()
    }
}

fn mounting(source: &str) -> SpecMount {
    SpecMount::Volume {
        source: Some(source.into()),
        target: "/data".into(),
        read_only: false,
        nocopy: false,
    }
}

pub async fn a_volume_is_made_once_found_on_disk_and_removed_once(bench: &Bench) {
    let spec = volume(bench, "data");
    bench.engine.create_volume(&spec).await.expect("made");
    let error = bench.engine.create_volume(&spec).await.expect_err("taken");
    assert!(matches!(error, EngineError::Conflict { .. }), "{error:?}");
    let seen = bench
        .engine
        .volume(&spec.name)
        .await
        .expect("an answer")
        .expect("the volume");
    assert_eq!((seen.labels, seen.driver.as_str()), (spec.labels.clone(), "local"));

    let writer = ContainerSpec {
        mounts: vec![mounting(&spec.name)],
        ..bench.spec("writer", &["sh", "-c", "echo kept > /data/file"])
    };
    let id = bench.run(&writer).await;
    assert_eq!(bench.engine.wait_exit(&id).await.expect("an exit"), 0);
    let path = bench
        .engine
        .volume_path(&spec.name)
        .await
        .expect("an answer")
        .expect("a path");
    assert_eq!(std::fs::read_to_string(path.join("file")).expect("the file"), "kept\n");
    bench.engine.remove_container(&id).await.expect("removed");
    assert!(path.join("file").exists(), "a named volume outlives its container");
    for _ in 0..2 {
        bench.engine.remove_volume(&spec.name).await.expect("removed");
    }
    assert!(bench.engine.volume(&spec.name).await.expect("an answer").is_none());
    let error = bench.engine.volume_path(&spec.name).await.expect_err("gone");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn a_volume_in_use_stays(bench: &Bench) {
    let spec = volume(bench, "held");
    bench.engine.create_volume(&spec).await.expect("made");
    let holder = ContainerSpec {
        mounts: vec![mounting(&spec.name)],
        ..bench.sleeper("holder")
    };
    bench.run(&holder).await;
    let error = bench.engine.remove_volume(&spec.name).await.expect_err("in use");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    assert!(bench.engine.volume(&spec.name).await.expect("an answer").is_some());
}

pub async fn mounts_are_where_they_were_asked_for(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("a,b c");
    std::fs::create_dir(&odd).expect("a folder");
    std::fs::write(odd.join("file"), "here").expect("a file");
    let bind = |target: &str, read_only| SpecMount::Bind {
        source: odd.clone(),
        target: target.into(),
        read_only,
        propagation: None,
        selinux: None,
    };
    let spec = ContainerSpec {
        mounts: vec![
            bind("/ro", true),
            bind("/rw", false),
            SpecMount::Tmpfs {
                target: "/scratch".into(),
                size: Some(1 << 20),
                mode: Some(0o1777),
            },
            SpecMount::Volume {
                source: None,
                target: "/anonymous".into(),
                read_only: false,
                nocopy: false,
            },
        ],
        ..bench.sleeper("mounts")
    };
    let id = bench.run(&spec).await;
    let line = "cat /ro/file; touch /ro/new 2>/dev/null || echo ' refused'; touch /rw/new; \
                grep ' /scratch ' /proc/mounts | cut -d' ' -f3; grep -c ' /anonymous ' /proc/mounts";
    let text = bench.sh(&id, line).await;
    assert_eq!(text.lines().collect::<Vec<_>>(), ["here refused", "tmpfs", "1"]);
    assert!(odd.join("new").exists());
}

/// Docker refuses, Podman makes the folder; neither starts a container on something that is not there.
pub async fn a_missing_bind_source_is_refused_or_made_but_never_silent(bench: &Bench) {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing");
    let spec = ContainerSpec {
        mounts: vec![SpecMount::Bind {
            source: missing.clone(),
            target: "/m".into(),
            read_only: false,
            propagation: None,
            selinux: None,
        }],
        ..bench.sleeper("missing")
    };
    match bench.engine.create_container(&spec).await {
        Err(error) => {
            assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
            assert!(!missing.exists());
            assert!(bench.engine.container(&spec.name).await.expect("an answer").is_none());
        }
        Ok(id) => {
            assert!(bench.podman(), "Docker must refuse");
            let started = bench.engine.start_container(&id).await;
            assert!(started.is_err() || missing.exists());
        }
    }
}
