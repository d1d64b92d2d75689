use arkwright::model::ContainerId;

use crate::stage::{Stage, good, refusal, restored};

const IMAGE: &str = "localhost/memoryark/prometheus:2.42";

async fn server(stage: &Stage, admin: bool) -> ContainerId {
    let mut spec = stage.spec("metrics", IMAGE);
    let flag = if admin { "--web.enable-admin-api" } else { "" };
    let line = format!(
        "printf 'global: {{scrape_interval: 1s}}\\nscrape_configs: [{{job_name: self, static_configs: [{{targets: [\"127.0.0.1:9090\"]}}]}}]\\n' \
         >/tmp/p.yml; exec prometheus --config.file=/tmp/p.yml --storage.tsdb.path=/prometheus {flag}"
    );
    spec.entrypoint = Some(["sh", "-c"].map(str::to_owned).to_vec());
    spec.command = Some(vec![line]);
    spec.networks = vec![stage.network().await];
    let id = stage.start(&spec).await;
    stage
        .until(
            &id,
            &format!("[ \"$({})\" -gt 3 ]", query(9090, "count_over_time(up[1h])", "")),
        )
        .await;
    id
}

/// One value; nothing in the line needs a quote of its own.
fn query(port: u16, text: &str, at: &str) -> String {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!(
        "wget -q -O - --post-data='query={encoded}{at}' http://127.0.0.1:{port}/api/v1/query | \
         sed -n 's/.*,\"\\([0-9]*\\)\"\\].*/\\1/p'"
    )
}

pub async fn series_are_kept_and_the_snapshot_is_removed(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let id = server(stage, true).await;
    let world = stage.world(r#"[{ "prometheus": "metrics" }]"#);
    let at = format!("&time={}", stage.sh(&id, "date +%s").await.trim());
    let receipt = world.backup().await;
    good(&receipt);
    assert_eq!(
        stage.sh(&id, "ls /prometheus/snapshots").await,
        "",
        "the snapshot stays"
    );
    let folder = restored(&world, "out").await.join("@services/metrics/prometheus");
    // By hand: another server on the same data.
    let archive = world.root.path().join("data.tar");
    let packed = std::process::Command::new("tar")
        .args([
            "-C",
            folder.to_str().expect("text"),
            "-cf",
            archive.to_str().expect("text"),
            ".",
        ])
        .status();
    assert!(packed.expect("tar runs").success());
    stage.by_hand(
        &id,
        &[
            "sh",
            "-c",
            "mkdir /tmp/other && tar --no-same-owner -C /tmp/other -xf -",
        ],
        &archive,
    );
    stage.sh(&id, "printf 'global: {}\\n' >/tmp/o.yml; nohup prometheus --config.file=/tmp/o.yml --storage.tsdb.path=/tmp/other --web.listen-address=127.0.0.1:9191 >/tmp/o.log 2>&1 & true").await;
    stage.until(&id, "wget -q -O - http://127.0.0.1:9191/-/ready").await;
    for text in [
        "count({__name__!=\"\"})",
        "count_over_time(up[10m])",
        "sum(count_over_time(prometheus_http_requests_total[10m]))",
        "sum_over_time(scrape_samples_scraped[10m])",
    ] {
        let (here, there) = (
            stage.sh(&id, &query(9090, text, &at)).await,
            stage.sh(&id, &query(9191, text, &at)).await,
        );
        assert!(!here.trim().is_empty(), "{text}");
        assert_eq!(here, there, "{text}");
    }
}

pub async fn a_closed_admin_api_is_told(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    server(stage, false).await;
    let world = stage.world(r#"[{ "prometheus": "metrics" }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(
        told.contains("service metrics") && told.contains("--web.enable-admin-api"),
        "{told}"
    );
    let world = stage.world(r#"[{ "prometheus": { "service": "metrics", "port": 9099 } }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("cannot be reached"), "{told}");
}
