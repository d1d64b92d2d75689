//! The real MemoryArk project, as its owners wrote it, on every engine there is: only images and their probes are others.

#[path = "common/cli.rs"]
mod cli;
mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use cli::Cli;

const PROJECT: &str = "memoryark-real";

const OVERRIDE: &str = r#"
services:
  redis:
    image: localhost/memoryark/redis:7.0
    # The official image's entry point adds the last two words.
    command: redis-server --appendonly yes --appendfsync everysec --protected-mode no
  nginx: { image: "localhost/memoryark/nginx:1.22" }
  line-nginx:
    image: localhost/memoryark/nginx:1.22
    healthcheck: { test: [CMD, curl, -fsS, "http://localhost/health"], interval: 1s }
  backend:
    image: localhost/memoryark/backend:1.0.0
    healthcheck: { test: [CMD, /memoryark-backend, --spider, -q, "http://127.0.0.1:8081/api/health"], interval: 1s }
  line-service:
    image: localhost/memoryark/line-service:1.0.0
    healthcheck: { test: [CMD, /line-service, --spider, -q, "http://127.0.0.1:3000/health"], interval: 1s }
"#;

/// A copy to run, with the folders its containers write into.
fn memoryark() -> Option<tempfile::TempDir> {
    let from = common::cases()?.join("memoryark");
    let copy = tempfile::tempdir().expect("a folder");
    let folder = copy.path();
    for name in ["docker-compose.yml", "nginx.conf", "line-nginx.conf"] {
        fs::copy(from.join(name), folder.join(name)).expect("copied");
    }
    for name in [
        "line-service/logs",
        "line-service/temp",
        "data",
        "uploads",
        "logs",
        "logs/nginx",
        "frontend/dist",
    ] {
        fs::create_dir_all(folder.join(name)).expect("made");
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o777)).expect("opened");
    }
    // The token the compose file has for a default, filled in where the example leaves it open.
    let example = fs::read_to_string(from.join("line-service.env.example")).expect("read");
    let filled = "MEMORYARK_API_TOKEN=line-service-internal-token-2024";
    fs::write(
        folder.join("line-service/.env"),
        example.replace("MEMORYARK_API_TOKEN=", filled),
    )
    .expect("written");
    fs::write(folder.join("docker-compose.override.yml"), OVERRIDE).expect("written");
    fs::write(folder.join(".env"), "UPLOAD_PATH=/app/uploads\n").expect("written");
    fs::write(folder.join("frontend/dist/index.html"), "<h1>方舟</h1>\n").expect("written");
    Some(copy)
}

/// The answer of the project's own nginx, once there is one.
fn answer(port: u16, path: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = ask().unwrap_or_else(|error| error.to_string());
        if answer.starts_with("HTTP/1.1 200") || Instant::now() >= deadline {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn the_real_memoryark_goes_up_plain_and_released_and_answers_through_its_own_nginx() {
    for (engine, host) in common::engines() {
        let Some(copy) = memoryark() else { return };
        let cli = Cli {
            folder: copy.path(),
            host: &host,
            project: PROJECT.into(),
        };

        let config = cli.ends(0, &["config", "--format", "json"]);
        for secret in ["ccb020fd03f8899d", "line-service-internal-token-2024"] {
            assert!(!config.contains(secret), "{secret} is shown");
        }
        let config: Value = serde_json::from_str(&config).expect("JSON");
        let services = config["services"].as_object().expect("services");
        let names: Vec<&String> = services.keys().collect();
        assert_eq!(names, ["backend", "line-nginx", "line-service", "nginx", "redis"]);
        assert_eq!(services["backend"]["environment"]["ROOT_ADMIN_NAME"], "系統管理員");
        let shown = cli.json(&["config", "--format", "json", "--show-secrets"]);
        let token = &shown["services"]["backend"]["environment"]["LINE_SERVICE_API_TOKEN"];
        assert_eq!(token, "line-service-internal-token-2024");

        let planned = cli.json(&["plan", "--json"]);
        let creates = |plan: &Value| {
            let all = plan["changes"].as_array().expect("changes").clone();
            all.iter().filter(|c| c["action"] == "create container").count()
        };
        assert_eq!(creates(&planned), 5, "{engine}: {planned}");
        cli.ends(0, &["up"]);
        assert!(answer(7001, "/").contains("方舟"), "{engine}");
        for (port, path) in [(7001, "/api/health"), (7002, "/health")] {
            let answer = answer(port, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{engine} {port}{path}: {answer}");
        }
        let again = cli.json(&["up", "--json"]);
        assert_eq!(
            (&again["changes"], &again["writes"]),
            (&Value::Array(vec![]), &Value::from(0))
        );

        // The same project with its two services released: the router takes their names, and nginx is none the wiser.
        cli.ends(0, &["init"]);
        let file = copy.path().join("arkwright.yaml");
        let text = fs::read_to_string(&file).expect("written by init");
        let text = format!("{text}\nrouter: {{ image: \"localhost/memoryark/haproxy:2.6\" }}\n");
        fs::write(&file, text).expect("written");
        let adopted = cli.json(&["up", "--adopt", "--json"]);
        assert!(creates(&adopted) == 3, "{engine}: {adopted}");
        for (port, path) in [(7001, "/api/health"), (7002, "/health")] {
            let answer = answer(port, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{engine} {port}{path}: {answer}");
        }
        let again = cli.json(&["up", "--json"]);
        assert_eq!(again["changes"], Value::Array(vec![]), "{engine}");

        cli.ends(0, &["eject", "--yes", "--set-config-aside"]);
        assert_eq!(
            cli.json(&["ps", "--json"]).as_array().map(Vec::len),
            Some(5),
            "{engine}"
        );
        for (port, path) in [(7001, "/api/health"), (7002, "/health")] {
            let answer = answer(port, path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{engine} {port}{path}: {answer}");
        }
        assert_eq!(cli.json(&["up", "--json"])["changes"], Value::Array(vec![]), "{engine}");
    }
}
