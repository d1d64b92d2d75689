//! Images no engine has yet.

use arkwright::model::Digest;
use arkwright::ports::Engine;
use bytes::Bytes;

/// A small image in Docker's archive format whose one layer nothing else has.
pub async fn make(engine: &dyn Engine, name: &str, marker: &str, size: usize) {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "marker", marker.as_bytes());
    append(&mut layer, "bulk", &noise(size, marker));
    let layer = layer.into_inner().expect("a layer");
    let config = serde_json::json!({
        "architecture": engine.info().architecture, "os": "linux",
        "config": { "Cmd": ["/marker"], "Labels": { "arkwright.test-case": marker } },
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).to_string()] }
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
    let mut whole = tar::Builder::new(Vec::new());
    append(&mut whole, "config.json", config.to_string().as_bytes());
    append(&mut whole, "layer.tar", &layer);
    append(&mut whole, "manifest.json", manifest.to_string().as_bytes());
    let whole = whole.into_inner().expect("an archive");
    let chunks: Vec<std::io::Result<Bytes>> = whole.chunks(1 << 20).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let archive = Box::pin(futures_util::stream::iter(chunks));
    engine.import_image(archive).await.expect("imported");
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, path, bytes).expect("an entry");
}

/// Bytes that do not compress, and are others for every marker.
fn noise(size: usize, marker: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut block = Digest::of(marker.as_bytes());
    while bytes.len() < size {
        bytes.extend_from_slice(block.as_bytes());
        block = Digest::of(block.as_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A name no other run has.
pub fn unique(what: &str) -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    format!("{what}-{}-{nanos}", std::process::id())
}
