//! The Hwayo stack of `compose/hwayo` on every engine there is: one replica of each service, two of the gateway.

#[path = "common/cli.rs"]
mod cli;
mod common;
mod lab;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use arkwright::config;
use arkwright::model::Span;
use serde_json::Value;

use cli::Cli;
use lab::{Connection, Load, Sockets, until};

const HEALTH: [(&str, &str); 6] = [
    ("web", "/health"),
    ("api-gateway", "/api/v1/health"),
    ("auth", "/auth/health"),
    ("workflow", "/workflow/health"),
    ("notification", "/notification/health"),
    ("report", "/report/health"),
];

/// For a host of two processors where no registry answers.
const SETTINGS: &str = "
POSTGRES_PASSWORD=owner-of-everything
DATABASE_PASSWORD=what-the-services-know
BACKUP_PASSWORD=what-backups-know
REDIS_PASSWORD=what-the-cache-knows
POSTGRES_IMAGE=localhost/hwayo/postgres:15
REDIS_IMAGE=localhost/memoryark/redis:7.0
NGINX_IMAGE=localhost/memoryark/nginx:1.22
PROMETHEUS_IMAGE=localhost/memoryark/prometheus:2.42
WEB_REPLICAS=1
API_GATEWAY_REPLICAS=2
AUTHN_REPLICAS=1
WORKFLOW_REPLICAS=1
NOTIFICATION_REPLICAS=1
REPORT_REPLICAS=1
REPORT_CPUS=2.0
";

/// The ports of a copy, both on loopback.
struct Ports {
    http: SocketAddr,
    prometheus: SocketAddr,
}

impl Ports {
    /// Free ones at this moment, different from each other.
    fn free() -> Self {
        let held = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
        let [http, prometheus] = held.each_ref().map(|l| l.local_addr().expect("an address"));
        Ports { http, prometheus }
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/hwayo")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &copied),
            false => drop(fs::copy(&path, &copied).expect("copied")),
        }
    }
}

/// A copy to run, with `more` settings.
fn stack(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy(&shipped(), folder.path());
    fs::write(folder.path().join(".env"), format!("{SETTINGS}{more}")).expect("written");
    folder
}

/// The shipped way of a release without what waits: gates want minutes of traffic, the last look comes after ten.
fn hurry(folder: &Path) {
    let file = folder.join("arkwright.yaml");
    let text = fs::read_to_string(&file).expect("read");
    let mut config: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    let releases = config["services"].as_mapping_mut().expect("services");
    for (_, service) in releases.iter_mut() {
        let release = service["release"].as_mapping_mut().expect("a release");
        for key in ["gates", "inconclusive", "probe", "settle"] {
            release.remove(key).expect("part of every release");
        }
    }
    config.as_mapping_mut().expect("a map").remove("gates");
    config["router"]["image"] = "localhost/memoryark/haproxy:2.6".into();
    fs::write(file, serde_yaml::to_string(&config).expect("YAML")).expect("written");
}

/// Status and body of one request; nothing of an answer is status 0.
async fn ask(to: SocketAddr, method: &str, path: &str) -> (u16, Value) {
    let answer = async { Connection::open(to).await?.send(method, path, "", "").await };
    let (status, body) = answer.await.unwrap_or_default();
    (status, serde_json::from_str(&body).unwrap_or_default())
}

#[test]
fn what_is_shipped_is_the_release_that_was_asked_for() {
    let file = shipped().join("arkwright.yaml");
    let text = fs::read_to_string(&file).expect("read");
    let services = HEALTH.map(|(name, _)| name.parse().expect("a name")).into();
    let config = config::load(&file, &text, &services).expect("a configuration");
    for (name, path) in HEALTH {
        let release = &config.services[name].release;
        assert_eq!(release.health.as_ref().map(|health| health.http.as_str()), Some(path));
        let steps = release.steps.iter().map(|step| (step.weight, step.hold.to_string()));
        let asked = [(5, "15m"), (25, "30m"), (50, "30m")].map(|(weight, hold)| (weight, hold.to_owned()));
        assert_eq!(steps.collect::<Vec<_>>(), asked, "{name}");
        assert_eq!(release.settle, Some(Span::seconds(600)), "{name}");
        assert_eq!(release.keep_warm, Span::seconds(24 * 3600), "{name}");
        // Whoever asks for more than the four that hold everywhere.
        let own: &[&str] = match name {
            "api-gateway" => &["availability"],
            "auth" => &["logins"],
            "workflow" => &["submissions"],
            "report" => &["reports"],
            _ => &[],
        };
        let gates: Vec<String> = config.gates_of(release).into_iter().map(|gate| gate.name).collect();
        assert_eq!(
            gates,
            [&["errors", "latency", "cpu", "memory"][..], own].concat(),
            "{name}"
        );
    }
    for (gate, key, limits) in [
        ("errors", "max", ["1 %", "5 %"]),
        ("latency", "max", ["2 s", "5 s"]),
        ("cpu", "max", ["80 %", "95 %"]),
        ("memory", "max", ["85 %", "95 %"]),
        ("logins", "min", ["95", "90"]),
        ("submissions", "min", ["98", "95"]),
        ("reports", "min", ["99", "98"]),
    ] {
        let gate = &config.gates[gate];
        let have = match key {
            "max" => [gate.max, gate.abort_over],
            _ => [gate.min, gate.abort_under],
        };
        assert_eq!(have.map(|limit| limit.expect("a limit").to_string()), limits);
    }
}

