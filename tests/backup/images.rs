use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arkwright::backup::EntryPath;
use arkwright::ports::{ByteStream, EngineError, ImageInfo};
use arkwright::run::backup::Images;
use arkwright::run::restore::Selection;
use arkwright::run::snapshots::{Which, find};
use arkwright::run::verify::{Level, Verdict};
use async_trait::async_trait;
use bytes::Bytes;

use super::support::World;

/// An engine with one image, built here from two layers.
struct OneImage {
    layers: [Vec<u8>; 2],
    id: String,
    repo_digests: Vec<String>,
    exports: Arc<AtomicUsize>,
}

#[async_trait]
impl Images for OneImage {
    async fn image(&self, _reference: &str) -> Result<Option<ImageInfo>, EngineError> {
        Ok(Some(ImageInfo {
            id: self.id.clone(),
            repo_digests: self.repo_digests.clone(),
            repo_tags: Vec::new(),
            architecture: "amd64".into(),
            size: 0,
            command: Vec::new(),
            entrypoint: Vec::new(),
            user: String::new(),
            has_healthcheck: false,
            exposed: Vec::new(),
            labels: Default::default(),
        }))
    }

    async fn export_image(&self, _reference: &str) -> Result<ByteStream, EngineError> {
        self.exports.fetch_add(1, Ordering::SeqCst);
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content).expect("added");
        };
        add(
            "manifest.json",
            br#"[{"Config":"c.json","Layers":["a/layer.tar","b/layer.tar"]}]"#,
        );
        add("a/layer.tar", &self.layers[0]);
        add("b/layer.tar", &self.layers[1]);
        let bytes = archive.into_inner().expect("finished");
        let chunks: Vec<std::io::Result<Bytes>> = bytes.chunks(1000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        Ok(Box::pin(futures_util::stream::iter(chunks)))
    }
}

fn world(id: char, second: u8, exports: &Arc<AtomicUsize>, repo_digests: &[&str]) -> OneImage {
    OneImage {
        layers: [vec![1; 300_000], vec![second; 1000]],
        id: format!("sha256:{}", id.to_string().repeat(64)),
        repo_digests: repo_digests.iter().map(|digest| (*digest).to_owned()).collect(),
        exports: exports.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_no_registry_has_is_kept_with_its_layers_once() {
    let exports = Arc::new(AtomicUsize::new(0));
    let mut here = World::new(r#"[{ "path": "./uploads" }]"#);
    here.write("uploads/a", "x");
    here.images = Some(Arc::new(world('a', 2, &exports, &["localhost/ark/web@sha256:1"])));
    assert!(here.backup().await.ok);
    let first = here.segments();
    // The same image: not even read again, nothing new but the sums.
    assert!(here.backup().await.ok);
    assert_eq!((exports.load(Ordering::SeqCst), here.segments()), (1, first + 1));
    // The next build shares a layer: only what is new is stored.
    here.images = Some(Arc::new(world('b', 3, &exports, &[])));
    assert!(here.backup().await.ok);
    assert_eq!(exports.load(Ordering::SeqCst), 2);
    let report = here.verify(Level::Files).await;
    assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
    let target = here.root.path().join("restored");
    let image: EntryPath = format!("@images/{}", "b".repeat(64)).parse().expect("a path");
    here.restore(&target, Selection::Path(image.clone()))
        .await
        .expect("restored");
    let layer = std::fs::read(target.join(image.as_str()).join("a/layer.tar")).expect("there");
    assert_eq!(layer, vec![1; 300_000]);
    let which = Which::Latest { set: "full".into() };
    let snapshot = find(here.store().as_ref(), &here.trust(), &which).await.expect("there");
    assert_eq!(snapshot.images[0].digest, None);
    assert_eq!(snapshot.images[0].id, Some(format!("sha256:{}", "b".repeat(64))));
    assert!(
        snapshot.totals.added < 20_000,
        "the shared layer was stored again: {:?}",
        snapshot.totals
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_a_registry_has_is_only_named() {
    let exports = Arc::new(AtomicUsize::new(0));
    let mut here = World::new(r#"[{ "path": "./uploads" }]"#);
    here.write("uploads/a", "x");
    let digest = "registry.example/ark/web@sha256:77";
    here.images = Some(Arc::new(world('c', 2, &exports, &["localhost/web@sha256:1", digest])));
    // Unless it was built here.
    here.backup().await;
    assert_eq!(exports.load(Ordering::SeqCst), 1);
    here.built = false;
    here.backup().await;
    assert_eq!(exports.load(Ordering::SeqCst), 1);
    let which = Which::Latest { set: "full".into() };
    let snapshot = find(here.store().as_ref(), &here.trust(), &which).await.expect("there");
    assert_eq!(snapshot.images[0].digest.as_deref(), Some(digest));
}
