use std::time::{Duration, Instant};

use arkwright::ports::{ByteStream, Engine, EngineError, PullTrouble};
use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::bench::Bench;

pub async fn an_image_is_described_and_a_missing_one_is_none(bench: &Bench) {
    let image = bench
        .engine
        .image(&bench.image)
        .await
        .expect("an answer")
        .expect("the image");
    assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "{image:?}");
    assert!(image.size > 0 && !image.has_healthcheck, "{image:?}");
    assert!(image.repo_tags.contains(&bench.image), "{image:?}");
    let by_id = bench
        .engine
        .image(&image.id)
        .await
        .expect("an answer")
        .expect("by its id");
    assert_eq!(by_id.id, image.id);
    assert!(
        bench
            .engine
            .image("localhost/arkwright-test/nowhere:1")
            .await
            .expect("an answer")
            .is_none()
    );
    let error = bench.engine.image("../info").await.expect_err("no reference");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
}

/// A small image in Docker's archive format, with one file that no other image has.
fn archive(bench: &Bench, name: &str) -> Vec<u8> {
    let file = |builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes).expect("an entry");
    };
    let mut layer = tar::Builder::new(Vec::new());
    file(&mut layer, "marker", bench.project.as_str().as_bytes());
    let layer = layer.into_inner().expect("a layer");
    let config = serde_json::json!({
        "architecture": bench.engine.info().architecture, "os": "linux",
        "config": { "Cmd": ["/marker"], "Labels": { "arkwright.test-case": bench.project.as_str() },
                    "ExposedPorts": { "80/tcp": {} },
                    "Healthcheck": { "Test": ["CMD", "true"] } },
        "rootfs": { "type": "layers", "diff_ids": [arkwright::model::Digest::of(&layer).to_string()] }
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut whole = tar::Builder::new(Vec::new());
    file(&mut whole, "config.json", config.to_string().as_bytes());
    file(&mut whole, "layer.tar", &layer);
    file(&mut whole, "manifest.json", manifest.to_string().as_bytes());
    whole.into_inner().expect("an archive")
}

fn stream(bytes: Vec<u8>) -> ByteStream {
    let chunks: Vec<std::io::Result<Bytes>> = bytes.chunks(7000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    Box::pin(futures_util::stream::iter(chunks))
}

/// The trait has no removal of images; a test cleans up with the engine's own API.
async fn forget(bench: &Bench, name: &str) {
    let path = bench.engine.info().host.trim_start_matches("unix://").to_owned();
    let docker = bollard::Docker::connect_with_unix(&path, 60, bollard::API_DEFAULT_VERSION).expect("a connection");
    docker
        .remove_image(name, None::<bollard::query_parameters::RemoveImageOptions>, None)
        .await
        .expect("removed");
}

pub async fn an_image_goes_out_and_comes_back(bench: &Bench) {
    let name = format!("localhost/arkwright-test/{}:1", bench.project);
    bench
        .engine
        .import_image(stream(archive(bench, &name)))
        .await
        .expect("imported");
    let first = bench.engine.image(&name).await.expect("an answer").expect("imported");
    assert_eq!(
        first.labels.get("arkwright.test-case").map(String::as_str),
        Some(bench.project.as_str())
    );
    assert_eq!(
        (first.command.as_slice(), first.exposed.as_slice()),
        (&["/marker".to_owned()][..], &["80/tcp".to_owned()][..])
    );

    let out: Vec<Bytes> = bench
        .engine
        .export_image(&name)
        .await
        .expect("a stream")
        .try_collect()
        .await
        .expect("read");
    forget(bench, &name).await;
    assert!(bench.engine.image(&name).await.expect("an answer").is_none());
    bench
        .engine
        .import_image(stream(out.concat()))
        .await
        .expect("imported again");
    let second = bench.engine.image(&name).await.expect("an answer").expect("back");
    forget(bench, &name).await;
    assert_eq!(second.id, first.id);
    let error = bench
        .engine
        .import_image(stream(b"no archive".to_vec()))
        .await
        .expect_err("rubbish");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    let Err(error) = bench.engine.export_image(&name).await else {
        panic!("{name} is gone");
    };
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn an_image_gets_a_second_name(bench: &Bench) {
    let repository = format!("localhost/arkwright-test/{}", bench.project);
    bench
        .engine
        .tag(&bench.image, &repository, "kept")
        .await
        .expect("named");
    let name = format!("{repository}:kept");
    let found = bench.engine.image(&name).await.expect("an answer").expect("the image");
    forget(bench, &name).await;
    let original = bench
        .engine
        .image(&bench.image)
        .await
        .expect("an answer")
        .expect("the image");
    assert_eq!(found.id, original.id);
    let error = bench
        .engine
        .tag("localhost/arkwright-test/nowhere:1", &repository, "x")
        .await
        .expect_err("no image");
    assert!(matches!(error, EngineError::NotFound { .. }), "{error:?}");
}

pub async fn a_pull_that_cannot_work_says_so(bench: &Bench) {
    let began = Instant::now();
    let error = bench
        .engine
        .pull("127.0.0.1:1/arkwright/none:1", &|_| {})
        .await
        .expect_err("nothing listens there");
    let told = matches!(&error, EngineError::Pull(pull) if pull.trouble == PullTrouble::Unreachable && pull.registry == "127.0.0.1:1");
    assert!(told, "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(120));
}

pub async fn images_and_their_users_are_listed(bench: &Bench) {
    let id = bench.run(&bench.sleeper("user")).await;
    let image = bench.look(&id).await.image_id;
    let used = bench.engine.images_in_use().await.expect("listed");
    let names = used.get(&image).expect("the container's image");
    assert!(names.contains(&bench.name("user")), "{names:?}");
    bench.engine.stop_container(&id, None).await.expect("stopped");
    let used = bench.engine.images_in_use().await.expect("listed");
    assert!(
        used[&image].contains(&bench.name("user")),
        "one that does not run uses it too"
    );
    let images = bench.engine.images().await.expect("listed");
    let listed = images.iter().find(|listed| listed.id == image).expect("the image");
    assert!(
        listed.repo_tags.contains(&bench.image) && listed.size > 0 && listed.created.is_some(),
        "{listed:?}"
    );
    assert!(
        images
            .iter()
            .all(|listed| !listed.repo_tags.iter().any(|name| name.contains("<none>")))
    );
}