#[test]
fn docker_compose_of_old_reads_the_file() {
    if Command::new("docker-compose").arg("version").output().is_err() {
        common::not_run("docker-compose is not installed");
        return;
    }
    let folder = stack("");
    let read = |word: &str| {
        let output = Command::new("docker-compose")
            .args(["config", word])
            .current_dir(folder.path())
            .output()
            .expect("docker-compose runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(read("--quiet"), "");
    let services = read("--services");
    for (service, _) in HEALTH {
        assert!(services.lines().any(|line| line == service), "{service}: {services}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hwayo_goes_up_answers_through_the_router_and_a_release_of_auth_loses_nothing() {
    for (engine, host) in common::engines() {
        let ports = Ports::free();
        let folder = stack(&format!(
            "HTTP_PORT={}\nPROMETHEUS_PORT={}\n",
            ports.http.port(),
            ports.prometheus.port()
        ));
        hurry(folder.path());
        let cli = Cli {
            folder: folder.path(),
            host: &host,
            project: format!("hwayo-{}", std::process::id()),
        };

        let config = cli.ends(0, &["config", "--format", "json"]);
        for secret in ["owner-of", "what-the-services", "what-backups", "what-the-cache"] {
            assert!(!config.contains(secret), "{secret} is shown");
        }
        let config: Value = serde_json::from_str(&config).expect("JSON");
        for (service, _) in HEALTH {
            let service = &config["services"][service];
            assert_eq!(
                (&service["user"], &service["read_only"]),
                (&"1000:1000".into(), &true.into())
            );
            assert_eq!(service["security_opt"][0], "no-new-privileges:true");
        }

        let creates = |plan: &Value| {
            let all = plan["changes"].as_array().expect("changes").clone();
            all.iter().filter(|c| c["action"] == "create container").count()
        };
        // Seven of the six services, the router, nginx, PostgreSQL, Redis, Prometheus.
        let planned = cli.json(&["plan", "--json"]);
        assert_eq!(creates(&planned), 12, "{engine}: {planned}");
        cli.ends(0, &["up"]);
        until("nginx", 20, async || ask(ports.http, "GET", "/health").await.0 == 200).await;
        for (service, path) in HEALTH {
            let (status, said) = ask(ports.http, "GET", path).await;
            assert_eq!(
                (status, &said["service"], &said["version"]),
                (200, &service.into(), &"1.0.0".into()),
                "{engine} {path}: {said}"
            );
        }
        let again = cli.json(&["up", "--json"]);
        assert_eq!(
            (&again["changes"], &again["writes"]),
            (&Value::Array(vec![]), &0.into()),
            "{engine}"
        );

        // A login, a submission into the database and a report of it, all by way of the gateway.
        for path in ["auth/login", "data-records", "reports/generate"] {
            let (status, said) = ask(ports.http, "POST", &format!("/api/v1/{path}")).await;
            assert_eq!(status, 200, "{engine} {path}: {said}");
        }
        let (_, report) = ask(ports.http, "POST", "/report/generate").await;
        assert_eq!(report["done"]["submissions"], "1", "{engine}: {report}");

        let sockets = Sockets::open(ports.http, "/notification/ws", 3).await;
        let load = Load::start(ports.http, "/auth/login", 6, Duration::from_millis(5), "");
        let receipt = cli.json(&[
            "deploy",
            "auth=localhost/hwayo/auth:1.1.0",
            "--no-canary",
            "--yes",
            "--json",
        ]);
        let (counted, cut) = (load.stop().await, sockets.cut().await);
        println!(
            "{engine}: {} logins, slowest {:?}, {:?}",
            counted.sent, counted.slowest, counted.answers
        );
        assert_eq!(counted.lost, Vec::<String>::new(), "{engine}: of {}", counted.sent);
        assert!(counted.answers["answered"] > 100, "{engine}: {counted:?}");
        assert_eq!(
            cut, 0,
            "{engine}: a release of one service cuts no WebSocket of another"
        );
        let receipt = receipt.as_array().map_or(&receipt, |all| &all[0]);
        assert_eq!(receipt["outcome"], "deployed", "{engine}: {receipt}");
        let (_, said) = ask(ports.http, "GET", "/auth/health").await;
        assert_eq!(said["version"], "1.1.0", "{engine}: {said}");

        // What gates on business figures ask: both versions, each by itself.
        until("Prometheus to have asked both colours", 40, async || {
            let path = "/api/v1/query?query=count(user_login_attempts_total)";
            let (_, said) = ask(ports.prometheus, "GET", path).await;
            said["data"]["result"][0]["value"][1] == "2"
        })
        .await;

        cli.ends(0, &["down", "--volumes", "--yes"]);
        assert_eq!(cli.json(&["ps", "--json"]), Value::Array(vec![]), "{engine}");
    }
}
