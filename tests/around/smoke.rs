use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::lab::{Connection, until};
use crate::stage::{PORT, Stage, everywhere};

fn release(path: &str) -> String {
    format!(
        "port: {PORT}, drain_limit: 5s, after: [{{ run: [/line-service, health, {path}], class: reversible, \
         timeout: 30s }}], health: {{ http: /health, every: 500ms, healthy_after: 2, within: 20s }}"
    )
}

/// Asks again and again while something goes on; how many were answered, all of them by 1.0.0.
async fn asking<T>(stage: &Stage<'_>, meanwhile: impl Future<Output = T>) -> T {
    let at = stage.address("arkwright-router", PORT).await;
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let asking = async {
        let mut connection = Connection::open(at).await.expect("connects");
        while !over.load(Ordering::SeqCst) {
            let (status, body) = connection.send("GET", "/version", "", "").await.expect("an answer");
            assert!(status == 200 && body.contains("1.0.0"), "{status} {body}");
            answered.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let meanwhile = async {
        let done = meanwhile.await;
        over.store(true, Ordering::SeqCst);
        done
    };
    let (done, ()) = tokio::join!(meanwhile, asking);
    assert!(answered.load(Ordering::SeqCst) > 0);
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_fails_takes_everything_back_before_anybody_met_the_new_version() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let stage = Stage::up(folder.path(), &host, "", &release("/no/such/path"), "").await;
        let at = stage.address("arkwright-router", PORT).await;
        until("1.0.0", 20, async || {
            let Ok(mut connection) = Connection::open(at).await else {
                return false;
            };
            matches!(connection.send("GET", "/version", "", "").await, Ok((200, _)))
        })
        .await;
        let refused = asking(&stage, stage.deploy(1, "1.1.0")).await;
        assert_eq!(refused["outcome"], "aborted", "{engine}: {refused}");
        let because = refused["because"].as_str().expect("a reason");
        assert!(
            because.contains("http://line-green:3000/no/such/path answered 404"),
            "{engine}: {because}"
        );
        assert_eq!(refused["detail"]["counted"]["to"]["requests"], 0, "{engine}: {refused}");
        let left = stage.containers("line").await;
        assert_eq!(left.len(), 1, "{engine}: green is gone");
        println!("{engine}: {}", because.lines().last().unwrap_or_default());

        let config = folder.path().join("arkwright.yaml");
        let text = std::fs::read_to_string(&config).expect("read");
        std::fs::write(&config, text.replace("/no/such/path", "/version")).expect("written");
        let deployed = stage.deploy(0, "1.1.0").await;
        assert_eq!(deployed["outcome"], "deployed", "{engine}: {deployed}");
        let programs = stage.engine.containers_labelled("arkwright.hook").await.expect("asked");
        let ours = format!("{}/line", stage.cli.project);
        assert!(
            programs.iter().all(|c| c.label("arkwright.hook") != Some(&ours)),
            "{engine}: its container is gone"
        );
        stage.end().await;
    })
    .await;
}
