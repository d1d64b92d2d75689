//! Stores that give more than was signed, and signed snapshots that contradict themselves.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::{Quiet, World};
use arkwright::backup::{
    ArchiveWriter, Coding, Header, Link, MANIFEST_NAMESPACE, ManifestPart, Recipients, SUMS, Sealer,
};
use arkwright::model::{Digest, Generation};
use arkwright::ports::{ByteStream, ObjectInfo, Put, Store, StoreError};
use arkwright::run::keys;
use arkwright::run::restore::{RestoreOptions, Selection, restore};
use arkwright::run::snapshots::Which;
use arkwright::run::verify::{Level, Verdict, VerifyOptions, verify};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

const CHUNK: usize = 256 << 10;
const MORE: usize = 64 << 20;

/// A store that appends to one object whenever it is read, and counts what was taken of that.
struct Appending {
    inner: Arc<dyn Store>,
    object: String,
    taken: Arc<AtomicU64>,
}

#[async_trait]
impl Store for Appending {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.inner.put(name, body, mode).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        let whole = self.inner.get(name).await?;
        if name != self.object {
            return Ok(whole);
        }
        let taken = self.taken.clone();
        let more = stream::iter((0..MORE / CHUNK).map(move |_| {
            taken.fetch_add(CHUNK as u64, Ordering::SeqCst);
            Ok(Bytes::from(vec![0; CHUNK]))
        }));
        Ok(Box::pin(whole.chain(more)))
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(name, start, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_read_of_an_object_than_was_signed_for() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.jpg", vec![7; 5000]);
    assert!(world.backup().await.ok);
    let objects = world.objects();
    for object in objects.iter().filter(|name| name.ends_with(".age")) {
        let taken = Arc::new(AtomicU64::new(0));
        let store: Arc<dyn Store> = Arc::new(Appending {
            inner: world.store(),
            object: object.clone(),
            taken: taken.clone(),
        });
        let (trust, identities) = (world.trust(), world.identities());
        for level in [Level::Objects, Level::Files] {
            let report = verify(&store, &trust, &identities, level, &VerifyOptions::default(), &Quiet)
                .await
                .expect("a store that can be looked at");
            assert!(
                report.damaged.iter().any(|damage| damage.object == *object),
                "{report:?}"
            );
        }
        let options = RestoreOptions {
            selection: Selection::Everything,
            target: world.root.path().join(object.replace('/', "-")),
            overwrite: false,
            devices: false,
        };
        let which = Which::Generation(Generation(1));
        let error = restore(&store, &trust, &identities, &which, &options, &Quiet)
            .await
            .expect_err("damaged");
        assert!(error.objects().contains(object), "{error}");
        let taken = taken.load(Ordering::SeqCst);
        assert!(taken <= 4 * CHUNK as u64, "{object}: {taken} bytes more");
    }
}

/// Signs another `SHA256SUMS` for the only snapshot.
fn replace_sums(world: &World, sums: &[u8]) {
    let generation = Generation(1);
    let file = world.store_path().join(ManifestPart::Header.name(generation));
    let Ok(Header::Snapshot(mut snapshot)) = Header::parse(&fs::read(&file).expect("read"), generation) else {
        panic!("a snapshot");
    };
    let recipients = Recipients::parse(&world.backups.recipients).expect("recipients");
    let coding: Coding = snapshot.sums.name.coding;
    let mut segment = ArchiveWriter::new(Sealer::new(coding, &recipients, Vec::new()).expect("begun"));
    segment.begin(SUMS, sums.len() as u64).expect("a member");
    segment.content(sums).expect("written");
    let (bytes, sha256, length) = segment.finish().and_then(Sealer::finish).expect("finished");
    (snapshot.sums.sha256, snapshot.sums.bytes) = (sha256, length);
    fs::write(world.store_path().join(snapshot.sums.name.to_string()), bytes).expect("written");
    let header = Header::Snapshot(snapshot).encode().expect("encoded");
    let signer = keys::signer(&world.keys.signing).expect("a key");
    let signature = signer.sign(MANIFEST_NAMESPACE, &header).expect("signed");
    fs::write(&file, &header).expect("written");
    let signature_file = ManifestPart::Signature.name(generation);
    fs::write(world.store_path().join(signature_file), signature).expect("written");
    let head = Link {
        generation,
        sha256: Digest::of(&header),
    };
    world.catalogue().set_head(&head).expect("remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_list_of_sums_that_is_not_the_listing_is_found() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.txt", "a");
    world.write("uploads/b.txt", "b");
    assert!(world.backup().await.ok);
    let line = |content: &str, path: &str| format!("{}  {path}\n", Digest::of(content.as_bytes()).hex());
    let (a, b) = (line("a", "uploads/a.txt"), line("b", "uploads/b.txt"));
    for (sums, verdict) in [
        (format!("{a}{b}"), Verdict::Passed),
        (format!("{b}{a}"), Verdict::Passed),
        (a.clone(), Verdict::Failed),
        (format!("{a}{}", line("x", "uploads/b.txt")), Verdict::Failed),
        (format!("{a}{b}{b}"), Verdict::Failed),
        (format!("{a}{}", b.trim_end()), Verdict::Failed),
    ] {
        replace_sums(&world, sums.as_bytes());
        let report = world.verify(Level::Segments).await;
        assert_eq!(report.verdict(), Verdict::Passed, "{sums}: {report:?}");
        let report = world.verify(Level::Files).await;
        assert_eq!(report.verdict(), verdict, "{sums}: {report:?}");
        if verdict == Verdict::Failed {
            assert!(report.damaged[0].why.contains("SHA256SUMS"), "{report:?}");
            assert_eq!(report.affected, [Generation(1)]);
        }
    }
}
