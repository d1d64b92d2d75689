//! Snapshots that go by a tombstone, and segments that go later: on real files, cut short everywhere, and lied to.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::support::{Quiet, World};
use arkwright::app::{SystemClock, SystemEntropy};
use arkwright::backup::{
    Header, Link, MANIFEST_NAMESPACE, ManifestPart, PruneStep, PruneSubject, Reason, Removed, Rules, Signer, Tombstone,
};
use arkwright::config::Keep;
use arkwright::model::{Digest, Generation, OperationId, Span, Timestamp};
use arkwright::ports::{ByteStream, Clock, ObjectInfo, Put, Store, StoreError};
use arkwright::run::pruning::{PruneError, PrunePerformer, Pruning, plan};
use arkwright::run::restore::Selection;
use arkwright::run::snapshots::{self, Which};
use arkwright::run::verify::{Level, Verdict};
use arkwright::run::{Ledger, Receipt, keys};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn later(hours: i64) -> Timestamp {
    SystemClock.now() + TimeDelta::hours(hours)
}

/// Keeps so many of the set `full`.
fn last(count: u32) -> Rules {
    let keep = Keep {
        last: Some(count),
        ..Keep::default()
    };
    Rules {
        keep: BTreeMap::from([("full".to_owned(), keep)]),
        zone: chrono_tz::UTC,
        only: None,
    }
}

impl World {
    async fn planned(&self, store: &Arc<dyn Store>, rules: &Rules) -> Result<Pruning, PruneError> {
        let keys = keys::trusted(&self.keys.signing).expect("keys");
        plan(
            store.as_ref(),
            &keys,
            self.head(),
            &"ark".parse().expect("a name"),
            rules,
        )
        .await
    }

    fn pruner(&self, store: Arc<dyn Store>, now: Timestamp) -> PrunePerformer {
        PrunePerformer {
            store: Ok(store),
            clock: Arc::new(At(now)),
            signer: keys::signer(&self.keys.signing).expect("a key"),
            keys: keys::trusted(&self.keys.signing).expect("keys"),
            state: self.state.clone(),
        }
    }

    fn begin_prune(&self, rules: &Rules, pruning: &Pruning) -> OperationId {
        let subject = PruneSubject {
            project: "ark".parse().expect("a name"),
            store: "local".into(),
            rules: rules.clone(),
            wait: Span::seconds(72 * 3600),
            remove: pruning.remove.clone(),
        };
        let plan = subject.plan();
        let ledger = self.prune_ledger();
        let id = ledger.new_id();
        ledger.begin::<PruneStep>(&id, subject, plan, "a test").expect("begun");
        id
    }

    fn prune_ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.state,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }
    }

    async fn drive(&self, id: &OperationId, store: Arc<dyn Store>, now: Timestamp) -> Receipt {
        let (_ask, petitions) = mpsc::channel(1);
        let performer = self.pruner(store, now);
        let done = self
            .prune_ledger()
            .finish::<PruneStep>(id, &performer, &Quiet, petitions)
            .await;
        done.expect("driven")
    }

    async fn prune(&self, rules: &Rules, now: Timestamp) -> (Pruning, Receipt) {
        let pruning = self.planned(&self.store(), rules).await.expect("planned");
        let id = self.begin_prune(rules, &pruning);
        let receipt = self.drive(&id, self.store(), now).await;
        (pruning, receipt)
    }

    fn stored(&self) -> BTreeMap<String, u64> {
        let size = |name: &String| fs::metadata(self.store_path().join(name)).expect("there").len();
        self.objects()
            .into_iter()
            .map(|name| (name.clone(), size(&name)))
            .collect()
    }

    fn manifests(&self) -> usize {
        self.objects().iter().filter(|name| name.starts_with("man/")).count()
    }

    fn header(&self, generation: u64) -> Header {
        let name = self
            .store_path()
            .join(ManifestPart::Header.name(Generation(generation)));
        Header::parse(&fs::read(name).expect("read"), Generation(generation)).expect("a header")
    }

    async fn kinds(&self) -> Vec<(u64, &'static str)> {
        let keys = keys::trusted(&self.keys.signing).expect("keys");
        let listed = snapshots::list(self.store().as_ref(), &keys).await.expect("listed");
        listed.iter().map(|line| (line.generation.0, line.kind)).collect()
    }

    /// Everything that stays is whole, and its newest can be restored.
    async fn is_sound(&self, what: &str) {
        let report = self.verify(Level::Files).await;
        assert_eq!(report.verdict(), Verdict::Passed, "{what}: {report:?}");
        let target = tempfile::tempdir().expect("a folder");
        let restored = self.restore(&target.path().join("here"), Selection::Everything).await;
        restored.unwrap_or_else(|error| panic!("{what}: {error}"));
        let words = fs::read_to_string(target.path().join("here/uploads/words.txt")).expect("there");
        assert_eq!(words, "words 4", "{what}");
    }
}

