//! Backups whose process ends at any point, and steps that are done twice: the journal takes them to a whole snapshot.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::faults::{Failing, Fault};
use super::support::World;
use arkwright::backup::{BackupOutput, BackupStep};
use arkwright::journal::{Saga, Step};
use arkwright::model::OperationId;
use arkwright::run::backup::BackupPerformer;
use arkwright::run::restore::Selection;
use arkwright::run::verify::{Level, Verdict};
use arkwright::run::{Perform, Progress, Receipt, StepFailed};
use async_trait::async_trait;
use tokio::sync::Notify;

/// Read, publish, clear up.
const STEPS: usize = 3;
/// Two segments, sums, listing, signature, header.
const PUTS: usize = 6;

/// When the process ends.
#[derive(Clone, Copy, Debug)]
enum End {
    BeforeStep(usize),
    AfterStep(usize),
    /// With the first step that fails.
    Failing,
}

/// Does not come back from where the process ends.
struct Ending {
    inner: BackupPerformer,
    end: End,
    begun: AtomicUsize,
    ended: Notify,
}

impl Ending {
    async fn here<T>(&self) -> T {
        self.ended.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Perform<BackupStep> for Ending {
    async fn perform(
        &self,
        step: &BackupStep,
        saga: &Saga<BackupStep>,
        progress: &dyn Progress,
    ) -> Result<BackupOutput, StepFailed> {
        let nth = self.begun.fetch_add(1, Ordering::SeqCst);
        if matches!(self.end, End::BeforeStep(last) if last == nth) {
            return self.here().await;
        }
        let done = self.inner.perform(step, saga, progress).await;
        match self.end {
            End::AfterStep(last) if last == nth => self.here().await,
            End::Failing if done.is_err() => self.here().await,
            _ => done,
        }
    }
}

/// Does every step twice.
struct Twice(BackupPerformer);

#[async_trait]
impl Perform<BackupStep> for Twice {
    async fn perform(
        &self,
        step: &BackupStep,
        saga: &Saga<BackupStep>,
        progress: &dyn Progress,
    ) -> Result<BackupOutput, StepFailed> {
        self.0.perform(step, saga, progress).await?;
        self.0.perform(step, saga, progress).await
    }
}

/// How much of the last record reached the disk.
#[derive(Clone, Copy, Debug)]
enum Record {
    Whole,
    Half,
    None,
}

fn cut(world: &World, id: &OperationId, record: Record) {
    let file = world.state.journal(BackupStep::KIND, id);
    let bytes = fs::read(&file).expect("a journal");
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let last = lines.last().map_or(0, |line| line.len());
    // The version and the plan were synced before the first step began.
    assert!(lines.len() > 2, "{}", lines.len());
    let less = match record {
        Record::Whole => 0,
        Record::Half => last / 2,
        Record::None => last,
    };
    fs::write(&file, &bytes[..bytes.len() - less]).expect("written");
}

fn world() -> World {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.jpg", vec![1; 5000]);
    world.write("uploads/b.txt", "words");
    world
}

/// The receipt of the run that took it to its end.
async fn resumed(world: &World, failing: Option<(usize, Fault)>, end: End, record: Record) -> Receipt {
    let id = world.begin();
    let (nth, fault) = failing.unwrap_or((usize::MAX, Fault::Refused));
    let ending = Ending {
        inner: world.performer(Arc::new(Failing {
            inner: world.store(),
            puts: AtomicUsize::new(0),
            nth,
            fault,
        })),
        end,
        begun: AtomicUsize::new(0),
        ended: Notify::new(),
    };
    tokio::select! {
        receipt = world.finish(&id, &ending) => panic!("it came to an end: {receipt:?}"),
        () = ending.ended.notified() => {}
    }
    cut(world, &id, record);
    world.finish(&id, &world.performer(world.store())).await
}

/// One whole snapshot, and another backup after it.
async fn is_whole(world: &World, receipt: &Receipt, case: &str) {
    assert!(receipt.ok && receipt.outcome == "published", "{case}: {receipt:?}");
    let report = world.verify(Level::Files).await;
    assert_eq!(
        (report.verdict(), report.snapshots),
        (Verdict::Passed, 1),
        "{case}: {report:?}"
    );
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!(fs::read(target.join("uploads/a.jpg")).expect("there"), vec![1; 5000]);
    assert_eq!(
        fs::read_to_string(target.join("uploads/b.txt")).expect("there"),
        "words"
    );
    assert!(world.backup().await.ok, "{case}");
    let report = world.verify(Level::Files).await;
    assert_eq!(
        (report.verdict(), report.snapshots),
        (Verdict::Passed, 2),
        "{case}: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_around_any_step_leaves_a_backup_that_is_taken_to_its_end() {
    for nth in 0..STEPS {
        for end in [End::BeforeStep(nth), End::AfterStep(nth)] {
            for record in [Record::Whole, Record::Half, Record::None] {
                let world = world();
                let receipt = resumed(&world, None, end, record).await;
                is_whole(&world, &receipt, &format!("{end:?} {record:?}")).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_with_any_write_leaves_a_backup_that_is_taken_to_its_end() {
    for nth in 0..PUTS {
        for fault in [Fault::Refused, Fault::AnswerLost, Fault::Torn] {
            for record in [Record::Whole, Record::None] {
                let world = world();
                let receipt = resumed(&world, Some((nth, fault)), End::Failing, record).await;
                is_whole(&world, &receipt, &format!("{nth} {fault:?} {record:?}")).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_done_twice_publish_once() {
    let world = world();
    let id = world.begin();
    let receipt = world.finish(&id, &Twice(world.performer(world.store()))).await;
    is_whole(&world, &receipt, "twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reading_left_and_somebody_removed_ends_the_backup_without_a_snapshot() {
    let world = world();
    let id = world.begin();
    let publishing = Ending {
        inner: world.performer(world.store()),
        end: End::BeforeStep(1),
        begun: AtomicUsize::new(0),
        ended: Notify::new(),
    };
    tokio::select! {
        receipt = world.finish(&id, &publishing) => panic!("it came to an end: {receipt:?}"),
        () = publishing.ended.notified() => {}
    }
    for entry in fs::read_dir(world.state.scratch()).expect("scratch") {
        fs::remove_dir_all(entry.expect("an entry").path()).expect("removed");
    }
    let receipt = world.finish(&id, &world.performer(world.store())).await;
    assert_eq!((receipt.ok, receipt.outcome.as_str()), (false, "not_published"));
    assert!(!world.objects().iter().any(|name| name.starts_with("man/")));
    let receipt = world.backup().await;
    is_whole(&world, &receipt, "after").await;
}
