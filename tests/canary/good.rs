//! A version that is well: every gate passes at every hold, with figures.

use std::time::Duration;

use crate::load::{Clients, Who};
use crate::stage::{Setting, Stage, everywhere};

const GATES: &str = "\
    errors: { source: router, metric: error_rate, max: 1%, abort_over: 5%, min_requests: 20, every: 1s, window: 5s }, \
    latency: { source: router, metric: p95, max: 2s, abort_over: 5s, min_requests: 20, every: 1s, window: 5s }, \
    memory: { source: engine, metric: memory, max: 70%, abort_over: 80%, every: 1s, window: 5s }";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_passes_settles_and_the_receipt_has_the_figures() {
    everywhere(async |engine, host| {
        let folder = tempfile::tempdir().expect("a folder");
        let setting = Setting {
            service: "mem_limit: 96m",
            release: "steps: [{ weight: 5, hold: 5s }, { weight: 50, hold: 2s }], settle: 2s, \
                      gates: [errors, latency, memory], probe: { http: /health, every: 500ms }",
            gates: GATES,
        };
        let stage = Stage::up(folder.path(), &host, setting).await;
        let clients = Clients::start(stage.at, 32, Duration::from_millis(100));
        let receipt = stage.deploy(0, "1.1.0").await;
        let answers = clients.stop().await;
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        let lines = receipt["lines"].as_array().expect("lines");
        for hold in ["gates at 5 %", "gates at 50 %", "settled"] {
            let judged: Vec<&str> = lines
                .iter()
                .filter(|line| line["label"] == hold)
                .filter_map(|line| line["value"].as_str())
                .collect();
            println!("{engine}: {hold}: {judged:?}");
            let [probe, errors, latency, memory] = judged[..] else {
                panic!("{engine}: a probe and three gates: {judged:?}");
            };
            assert!(
                probe.contains(" 0 failed") && probe.starts_with("probe: passed, "),
                "{engine}: {probe}"
            );
            assert!(
                errors.starts_with("errors: passed, error_rate 0 % of "),
                "{engine}: {errors}"
            );
            assert!(latency.starts_with("latency: passed, p95 "), "{engine}: {latency}");
            assert!(memory.starts_with("memory: passed, memory "), "{engine}: {memory}");
        }
        let lost: Vec<_> = answers
            .iter()
            .filter(|one| matches!(one.who, Who::Lost(_) | Who::Spoilt))
            .collect();
        assert!(lost.is_empty(), "{engine}: {lost:?} of {}", answers.len());
        assert_eq!(answers.last().expect("an answer").who, Who::New);
        assert_eq!(stage.version().await.as_deref(), Some("1.1.0"));
        stage.end(&["1.0.0", "1.1.0"]).await;
    })
    .await;
}
