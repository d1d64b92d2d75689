use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arkwright::config::Gate;
use arkwright::release::{Look, Verdict, judge};
use serde_json::{Value, json};

use crate::bench::{gate, scene, simple, unknown, value};
use crate::common::not_run;
use crate::server::{Server, free_port};

/// A Prometheus on loopback with a folder of its own, which asks one server five times a second.
struct Process {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Process {
    fn start(target: u16) -> Option<Self> {
        if Command::new("prometheus").arg("--version").output().is_err() {
            not_run("prometheus is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
             scrape_configs:\n  - job_name: ark\n    static_configs: [{{ targets: ['127.0.0.1:{target}'] }}]\n"
        );
        std::fs::write(folder.path().join("prometheus.yml"), config).expect("written");
        let port = free_port();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Some(Process {
            child,
            port,
            _folder: folder,
        })
    }

    fn gate(&self, more: Value) -> Gate {
        let mut config = json!({ "source": "prometheus", "url": format!("http://127.0.0.1:{}", self.port) });
        let (all, more) = (config.as_object_mut().expect("a map"), more.as_object().expect("a map"));
        all.extend(more.clone());
        gate(config)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

fn metrics(logins: f64) -> String {
    ["blue", "green"]
        .map(|colour| format!("ark_logins{{service=\"web\",colour=\"{colour}\"}} {logins}\n"))
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_is_asked_for_now_and_for_a_range() {
    let target = Server::start(200, &metrics(97.0)).await;
    let Some(prometheus) = Process::start(target.port) else {
        return;
    };
    let looker = simple();
    let scene = scene();
    let one = r#"ark_logins{service="$service",colour="$colour"}"#;
    let logins = prometheus.gate(json!({ "query": one, "min": 95, "abort_under": 90 }));
    let until = async |wanted: f64| {
        let began = Instant::now();
        loop {
            match looker.look(&logins, &scene).await {
                Look::Seen(reading) if reading.value == wanted => return,
                other => assert!(began.elapsed() < Duration::from_secs(60), "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    until(97.0).await;
    assert_eq!(judge(&logins, &looker.look(&logins, &scene).await), Verdict::Passed);
    target.say(200, &metrics(80.0));
    until(80.0).await;
    assert!(matches!(
        judge(&logins, &looker.look(&logins, &scene).await),
        Verdict::Breached(_)
    ));
    target.say(200, &metrics(97.0));
    until(97.0).await;

    // Now it is well again, and over the range it was not.
    let lately = prometheus.gate(json!({ "query": one, "min": 95, "range": "1m", "every": "200ms" }));
    assert_eq!(value(&looker.look(&lately, &scene).await), 80.0);
    let highest = prometheus.gate(json!({ "query": one, "max": 95, "range": "1m", "every": "200ms" }));
    assert_eq!(value(&looker.look(&highest, &scene).await), 97.0);
    let between = prometheus.gate(json!({ "query": one, "max": 99, "min": 95, "range": "1m", "every": "200ms" }));
    assert_eq!(
        value(&looker.look(&between, &scene).await),
        80.0,
        "the one that is out of the limits"
    );
    for query in ["sum(ark_logins)", "scalar(sum(ark_logins))"] {
        assert_eq!(
            value(
                &looker
                    .look(&prometheus.gate(json!({ "query": query, "min": 1 })), &scene)
                    .await
            ),
            194.0
        );
    }

    for (query, range, wanted) in [
        ("ark_logins", None, "has 2 answers"),
        ("ark_logins", Some("30s"), "has 2 answers"),
        ("ark_nothing", None, "no answer"),
        ("ark_nothing", Some("30s"), "no answer"),
        ("sum(ark_logins) * 0 / 0", None, "is NaN"),
        ("scalar(ark_nothing)", None, "is NaN"),
        ("sum(ark_logins) / 0", None, "is +Inf"),
        ("-sum(ark_logins) / 0", Some("30s"), "is -Inf"),
        ("sum(ark_logins[1m])", None, "answered 400: "),
        ("ark_logins[1m]", None, "is a matrix"),
        ("ark_logins{", None, "answered 400: "),
        ("\"text\"", None, "is a string"),
    ] {
        let mut asked = json!({ "query": query, "max": 1 });
        if let Some(range) = range {
            asked["range"] = json!(range);
        }
        let gate = prometheus.gate(asked);
        let why = unknown(&gate, &looker.look(&gate, &scene).await);
        assert!(why.contains(wanted), "{query}: {why}");
    }

    // What is answered no more goes stale within moments once it is gone, and nothing is told of it.
    target.say(500, "");
    let began = Instant::now();
    while let Look::Seen(_) = looker.look(&logins, &scene).await {
        assert!(began.elapsed() < Duration::from_secs(30), "an old figure is believed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(unknown(&logins, &looker.look(&logins, &scene).await).contains("no answer"));
}

#[tokio::test]
async fn a_server_that_is_none_or_is_away_tells_nothing() {
    let server = Server::start(200, "").await;
    let looker = simple();
    let asked = gate(json!({ "source": "prometheus", "url": server.url(), "query": "up", "max": 1, "timeout": "1s" }));
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b' '; 2 << 20]].concat();
    server.say_raw(&endless);
    let why = unknown(&asked, &looker.look(&asked, &scene()).await);
    assert!(why.contains("more than 1024 KiB"), "{why}");
    for (answer, wanted) in [
        ("garbage", "broke"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "no Prometheus"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2/\r\ncontent-length: 0\r\n\r\n",
            "answered 302",
        ),
        ("HTTP/1.1 401 No\r\ncontent-length: 4\r\n\r\nnono", "answered 401"),
    ] {
        server.say_raw(answer.as_bytes());
        let why = unknown(&asked, &looker.look(&asked, &scene()).await);
        assert!(why.contains(wanted), "{answer}: {why}");
    }
    server.say_raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    unknown(&asked, &looker.look(&asked, &scene()).await);

    let url = format!("http://u:hunter2@127.0.0.1:{}", free_port());
    let away = gate(json!({ "source": "prometheus", "url": url, "query": "up", "max": 1 }));
    let why = unknown(&away, &looker.look(&away, &scene()).await);
    assert!(why.contains("cannot be reached") && !why.contains("hunter2"), "{why}");
}
