//! A project whose backups go to a bucket, by the program itself.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use arkwright::ports::Store;
use hyper::Method;
use serde_json::{Value, json};

use super::server::{ACCESS_KEY, SECRET_KEY, Server, Trouble, tree};

struct Project {
    root: tempfile::TempDir,
    recovery: String,
}

impl Project {
    fn of(server: &Server, more: Value) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let project = Project {
            recovery: root.path().join("recovery").display().to_string(),
            root,
        };
        fs::write(
            project.at("compose.yaml"),
            "name: ark\nservices: { web: { image: x } }\n",
        )
        .expect("written");
        let made = project.run(&["--json", "key", "new", "--recovery", &project.recovery]);
        let made: Value = serde_json::from_slice(&made.stdout).expect("keys");
        let config = json!({ "backups": {
            "recipients": [made["recipients"]["recovery"], made["recipients"]["drill"]],
            "stores": { "offsite": { "s3": server.config(more) } },
            "sets": { "full": { "sources": [{ "path": "data" }] } },
        }});
        fs::write(project.at("arkwright.yaml"), config.to_string()).expect("written");
        fs::create_dir(project.at("data")).expect("made");
        fs::write(project.at("data/notes.txt"), "what matters").expect("written");
        project
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arkwright"));
        command
            .args(args)
            .current_dir(self.root.path())
            .env("ARKWRIGHT_STATE", self.at("state"))
            .env_remove("RUST_LOG");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().expect("the binary runs");
        let said = format!("{output:?}");
        assert!(
            !said.contains(SECRET_KEY) && !said.contains(ACCESS_KEY),
            "{args:?} tells the credentials"
        );
        output
    }

    fn succeeds(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("the binary runs")
    }

    /// Bytes that no compression makes small.
    fn photo(&self, name: &str, megabytes: usize) {
        let mut chance = fastrand::Rng::with_seed(7);
        let bytes: Vec<u8> = (0..megabytes << 20).map(|_| chance.u8(..)).collect();
        fs::write(self.at("data").join(name), bytes).expect("written");
    }
}

