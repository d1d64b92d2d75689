use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arkwright::drill::{Evidence, Measure, Verdict};
use arkwright::ports::Host;
use arkwright::run::Receipt;
use arkwright::run::drill::verify_evidence;

use crate::ark::{Ark, Damage, PHOTOS};
use crate::idle::IdleEngine;

const COMPOSE: &str = "services: { web: { image: nothing } }";
const CHECKS: &str = r#"checks:
      - { sqlite: ./data/memoryark.db, integrity: true }
      - { sqlite: ./data/memoryark.db, rows: all }
      - { sqlite: ./data/memoryark.db, files_exist: "select path from files", under: ./uploads }"#;

async fn drilled(damage: Option<Damage>) -> (Receipt, Evidence) {
    Ark::new("arkd-none", COMPOSE, CHECKS, None).await.drill(damage).await
}

fn failing(evidence: &Evidence) -> Vec<&str> {
    let failed = evidence.checks.iter().filter(|check| check.verdict == Verdict::Failed);
    failed.map(|check| check.name.as_str()).collect()
}

#[tokio::test]
async fn a_whole_backup_passes_with_figures() {
    let (receipt, evidence) = drilled(None).await;
    assert_eq!(
        (receipt.outcome.as_str(), receipt.ok),
        ("passed", true),
        "{:?}",
        evidence.because
    );
    assert_eq!(evidence.checks.len(), 3);
    assert_eq!(evidence.checks[1].expected, format!("files {PHOTOS}, users 2"));
    assert_eq!(evidence.checks[1].actual, evidence.checks[1].expected);
    assert_eq!(
        (evidence.rto.verdict, evidence.rpo.verdict),
        (Measure::Met, Measure::Met)
    );
    let snapshot = evidence.snapshot.expect("used");
    assert!(snapshot.manifest == "man/0000000001.json" && !snapshot.objects.is_empty());
    assert_eq!(snapshot.signer, evidence.tools.key);
}

/// A host whose disks are roomy but for one.
struct Cramped(&'static str);

impl Host for Cramped {
    fn disk_free(&self, path: &Path) -> io::Result<u64> {
        Ok(if path.starts_with(self.0) { 1 << 20 } else { 1 << 50 })
    }

    fn memory_free(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn room_is_looked_for_in_the_engines_folder_too_and_a_block_for_every_file() {
    for (cramped, outcome) in [("/engine", "inconclusive"), ("/elsewhere", "passed")] {
        let ark = Ark::new("arkd-none", COMPOSE, CHECKS, None).await;
        let (id, mut performer) = ark.begin(None);
        performer.host = Arc::new(Cramped(cramped));
        performer.engine = Arc::new(IdleEngine::new(Some("/engine/root".into())));
        let (receipt, evidence) = ark.finish(&id, performer).await;
        assert_eq!(receipt.outcome, outcome, "{:?}", evidence.because);
        match (evidence.room, evidence.restored) {
            (None, None) => assert!(
                evidence.because[0].contains("the engine's folder"),
                "{:?}",
                evidence.because
            ),
            (Some(room), Some(restored)) => {
                let spare = room.engine_needed;
                let bytes = restored.bytes + restored.bytes / 10;
                assert_eq!(room.disk_needed, bytes + restored.files * 4096 + spare);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_photo_that_a_row_names_and_that_is_gone_fails_the_drill() {
    let (receipt, evidence) = drilled(Some(|tree: &Path| {
        fs::remove_file(tree.join("uploads/2026/11/007.jpg")).expect("removed");
    }))
    .await;
    assert_eq!((receipt.outcome.as_str(), receipt.ok), ("failed", false));
    assert_eq!(failing(&evidence), ["files of data/memoryark.db below uploads"]);
    assert!(
        evidence.because[0].contains("2026/11/007.jpg"),
        "{:?}",
        evidence.because
    );
}

#[tokio::test]
async fn rows_that_are_gone_fail_the_drill() {
    let (receipt, evidence) = drilled(Some(|tree: &Path| {
        let connection = rusqlite::Connection::open(tree.join("data/memoryark.db")).expect("opened");
        connection
            .execute_batch("delete from files where id > 30; drop table users")
            .expect("done");
    }))
    .await;
    assert_eq!(receipt.outcome, "failed");
    assert_eq!(failing(&evidence), ["rows of data/memoryark.db"]);
    assert!(
        evidence.because[0].contains("files 30, users gone"),
        "{:?}",
        evidence.because
    );
}

#[tokio::test]
async fn a_spoilt_page_fails_the_drill() {
    let (receipt, evidence) = drilled(Some(|tree: &Path| {
        let path = tree.join("data/memoryark.db");
        let mut bytes = fs::read(&path).expect("read");
        let last = bytes.len() - 4096;
        bytes[last..last + 2048].fill(0xa5);
        fs::write(&path, bytes).expect("written");
    }))
    .await;
    assert_eq!(receipt.outcome, "failed");
    assert!(
        failing(&evidence).contains(&"integrity of data/memoryark.db"),
        "{:?}",
        evidence.checks
    );
}

#[tokio::test]
async fn an_empty_folder_passes_no_drill() {
    let (receipt, evidence) = drilled(Some(|tree: &Path| {
        fs::remove_dir_all(tree).expect("removed");
        fs::create_dir(tree).expect("made");
    }))
    .await;
    assert_eq!(receipt.outcome, "failed");
    assert_eq!(failing(&evidence).len(), 3);
    assert_eq!(evidence.rpo.verdict, Measure::NotRun);
}

#[tokio::test]
async fn a_damaged_object_in_the_store_fails_the_drill_by_name() {
    let ark = Ark::new("arkd-none", COMPOSE, CHECKS, None).await;
    let segment = fs::read_dir(ark.home().join("backups/seg"))
        .expect("segments")
        .next()
        .expect("one")
        .expect("an entry");
    let mut bytes = fs::read(segment.path()).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(segment.path(), bytes).expect("written");
    let (receipt, evidence) = ark.drill(None).await;
    assert_eq!(receipt.outcome, "failed");
    let name = segment.file_name().to_string_lossy().into_owned();
    assert!(evidence.because[0].contains(&name), "{:?}", evidence.because);
    assert!(evidence.checks.iter().all(|check| check.verdict == Verdict::NotRun));
}

#[tokio::test]
async fn evidence_is_a_chain_that_shows_any_change() {
    let ark = Ark::new("arkd-none", COMPOSE, CHECKS, None).await;
    let (first, _) = ark.drill(None).await;
    // Operations of one second are ordered by chance.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let (second, evidence) = ark.drill(None).await;
    let previous = evidence.previous.expect("a record before it");
    assert_eq!(previous.operation, first.operation);
    let verify = || verify_evidence(&ark.folder, &ark.keys()).expect("readable");
    assert_eq!(verify(), (2, Vec::new()));
    let path = ark.folder.evidence().join(format!("{}.json", first.operation));
    let text = fs::read_to_string(&path).expect("read");
    fs::write(&path, text.replace("\"passed\"", "\"failed\"")).expect("written");
    let (_, breaks) = verify();
    assert!(breaks[0].object.contains(first.operation.as_str()), "{breaks:?}");
    fs::remove_file(&path).expect("removed");
    fs::remove_file(path.with_extension("json.sig")).expect("removed");
    let (count, breaks) = verify();
    assert_eq!(count, 1);
    assert!(
        breaks[0].why.contains("missing") && breaks[0].object.contains(first.operation.as_str()),
        "{breaks:?}"
    );
    assert_ne!(first.operation, second.operation);
}
