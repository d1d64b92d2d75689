use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::lab::until;
use crate::stage::{Stage, everywhere};

const RELEASE: &str = "port: 3000, drain_limit: 5s, steps: [{ weight: 50, hold: 3s }], settle: 2s, \
                       health: { http: /health, every: 500ms, healthy_after: 2, within: 20s }, \
                       background: { pause: { post: /worker/pause }, resume: { post: /worker/resume } }";

/// Puts a job into the queue every 20 ms while the release goes on; how many.
async fn meanwhile<T>(stage: &Stage<'_>, made: &AtomicUsize, release: impl Future<Output = T>) -> T {
    let over = AtomicBool::new(false);
    let jobs = async {
        while !over.load(Ordering::SeqCst) {
            let job = made.fetch_add(1, Ordering::SeqCst);
            stage.redis(&["LPUSH", "line:photos", &job.to_string()]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let release = async {
        let done = release.await;
        over.store(true, Ordering::SeqCst);
        done
    };
    tokio::join!(release, jobs).0
}

/// Which version took which job, in order, once all are taken.
async fn ledger(stage: &Stage<'_>, made: usize) -> Vec<(String, usize)> {
    until("the queue to be worked off", 30, async || {
        let taken = stage.redis(&["LLEN", "ledger"]).await;
        taken[0].parse::<usize>().expect("a number") >= made
    })
    .await;
    let lines = stage.redis(&["LRANGE", "ledger", "0", "-1"]).await;
    let split = |line: String| {
        let (version, job) = line.split_once(' ').expect("a version and a job");
        (version.to_owned(), job.parse().expect("a job"))
    };
    lines.into_iter().map(split).collect()
}

async fn each_once(stage: &Stage<'_>, taken: &[(String, usize)], made: usize) {
    let mut times = BTreeMap::<usize, usize>::new();
    taken.iter().for_each(|(_, job)| *times.entry(*job).or_default() += 1);
    assert_eq!(times.len(), made, "no job is lost");
    times.retain(|_, times| *times > 1);
    if times.is_empty() {
        return;
    }
    let mut said = String::new();
    for container in stage.containers("line").await {
        let log = stage.engine.logs(&container.id, 1000).await.expect("logs");
        let of_photos = log
            .lines()
            .filter(|line| line.contains("photo") || line.contains("queue"));
        said += &of_photos
            .map(|line| format!("{}: {line}\n", container.name))
            .collect::<String>();
    }
    panic!("none is run twice: {times:?} {taken:?}\n{said}");
}

fn by<'t>(taken: &'t [(String, usize)], version: &str) -> Vec<&'t usize> {
    taken
        .iter()
        .filter(|(by, _)| by == version)
        .map(|(_, job)| job)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unproven_colour_takes_no_job_and_the_proven_one_takes_them_all() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        // Passes once there is a file beside the project.
        let gates = "proven: { source: command, run: [test, -e, ./proven], every: 1s }";
        let stage = Stage::up(
            folder.path(),
            &host,
            "restart: always",
            &format!("{RELEASE}, gates: [proven]"),
            gates,
        )
        .await;
        let made = AtomicUsize::new(0);

        let refused = meanwhile(&stage, &made, stage.deploy(1, "1.1.0")).await;
        assert_eq!(refused["outcome"], "rolled_back", "{engine}: {refused}");
        assert!(
            refused["because"].as_str().is_some_and(|why| why.contains("proven")),
            "{engine}: {refused}"
        );
        let so_far = made.load(Ordering::SeqCst);
        let taken = ledger(&stage, so_far).await;
        each_once(&stage, &taken, so_far).await;
        assert_eq!(by(&taken, "1.1.0").len(), 0, "{engine}: the unproven colour took a job");
        println!("{engine}: {so_far} jobs while it was tried and taken back, 0 by the unproven colour");

        std::fs::write(folder.path().join("proven"), "").expect("written");
        let deployed = meanwhile(&stage, &made, stage.deploy(0, "1.1.0")).await;
        assert_eq!(deployed["outcome"], "deployed", "{engine}: {deployed}");
        let handed = made.load(Ordering::SeqCst);
        meanwhile(&stage, &made, tokio::time::sleep(Duration::from_secs(2))).await;
        let all = made.load(Ordering::SeqCst);
        let taken = ledger(&stage, all).await;
        each_once(&stage, &taken, all).await;
        let (old, new) = (by(&taken, "1.0.0"), by(&taken, "1.1.0"));
        println!(
            "{engine}: then {} jobs by 1.0.0, {} by 1.1.0",
            old.len() - so_far,
            new.len()
        );
        assert!(old.len() > so_far, "{engine}: the old one went on meanwhile");
        assert!(
            old.iter().all(|job| **job < handed),
            "{engine}: and not any more afterwards"
        );
        let last = taken.iter().rposition(|(by, _)| by == "1.0.0").expect("some");
        let first = taken.iter().position(|(by, _)| by == "1.1.0").expect("some");
        assert!(last < first, "{engine}: never both");

        // Whoever is started by the engine goes on as it was told before.
        for container in stage.containers("line").await {
            stage.engine.stop_container(&container.id, None).await.expect("stopped");
            stage.engine.start_container(&container.id).await.expect("started");
        }
        let up = stage.run(&["up"]).await;
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        meanwhile(&stage, &made, tokio::time::sleep(Duration::from_secs(1))).await;
        let more = made.load(Ordering::SeqCst);
        let taken = ledger(&stage, more).await;
        each_once(&stage, &taken, more).await;
        assert_eq!(
            by(&taken, "1.0.0").len(),
            old.len(),
            "{engine}: the warm one still stands by"
        );

        let back = meanwhile(&stage, &made, stage.ends(0, &["rollback", "line", "--yes"])).await;
        assert_eq!(back["outcome"], "rolled_back", "{engine}: {back}");
        meanwhile(&stage, &made, tokio::time::sleep(Duration::from_secs(1))).await;
        let all = made.load(Ordering::SeqCst);
        let taken = ledger(&stage, all).await;
        each_once(&stage, &taken, all).await;
        assert_eq!(taken.last().expect("some").0, "1.0.0", "{engine}");
        stage.end().await;
    })
    .await;
}