fn same(a: &Path, b: &Path) {
    for entry in fs::read_dir(a).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        let (a, b) = (fs::read(a.join(&name)), fs::read(b.join(&name)));
        assert!(a.expect("read") == b.expect("restored"), "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_backed_up_to_a_bucket_verified_and_restored() {
    let server = Server::start().await;
    let project = Project::of(&server, json!({ "object_lock": { "mode": "governance", "days": 30 } }));
    project.photo("photo.jpg", 20);
    project.succeeds(&["backup", "run"]);
    fs::write(project.at("data/more.txt"), "more").expect("written");
    // A lock that is about to end.
    let segments: Vec<String> = server
        .settings()
        .locks
        .keys()
        .filter(|key| key.contains("/seg/"))
        .cloned()
        .collect();
    for key in &segments {
        server.settings().locks.insert(key.clone(), 1);
    }
    project.succeeds(&["backup", "run"]);
    let extended = segments
        .iter()
        .filter(|key| server.settings().locks[*key] > chrono::Utc::now().timestamp());
    assert!(
        extended.count() >= 2,
        "segments of the first snapshot that the second refers to"
    );
    let listed = project.succeeds(&["--json", "backup", "list"]);
    assert_eq!(listed[0]["snapshots"].as_array().map(Vec::len), Some(2), "{listed}");
    let verified = project.succeeds(&["--json", "backup", "verify", "--level", "files"]);
    assert_eq!(verified[0]["damaged"], json!([]), "{verified}");
    project.succeeds(&["backup", "restore", "full", "--to", "back"]);
    same(&project.at("data"), &project.at("back/data"));

    // Another host, with the recovery key and the credentials alone.
    let config = server.config(json!({}));
    let place = format!(
        "s3://{}/{}?endpoint={}&path_style=true&credentials={}",
        config.bucket,
        config.prefix,
        server.endpoint,
        server.credentials().display()
    );
    let signing = project.at("state/ark/keys/signing.pub").display().to_string();
    let from = [
        "--from",
        &place,
        "--public-key",
        &signing,
        "--identity",
        &project.recovery,
    ];
    let restore = ["backup", "restore", "full", "--to", "elsewhere"];
    project.succeeds(&[&restore[..], &from].concat());
    same(&project.at("data"), &project.at("elsewhere/data"));

    // The log in all its detail does not hold the secret either.
    let logged = project
        .command(&["backup", "list"])
        .env("RUST_LOG", "trace")
        .output()
        .expect("run");
    assert!(logged.status.success() && !format!("{logged:?}").contains(SECRET_KEY));

    // A changed byte is found, and named.
    let (damaged, mut bytes) = tree(&server)
        .into_iter()
        .find(|(name, _)| name.contains("/seg/"))
        .expect("a segment");
    bytes[300] ^= 1;
    fs::write(server.objects().join(&damaged), bytes).expect("written");
    let verified = project.run(&["--json", "backup", "verify", "--level", "objects"]);
    assert_eq!(verified.status.code(), Some(7));
    assert!(damaged.ends_with("age") && format!("{verified:?}").contains(damaged.trim_start_matches("ark/host-1/")));

    // A bucket that was emptied is no first backup.
    fs::remove_dir_all(server.objects().join("ark")).expect("removed");
    let lost = project.run(&["backup", "run"]);
    assert!(
        !lost.status.success() && format!("{lost:?}").contains("man/0000000002.json"),
        "{lost:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_trouble_makes_no_half_snapshot() {
    let server = Server::start().await;
    let project = Project::of(&server, json!({}));
    project.photo("photo.jpg", 20);
    for (method, part) in [
        (Method::PUT, "seg/"),
        (Method::PUT, "partNumber=1"),
        (Method::PUT, "man/"),
        (Method::POST, "uploadId"),
        (Method::GET, "list-type=2"),
    ] {
        server.plan(method.clone(), part, Trouble::Refuse(500, "InternalError"), 2);
        server.plan(method.clone(), part, Trouble::Reset, 1);
        server.plan(method, part, Trouble::Lost, 1);
    }
    project.succeeds(&["backup", "run"]);
    assert!(server.played(), "all of it happened");
    server.clear();
    // A right that is lost midway: the header cannot be written.
    server.plan(
        Method::PUT,
        "man/0000000002.json?",
        Trouble::Refuse(403, "AccessDenied"),
        usize::MAX,
    );
    fs::write(project.at("data/new.txt"), "new").expect("written");
    let failed = project.run(&["backup", "run"]);
    assert!(
        !failed.status.success() && format!("{failed:?}").contains("AccessDenied"),
        "{failed:?}"
    );
    server.clear();
    let listed = project.succeeds(&["--json", "backup", "list"]);
    assert_eq!(listed[0]["snapshots"].as_array().map(Vec::len), Some(1), "{listed}");
    project.succeeds(&["backup", "verify", "--level", "files"]);
    project.succeeds(&["backup", "run"]);
    // Answers that break off while it is read.
    server.plan(Method::GET, "/seg/", Trouble::Cut(10_000), 3);
    server.plan(Method::GET, "/man/", Trouble::Refuse(503, "SlowDown"), 2);
    project.succeeds(&["backup", "restore", "full", "--to", "back"]);
    assert!(server.played());
    same(&project.at("data"), &project.at("back/data"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_killed_while_it_uploads_leaves_nothing_once_it_ran_again() {
    let server = Server::start().await;
    let project = Project::of(&server, json!({}));
    project.photo("photo.jpg", 30);
    server.plan(Method::PUT, "partNumber=3", Trouble::Silence, usize::MAX);
    let mut killed = project.spawn(&["backup", "run"]);
    for _ in 0..300 {
        if !server.seen(Method::PUT, "partNumber=3").is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    assert_eq!(server.settings().uploads.len(), 1, "it was in the middle of one");
    assert!(
        project
            .at("state/ark/uploads/offsite")
            .read_dir()
            .is_ok_and(|left| left.count() > 0)
    );
    server.clear();
    // Whoever only looks clears nothing.
    project.succeeds(&["backup", "list"]);
    assert_eq!(server.settings().uploads.len(), 1);
    project.succeeds(&["backup", "run"]);
    assert!(server.settings().uploads.is_empty());
    assert_eq!(
        project
            .at("state/ark/uploads/offsite")
            .read_dir()
            .expect("there")
            .count(),
        0
    );
    project.succeeds(&["backup", "verify", "--level", "files"]);
    assert!(server.store().list("seg/").await.expect("listed").len() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_whoever_took_the_host_overwrote_is_restored_from_the_versions_before() {
    let server = Server::start().await;
    server.settings().versioned = true;
    let project = Project::of(&server, json!({ "object_lock": { "mode": "compliance", "days": 30 } }));
    project.photo("photo.jpg", 10);
    project.succeeds(&["backup", "run"]);
    let before = chrono::Utc::now().to_rfc3339();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let store = server.store();
    for object in store.list("").await.expect("listed") {
        let rubbish: arkwright::ports::ByteStream = Box::pin(futures_util::stream::iter([Ok("rubbish".into())]));
        store
            .put(&object.name, rubbish, arkwright::ports::Put::Replace)
            .await
            .expect("overwritten");
    }
    assert!(!project.run(&["backup", "verify"]).status.success());
    assert!(
        !project
            .run(&["backup", "restore", "full", "--to", "now"])
            .status
            .success()
    );
    project.succeeds(&["backup", "verify", "--level", "files", "--at", &before]);
    project.succeeds(&["backup", "restore", "full", "--to", "back", "--at", &before]);
    same(&project.at("data"), &project.at("back/data"));
    let refused = project.run(&["backup", "list", "--at", "yesterday"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