/// Four snapshots with a file each of their own, and one they have in common.
async fn four() -> World {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/always.jpg", vec![9; 3000]);
    for nth in 1..=4u8 {
        world.write("uploads/own.jpg", vec![nth; 5000]);
        world.write("uploads/words.txt", format!("words {nth}"));
        assert!(world.backup().await.ok);
    }
    world
}

fn sum(objects: &BTreeMap<String, u64>) -> u64 {
    objects.values().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_go_at_once_and_their_segments_after_the_wait_and_as_many_bytes_as_told() {
    let world = four().await;
    let before = world.stored();
    let dry = world.planned(&world.store(), &last(2)).await.expect("planned");
    let verdicts: Vec<(u64, Vec<Reason>)> = dry
        .snapshots
        .iter()
        .map(|j| (j.generation.0, j.stays.clone()))
        .collect();
    let newest = vec![Reason::Newest, Reason::Last];
    assert_eq!(
        verdicts,
        [(1, vec![]), (2, vec![]), (3, vec![Reason::Last]), (4, newest)]
    );
    assert_eq!(world.stored(), before, "a plan changes nothing");

    let (pruning, receipt) = world.prune(&last(2), later(0)).await;
    assert!(receipt.ok && receipt.outcome == "pruned", "{receipt:?}");
    let after = world.stored();
    let tombstone: u64 = [ManifestPart::Header, ManifestPart::Signature]
        .map(|part| after[&part.name(Generation(5))])
        .iter()
        .sum();
    assert_eq!(sum(&before) + tombstone - sum(&after), pruning.bytes.now);
    assert_eq!(receipt.detail["segments"]["waiting_bytes"], pruning.bytes.later);
    assert_eq!(receipt.detail["removed"], 2);
    assert_eq!(
        world.kinds().await,
        [(3, "snapshot"), (4, "snapshot"), (5, "tombstone")]
    );
    assert_eq!(world.head().map(|head| head.generation), Some(Generation(5)));
    world.is_sound("after the first phase").await;
    let gone = snapshots::find(
        world.store().as_ref(),
        &world.trust(),
        &Which::Generation(Generation(1)),
    )
    .await;
    assert!(gone.is_err());

    // Nothing more goes before the wait is over, nor when the clock is set back.
    for hours in [71, -5] {
        let (pruning, receipt) = world.prune(&last(2), later(hours)).await;
        assert!(receipt.ok && pruning.remove.is_empty(), "{receipt:?}");
        assert_eq!(world.stored(), after, "{hours}");
    }
    // The clock was set back, so the wait began again then.
    let (_, receipt) = world.prune(&last(2), later(68)).await;
    assert_eq!(receipt.detail["segments"]["deleted_bytes"], pruning.bytes.later);
    assert_eq!(sum(&after) - sum(&world.stored()), pruning.bytes.later);
    world.is_sound("after the sweep").await;
    let (pruning, receipt) = world.prune(&last(2), later(999)).await;
    assert!(receipt.ok && pruning.bytes.unused == 0 && pruning.bytes.now == 0);
    world.is_sound("with nothing to do").await;

    // What was swept is stored again when it comes back.
    world.write("uploads/back.jpg", vec![1; 5000]);
    assert!(world.backup().await.ok);
    world.is_sound("with what was swept").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_needed_again_stays_and_waits_anew_when_it_is_not() {
    let world = four().await;
    let (_, receipt) = world.prune(&last(1), later(0)).await;
    assert!(receipt.ok, "{receipt:?}");
    let waiting = world
        .planned(&world.store(), &last(1))
        .await
        .expect("planned")
        .bytes
        .unused;
    assert!(waiting > 0);
    // The content of the second snapshot, whose segment is in the store still.
    let segments = world.segments();
    world.write("uploads/again.jpg", vec![2; 5000]);
    assert!(world.backup().await.ok);
    let unused = world
        .planned(&world.store(), &last(2))
        .await
        .expect("planned")
        .bytes
        .unused;
    assert!(unused < waiting, "its segment is used again: {unused} of {waiting}");
    assert_eq!(world.segments(), segments + 1, "only its sums are new");
    // Between the marking and the removal nothing was swept: the wait counts from the removal all the same.
    fs::remove_file(world.project().join("uploads/again.jpg")).expect("removed");
    assert!(world.backup().await.ok);
    let (pruning, receipt) = world.prune(&last(1), later(100)).await;
    assert!(receipt.ok && receipt.detail["removed"] == 2, "{receipt:?}");
    assert!(pruning.bytes.later > 0);
    assert_eq!(receipt.detail["segments"]["waiting_bytes"], pruning.bytes.later);
    assert_eq!(receipt.detail["segments"]["deleted_bytes"], pruning.bytes.unused);
    world.is_sound("after both").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unpublished_backup_left_goes_too_but_not_the_newest_reservation() {
    let world = four().await;
    let put = |name: &str| fs::write(world.store_path().join(name), "left behind").expect("written");
    fs::remove_file(world.store_path().join("man/0000000004.json")).expect("removed");
    world.catalogue().forget_head().expect("forgotten");
    assert!(world.backup().await.ok, "built upon 3");
    put("man/0000000009.json.age");
    put("seg/0123456789abcdef0123456789abcdef.tar.age");
    put("seg/readme.txt");
    let (_, receipt) = world.prune(&last(9), later(0)).await;
    assert!(receipt.ok, "{receipt:?}");
    let (_, receipt) = world.prune(&last(9), later(72)).await;
    assert!(receipt.ok, "{receipt:?}");
    let left = world.objects();
    for gone in [
        "man/0000000004.json.age",
        "man/0000000004.json.sig",
        "seg/0123456789abcdef0123456789abcdef.tar.age",
    ] {
        assert!(!left.iter().any(|name| name == gone), "{gone}: {left:?}");
    }
    for stays in ["man/0000000009.json.age", "seg/readme.txt"] {
        assert!(left.iter().any(|name| name == stays), "{stays}: {left:?}");
    }
    world.is_sound("after all").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_are_folded_before_there_are_many() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    for nth in 0..20 {
        world.write(
            "uploads/words.txt",
            format!("words {}", if nth == 19 { 4 } else { nth + 10 }),
        );
        assert!(world.backup().await.ok);
        let (_, receipt) = world.prune(&last(1), later(nth)).await;
        assert!(receipt.ok, "{receipt:?}");
    }
    let kinds = world.kinds().await;
    let tombstones = kinds.iter().filter(|(_, kind)| *kind == "tombstone").count();
    assert!((1..=16).contains(&tombstones), "{kinds:?}");
    assert_eq!(kinds.len(), tombstones + 1);
    world.is_sound("with folded tombstones").await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Nothing arrived.
    Refused,
    /// It was done, and the answer was lost.
    AnswerLost,
    /// The process ends before it.
    Killed,
    /// The process ends after it.
    KilledAfter,
}

/// A store whose n-th call fails, or never returns.
struct Failing {
    inner: Arc<dyn Store>,
    calls: AtomicUsize,
    nth: usize,
    fault: Fault,
    reached: Notify,
    made: Mutex<Vec<String>>,
}

impl Failing {
    async fn call<T>(
        &self,
        what: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.made.lock().expect("whole").push(format!("{what} {name}"));
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.nth {
            return call.await;
        }
        if matches!(self.fault, Fault::AnswerLost | Fault::KilledAfter) {
            call.await?;
        }
        if matches!(self.fault, Fault::Killed | Fault::KilledAfter) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
        Err(StoreError::Failed {
            store: self.describe(),
            what,
            name: name.to_owned(),
            source: "made to fail".into(),
        })
    }
}

#[async_trait]
impl Store for Failing {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.call("put", name, self.inner.put(name, body, mode)).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        self.call("get", name, self.inner.get(name)).await
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.call("get", name, self.inner.get_range(name, start, length)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        self.call("list", prefix, self.inner.list(prefix)).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.call("delete", name, self.inner.delete(name)).await
    }
}

/// A store that fails at the n-th call of a prune in which something waits to be swept already.
async fn prune_failing(world: &World, nth: usize, fault: Fault) -> (Option<Receipt>, Vec<String>) {
    let pruning = world.planned(&world.store(), &last(1)).await.expect("planned");
    let id = world.begin_prune(&last(1), &pruning);
    let failing = Arc::new(Failing {
        inner: world.store(),
        calls: AtomicUsize::new(0),
        nth,
        fault,
        reached: Notify::new(),
        made: Mutex::default(),
    });
    let receipt = tokio::select! {
        receipt = world.drive(&id, failing.clone(), later(100)) => Some(receipt),
        () = failing.reached.notified() => None,
    };
    if receipt.is_none() {
        // Whoever comes next finds the journal open.
        world.is_sound(&format!("killed at {nth}")).await;
        let resumed = world.drive(&id, world.store(), later(100)).await;
        assert!(resumed.ok, "{nth}: {resumed:?}");
    }
    let made = failing.made.lock().expect("whole").clone();
    (receipt, made)
}

/// Two removed and waiting to be swept, two there of which one goes.
async fn half_pruned() -> World {
    let world = four().await;
    let (_, receipt) = world.prune(&last(2), later(0)).await;
    assert!(receipt.ok, "{receipt:?}");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_what_stays_is_whole_and_the_next_prune_makes_up_for_it() {
    let world = half_pruned().await;
    let (receipt, calls) = prune_failing(&world, usize::MAX, Fault::Refused).await;
    assert!(receipt.is_some_and(|receipt| receipt.ok));
    let expected = world.manifests();
    for kind in ["put ", "get ", "list ", "delete man/", "delete seg/"] {
        assert!(calls.iter().any(|call| call.starts_with(kind)), "{kind}: {calls:?}");
    }
    let when = |call: &str| {
        calls
            .iter()
            .position(|made| made == call)
            .unwrap_or_else(|| panic!("{call}: {calls:?}"))
    };
    let order = [
        "put man/0000000006.json.sig",
        "put man/0000000006.json",
        "delete man/0000000003.json",
        "delete man/0000000003.json.sig",
        "delete man/0000000003.json.age",
    ];
    assert!(order.map(when).is_sorted(), "{calls:?}");
    let faults = [Fault::Refused, Fault::AnswerLost, Fault::Killed, Fault::KilledAfter];
    let cases = faults
        .into_iter()
        .flat_map(|fault| calls.iter().enumerate().map(move |(nth, call)| (fault, nth, call)));
    let differs = |(fault, _, call): &(Fault, usize, &String)| {
        let reads = call.starts_with("get") || call.starts_with("list");
        // It makes no difference whether a read was made.
        !(reads && matches!(fault, Fault::AnswerLost | Fault::KilledAfter))
    };
    let cases: Vec<_> = cases.filter(differs).collect();
    let cases = cases.into_iter().map(|(fault, nth, call)| {
        let what = format!("{fault:?} at {nth}, {call}");
        tokio::spawn(async move { cut_short(&what, nth, fault, expected).await })
    });
    // Much of it is waiting for the disk.
    let mut cases = futures_util::stream::iter(cases).buffer_unordered(6);
    while let Some(done) = cases.next().await {
        done.expect("as it should be");
    }
}

/// `expected`: how many manifests there are once all is done.
async fn cut_short(what: &str, nth: usize, fault: Fault, expected: usize) {
    let world = half_pruned().await;
    let (receipt, _) = prune_failing(&world, nth, fault).await;
    if let Some(receipt) = &receipt {
        assert!(!receipt.ok, "{what}: {receipt:?}");
        world.is_sound(what).await;
        // A backup in between does not mind.
        assert!(world.backup().await.ok, "{what}");
        world.is_sound(&format!("{what}, and a backup")).await;
        let (_, receipt) = world.prune(&last(2), later(100)).await;
        assert!(receipt.ok, "{what}: {receipt:?}");
        let (_, receipt) = world.prune(&last(1), later(100)).await;
        assert!(receipt.ok, "{what}: {receipt:?}");
    }
    let (pruning, again) = world.prune(&last(1), later(300)).await;
    assert!(again.ok && pruning.snapshots.len() == 1, "{what}: {again:?}");
    world.is_sound(&format!("{what}, and pruned again")).await;
    let left = world.stored();
    let (pruning, _) = world.prune(&last(1), later(900)).await;
    assert_eq!((pruning.bytes.now, pruning.bytes.unused), (0, 0), "{what}");
    assert_eq!(world.stored(), left, "{what}");
    if receipt.is_none() {
        assert_eq!(world.manifests(), expected, "{what}: {left:?}");
    }
}

/// A listing from which some objects are left out.
struct Forgetful {
    inner: Arc<dyn Store>,
    without: Vec<String>,
}

#[async_trait]
impl Store for Forgetful {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn put(&self, name: &str, body: ByteStream, mode: Put) -> Result<u64, StoreError> {
        self.inner.put(name, body, mode).await
    }

    async fn get(&self, name: &str) -> Result<ByteStream, StoreError> {
        self.inner.get(name).await
    }

    async fn get_range(&self, name: &str, start: u64, length: u64) -> Result<Bytes, StoreError> {
        self.inner.get_range(name, start, length).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut listed = self.inner.list(prefix).await?;
        listed.retain(|object| !self.without.contains(&object.name));
        Ok(listed)
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_where_the_store_does_not_show_all_it_holds() {
    let world = four().await;
    let pruning = world.planned(&world.store(), &last(1)).await.expect("planned");
    let before = world.stored();
    for hidden in [vec![4], vec![1], vec![2, 3], vec![1, 2, 3, 4]] {
        let headers = hidden.iter().map(|nth| ManifestPart::Header.name(Generation(*nth)));
        let store: Arc<dyn Store> = Arc::new(Forgetful {
            inner: world.store(),
            without: headers.collect(),
        });
        let refused = world.planned(&store, &last(1)).await;
        assert!(
            matches!(refused, Err(PruneError::Broken { .. })),
            "{hidden:?}: {refused:?}"
        );
        // Also when it shows only once the prune has begun, in every step of it.
        let id = world.begin_prune(&last(1), &pruning);
        let receipt = world.drive(&id, store, later(500)).await;
        assert_eq!(receipt.outcome, "not_pruned", "{receipt:?}");
        assert_eq!(world.stored(), before, "{hidden:?}");
    }
    // Segments that a listing leaves out make snapshots that are not whole: those take nobody's place.
    let Header::Snapshot(newest) = world.header(4) else {
        panic!("a snapshot")
    };
    let store: Arc<dyn Store> = Arc::new(Forgetful {
        inner: world.store(),
        without: vec![newest.sums.name.to_string()],
    });
    let planned = world.planned(&store, &last(1)).await.expect("planned");
    let going: Vec<u64> = planned.going().map(|judged| judged.generation.0).collect();
    assert_eq!(going, [1, 2], "the third is the newest that is whole");
    let id = world.begin_prune(&last(1), &pruning);
    let receipt = world.drive(&id, store, later(500)).await;
    assert!(
        receipt
            .because
            .as_ref()
            .is_some_and(|why| why.contains("snapshot 3 would stay")),
        "{receipt:?}"
    );
    assert_eq!(world.stored(), before);
    // Nor where this host cannot tell.
    world.catalogue().forget_head().expect("forgotten");
    let refused = world.planned(&world.store(), &last(1)).await;
    assert!(matches!(refused, Err(PruneError::Unremembered { .. })), "{refused:?}");
    let empty = World::new(r#"[{ "path": "./uploads" }]"#);
    let nothing = empty.planned(&empty.store(), &last(1)).await.expect("planned");
    assert!(nothing.snapshots.is_empty() && nothing.remove.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_where_a_header_is_damaged_or_another_projects() {
    let world = four().await;
    let before = world.objects();
    let file = world.store_path().join(ManifestPart::Header.name(Generation(2)));
    let whole = fs::read(&file).expect("read");
    for at in [10, whole.len() / 2] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&file, damaged).expect("written");
        let refused = world.planned(&world.store(), &last(1)).await;
        assert!(matches!(refused, Err(PruneError::Header(_))), "{refused:?}");
    }
    fs::write(&file, whole).expect("written");
    let keys = keys::trusted(&world.keys.signing).expect("keys");
    let other = "other".parse().expect("a name");
    let refused = plan(world.store().as_ref(), &keys, world.head(), &other, &last(1)).await;
    assert!(matches!(refused, Err(PruneError::Foreign { .. })), "{refused:?}");
    assert_eq!(world.objects(), before);
}

/// Signs and stores a tombstone; the host remembers it as its own.
fn entomb(world: &World, signer: &Signer, generation: u64, previous: Link, removed: Vec<Removed>) {
    let header = Header::Tombstone(Tombstone {
        project: "ark".parse().expect("a name"),
        generation: Generation(generation),
        written: SystemClock.now(),
        previous: Some(previous),
        tool: "a test".into(),
        removed,
        signer: signer.fingerprint(),
    });
    let bytes = header.encode().expect("encoded");
    let signature = signer.sign(MANIFEST_NAMESPACE, &bytes).expect("signed");
    let put = |part: ManifestPart, bytes: &[u8]| {
        fs::write(world.store_path().join(part.name(Generation(generation))), bytes).expect("written");
    };
    put(ManifestPart::Header, &bytes);
    put(ManifestPart::Signature, signature.as_bytes());
    let head = Link {
        generation: Generation(generation),
        sha256: Digest::of(&bytes),
    };
    world.catalogue().set_head(&head).expect("remembered");
}

fn removed(world: &World, generation: u64) -> Removed {
    let name = world
        .store_path()
        .join(ManifestPart::Header.name(Generation(generation)));
    let bytes = fs::read(name).expect("read");
    Removed {
        generation: Generation(generation),
        sha256: Digest::of(&bytes),
        previous: world.header(generation).previous(),
    }
}

fn forget(world: &World, generation: u64) {
    fs::remove_file(
        world
            .store_path()
            .join(ManifestPart::Header.name(Generation(generation))),
    )
    .expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tombstone_that_is_not_true_is_found_by_everybody() {
    let stranger = Signer::from_seed(&[7; 32], "stranger").expect("a key");
    for case in [
        "stranger",
        "self",
        "later",
        "twice",
        "unordered",
        "hash",
        "incomplete",
        "previous",
        "none",
        "true",
    ] {
        let world = four().await;
        let ours = keys::signer(&world.keys.signing).expect("a key");
        let head = world.head().expect("published");
        let [one, two] = [1, 2].map(|nth| removed(&world, nth));
        let moved = |sha256: &[u8], previous| Removed {
            generation: Generation(2),
            sha256: Digest::of(sha256),
            previous,
        };
        let list = match case {
            "self" => vec![Removed {
                generation: Generation(5),
                ..one.clone()
            }],
            "later" => vec![Removed {
                generation: Generation(6),
                ..one.clone()
            }],
            "twice" => vec![one.clone(), one.clone(), two.clone()],
            "unordered" => vec![two.clone(), one.clone()],
            "hash" => vec![one.clone(), moved(b"another", two.previous)],
            "incomplete" => vec![one.clone()],
            "previous" => vec![
                one.clone(),
                Removed {
                    previous: None,
                    ..two.clone()
                },
            ],
            _ => vec![one.clone(), two.clone()],
        };
        if case != "none" {
            entomb(
                &world,
                if case == "stranger" { &stranger } else { &ours },
                5,
                head,
                list,
            );
        }
        forget(&world, 1);
        forget(&world, 2);
        let report = world.verify(Level::Objects).await;
        let planned = world.planned(&world.store(), &last(1)).await;
        let expected = if case == "true" {
            Verdict::Passed
        } else {
            Verdict::Failed
        };
        assert_eq!(report.verdict(), expected, "{case}: {report:?}");
        assert_eq!(planned.is_ok(), case == "true", "{case}: {planned:?}");
        // One whose own text cannot be believed stands in the way of the newest too.
        let newest = snapshots::find(
            world.store().as_ref(),
            &world.trust(),
            &Which::Latest { set: "full".into() },
        )
        .await;
        let unbelievable = ["stranger", "self", "later", "twice", "unordered"].contains(&case);
        assert_eq!(newest.is_err(), unbelievable, "{case}: {newest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tombstone_lists_is_gone_for_readers_while_it_is_still_there() {
    let world = four().await;
    let ours = keys::signer(&world.keys.signing).expect("a key");
    let listed = vec![removed(&world, 3), removed(&world, 4)];
    entomb(&world, &ours, 5, world.head().expect("published"), listed);
    let kinds = [
        (1, "snapshot"),
        (2, "snapshot"),
        (3, "removed"),
        (4, "removed"),
        (5, "tombstone"),
    ];
    assert_eq!(world.kinds().await, kinds);
    let newest = snapshots::find(
        world.store().as_ref(),
        &world.trust(),
        &Which::Latest { set: "full".into() },
    )
    .await;
    assert_eq!(newest.expect("found").generation, Generation(2));
    let named = snapshots::find(
        world.store().as_ref(),
        &world.trust(),
        &Which::Generation(Generation(4)),
    )
    .await;
    assert_eq!(named.expect("still there").generation, Generation(4));
    // Their objects may go one by one without anybody missing them.
    let Header::Snapshot(fourth) = world.header(4) else {
        panic!("a snapshot")
    };
    fs::remove_file(world.store_path().join(fourth.sums.name.to_string())).expect("removed");
    let report = world.verify(Level::Files).await;
    assert_eq!((report.verdict(), report.snapshots), (Verdict::Passed, 2), "{report:?}");
    let (pruning, receipt) = world.prune(&last(9), later(0)).await;
    assert!(receipt.ok && pruning.bytes.now > 0, "{receipt:?}");
    assert_eq!(
        world.kinds().await,
        [(1, "snapshot"), (2, "snapshot"), (5, "tombstone")]
    );
    assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
}
