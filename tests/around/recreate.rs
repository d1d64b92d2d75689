use std::time::Duration;

use crate::stage::{Stage, everywhere, line};

const SERVICE: &str = "healthcheck: { test: [CMD, /line-service, health, \"http://127.0.0.1:3000/health\"], \
                       interval: 1s, retries: 3 }";

/// The name and the image of the one container, which runs.
async fn alone(stage: &Stage<'_>) -> (String, String) {
    let mut containers = stage.containers("line").await;
    assert_eq!(containers.len(), 1, "{containers:?}");
    let container = containers.remove(0);
    assert!(container.running(), "{container:?}");
    let of = |version| async move {
        stage
            .engine
            .image(&line(version))
            .await
            .expect("asked")
            .map(|image| image.id)
    };
    for version in ["1.0.0", "1.1.0", "broken"] {
        if of(version).await.as_ref() == Some(&container.image_id) {
            return (container.name, version.to_owned());
        }
    }
    panic!("of no version: {container:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_without_a_router_is_released_in_its_place_and_rolled_back() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let release = "swap: recreate, healthy_within: 25s";
        let stage = Stage::up(folder.path(), &host, SERVICE, release, "").await;
        let name = format!("{}-line-1", stage.cli.project);
        assert_eq!(alone(&stage).await, (name.clone(), "1.0.0".into()), "{engine}");
        assert_eq!(
            stage.containers("arkwright-router").await.len(),
            0,
            "{engine}: nothing stands in front of it"
        );

        let deployed = stage.deploy(0, "1.1.0").await;
        assert_eq!(deployed["outcome"], "deployed", "{engine}: {deployed}");
        assert_eq!(alone(&stage).await, (name.clone(), "1.1.0".into()), "{engine}");
        assert_eq!(deployed["detail"]["proven"], true, "{engine}: {deployed}");
        let again = stage.deploy(0, "1.1.0").await;
        assert_eq!(again["outcome"], "unchanged", "{engine}: {again}");

        // What serves is in the journal, whatever the Compose file says, also where the container is gone.
        let id = stage.containers("line").await[0].id.clone();
        stage.run(&["up"]).await;
        assert_eq!(
            stage.containers("line").await[0].id,
            id,
            "{engine}: `up` leaves it alone"
        );
        stage
            .engine
            .stop_container(&id, Some(Duration::from_secs(1)))
            .await
            .expect("stopped");
        stage.engine.remove_container(&id).await.expect("removed");
        let up = stage.run(&["up"]).await;
        assert!(up.status.success(), "{engine}: {}", String::from_utf8_lossy(&up.stderr));
        assert_eq!(alone(&stage).await, (name.clone(), "1.1.0".into()), "{engine}");

        let refused = stage.deploy(1, "broken").await;
        assert_eq!(refused["outcome"], "aborted", "{engine}: {refused}");
        assert_eq!(
            alone(&stage).await,
            (name.clone(), "1.1.0".into()),
            "{engine}: the old one is there again"
        );

        let back = stage.ends(0, &["rollback", "line", "--yes"]).await;
        assert_eq!(back["outcome"], "rolled_back", "{engine}: {back}");
        assert_eq!(alone(&stage).await, (name, "1.0.0".into()), "{engine}");
        let history = stage.ends(0, &["history"]).await;
        assert_eq!(history.as_array().map(Vec::len), Some(4), "{engine}: {history}");
        let plan = stage.run(&["plan"]).await;
        assert!(
            plan.status.success(),
            "{engine}: {}",
            String::from_utf8_lossy(&plan.stderr)
        );
        let listed = stage.ends(0, &["ps"]).await;
        let row = listed
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| row["service"] == "line");
        assert!(row.is_some_and(|row| row["colour"].is_null()), "{engine}: {listed}");
        stage.end().await;
    })
    .await;
}
