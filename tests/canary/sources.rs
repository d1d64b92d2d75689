//! Gates on what somebody else measures, from the configuration to the receipt.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use arkwright::model::Colour;
use serde_json::json;

use crate::lab::until;
use crate::server::Server;
use crate::stage::{Setting, Stage, everywhere, meanwhile};

/// What Prometheus answers to a query with one number.
fn number(value: &str) -> String {
    let result = json!([{ "metric": {}, "value": [1_790_000_000, value] }]);
    json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prometheus_lets_one_pass_and_takes_the_next_back() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let prometheus = Server::start(200, &number("97.5")).await;
        let gates = format!(
            "logins: {{ source: prometheus, url: \"{}\", query: \"logins{{version='$colour'}}\", min: 95, \
             abort_under: 90, every: 1s, window: 5s }}",
            prometheus.url()
        );
        let setting = Setting {
            release: "steps: [{ weight: 5, hold: 3s }], gates: [logins]",
            gates: &gates,
            ..Setting::default()
        };
        let stage = Stage::up(folder.path(), &host, setting).await;
        let receipt = stage.deploy(0, "1.1.0").await;
        let lines = receipt["lines"].to_string();
        assert!(
            lines.contains("logins: passed, the query's value 97.5"),
            "{engine}: {lines}"
        );
        assert!(
            prometheus.asked()[0].contains("/api/v1/query"),
            "{engine}: {:?}",
            prometheus.asked()
        );

        prometheus.say(200, &number("12"));
        let receipt = stage.deploy(1, "1.0.0").await;
        let because = receipt["because"].as_str().expect("a reason");
        println!("{engine}: {because}");
        assert!(
            because.contains("gate logins: the query's value 12, under abort_under 90"),
            "{engine}: {because}"
        );
        assert_eq!(stage.version().await.as_deref(), Some("1.1.0"));
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_takes_it_back_the_moment_its_figure_is_over() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("queue-length");
        std::fs::write(&program, "#!/bin/sh\necho \"$ARKWRIGHT_SERVICE $ARKWRIGHT_COLOUR\" >asked\ncat length\n")
            .expect("written");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a program");
        let length = folder.path().join("length");
        std::fs::write(&length, "looking\n17\n").expect("written");
        let setting = Setting {
            release: "steps: [{ weight: 5, hold: 5m }], gates: [queue]",
            gates: "queue: { source: command, run: [./queue-length], max: 100, abort_over: 1000, every: 1s, window: 5s }",
            ..Setting::default()
        };
        let stage = Stage::up(folder.path(), &host, setting).await;
        let deploying = stage.deploy(1, "1.1.0");
        let filling = async {
            let asked = || std::fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
            until("a look", 30, async || asked() == "web green\n").await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(stage.weight(Colour::Green).await, Some(5), "{engine}: 17 is no reason");
            std::fs::write(&length, "looking\n1718\n").expect("written");
        };
        let (receipt, ()) = meanwhile(deploying, filling).await;
        let because = receipt["because"].as_str().expect("a reason");
        println!("{engine}: {because}");
        assert!(
            because.contains("gate queue: the command's value 1718, over abort_over 1000"),
            "{engine}: {because}"
        );
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}
