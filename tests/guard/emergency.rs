use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cli::Cli;
use crate::common;
use crate::stage::{BACKEND, fails, line, project, rewrite, write};

const HOLD: &str = "swap: hold, before: [{ backup: database }],";

/// The back end with a database of its own on the disk, its keys, and a program that is told of emergencies.
fn set_up(cli: &Cli<'_>, port: u16) {
    let folder = cli.folder;
    for name in ["data", "uploads"] {
        let made = folder.join(name);
        fs::create_dir_all(&made).expect("a folder");
        std::os::unix::fs::chown(&made, Some(1000), Some(1000)).expect("the back end's user");
    }
    let mounts = format!("volumes: [\"./data:/data\", \"./uploads:/uploads\"]\n    ports: [\"127.0.0.1:{port}:8081\"]");
    write(folder, "", &mounts, "");
    let keys = cli.json(&["--json", "key", "new", "--recovery", "recovery.key"]);
    let recipients = format!("{}, {}", keys["recipients"]["recovery"], keys["recipients"]["drill"]);
    let more = format!(
        "releases: {{ notify: [./notify] }}\nbackups:\n  recipients: [{recipients}]\n  stores: {{ here: {{ path: ./backups }} }}\n  \
         sets: {{ database: {{ sources: [{{ sqlite: ./data/memoryark.db }}] }} }}\n\
         agent: {{ listen: \"127.0.0.1:0\", socket: ./agent.sock }}\n"
    );
    rewrite(folder, HOLD, &more);
    fs::write(folder.join("notify"), "#!/bin/sh\ncat > told.json\n").expect("written");
    fs::set_permissions(folder.join("notify"), fs::Permissions::from_mode(0o755)).expect("made a program");
    cli.ends(0, &["up"]);
    until("the back end to answer", || status(at(port)) == Some(200));
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited for {what}");
        sleep(Duration::from_millis(100));
    }
}

fn status(at: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(40))).ok()?;
    stream.write_all(b"GET /api/health HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// Asks again and again; the statuses it saw, each run of the same one once.
struct Asking {
    over: Arc<AtomicBool>,
    task: JoinHandle<Vec<u16>>,
}

impl Asking {
    fn start(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let task = std::thread::spawn(move || {
            let mut seen: Vec<u16> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                if let Some(status) = status(at(port))
                    && seen.last() != Some(&status)
                {
                    seen.push(status);
                }
                sleep(Duration::from_millis(20));
            }
            seen
        });
        Asking { over, task }
    }

    fn stop(self) -> Vec<u16> {
        self.over.store(true, Ordering::Relaxed);
        self.task.join().expect("no panic")
    }
}

fn database(folder: &Path) -> PathBuf {
    folder.join("data/memoryark.db")
}

fn sql(path: &Path, statement: &str) {
    let connection = rusqlite::Connection::open(path).expect("opened");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    connection.execute_batch(statement).expect("done");
}

fn marks(path: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(path).expect("opened");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    let mut statement = connection
        .prepare("select mark from marks order by rowid")
        .expect("a query");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

fn serving(cli: &Cli<'_>) -> Vec<String> {
    let rows = cli.json(&["ps", "--json"]);
    let rows = rows.as_array().expect("rows");
    let backend = rows
        .iter()
        .filter(|row| row["service"] == "backend" && row["state"] == "running");
    backend
        .filter_map(|row| row["image"].as_str().map(str::to_owned))
        .collect()
}

/// Where an emergency says that it keeps what was there.
fn kept(receipt: &Value) -> PathBuf {
    let steps = receipt["detail"]["steps"].as_array().expect("steps");
    let kept = steps.iter().find_map(|step| step["found"]["kept"].as_str());
    kept.expect("it is kept").into()
}

#[test]
fn the_old_data_and_the_version_that_wrote_it_are_back_and_nothing_is_lost() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let cli = project(folder.path(), &host, engine, "emergency");
        let port = free_port();
        set_up(&cli, port);
        let db = database(folder.path());
        sql(&db, "create table marks (mark text); insert into marks values ('good')");
        cli.ends(0, &["backup", "run", "database"]);
        let target = format!("backend={BACKEND}:1.1.0");
        let planned = cli.ends(0, &["deploy", &target, "--plan"]);
        assert!(
            planned.contains("disk for the copy of the data") && planned.contains("one database"),
            "{planned}"
        );
        cli.ends(0, &["deploy", &target, "--yes"]);
        assert_eq!(serving(&cli), [format!("{BACKEND}:1.1.0")]);

        // What the new version did to the data.
        sql(
            &db,
            "update marks set mark = 'ruined'; insert into marks values ('of the night')",
        );
        let ask = [
            "emergency",
            "backend",
            "--snapshot",
            "1",
            "--reason",
            "1.1.0 ruined the marks",
        ];
        let told = cli.ends(0, &[&ask[..], &["--plan"]].concat());
        assert!(
            told.contains("snapshot 1 of database") && told.contains("version: "),
            "{told}"
        );
        assert!(!folder.path().join("told.json").exists(), "a plan does nothing");
        assert_eq!(marks(&db), ["ruined", "of the night"]);
        assert_eq!(
            cli.run(&ask).status.code(),
            Some(2),
            "it is confirmed, or --yes is said"
        );

        let asking = Asking::start(port);
        let receipt = cli.json(&[&ask[..], &["--yes", "--json"]].concat());
        let seen = asking.stop();
        println!("{engine}: {seen:?} {receipt:#}");
        assert_eq!(receipt["outcome"], "recovered", "{engine}: {receipt}");
        assert_eq!(marks(&db), ["good"], "{engine}");
        assert_eq!(serving(&cli), [format!("{BACKEND}:1.0.0")], "{engine}");
        assert_eq!(status(at(port)), Some(200), "{engine}: the page is off");
        assert!(
            seen.contains(&503) && seen.iter().all(|s| [200, 503].contains(s)),
            "{engine}: {seen:?}"
        );
        assert_eq!(
            marks(&kept(&receipt).join("memoryark.db")),
            ["ruined", "of the night"],
            "{engine}: kept beside"
        );
        cli.ends(0, &["backup", "restore", "saved-database", "--data", "--to", "saved"]);
        let saved = folder.path().join("saved/data/memoryark.db");
        assert_eq!(
            marks(&saved),
            ["ruined", "of the night"],
            "{engine}: saved in the store"
        );
        let notified: Value =
            serde_json::from_slice(&fs::read(folder.path().join("told.json")).expect("told")).expect("JSON");
        assert_eq!(
            (&notified["event"], &notified["reason"]),
            (&"emergency".into(), &"1.1.0 ruined the marks".into())
        );
        assert_eq!(notified["end"]["outcome"], "succeeded", "{notified}");
        let history = cli.json(&["history", "--kind", "emergency", "--json"]);
        assert_eq!(
            line(&history[0], "incident"),
            Some("1.1.0 ruined the marks"),
            "{history}"
        );

        bytes_that_are_no_database(&cli, port, engine);
        through_the_agent(&cli, engine);
        cli.ends(0, &["down", "--volumes", "--yes"]);
    }
}

/// A file that cannot be read as a database is saved byte by byte; one that cannot be saved at all ends it at once,
/// unless someone says that it may.
fn bytes_that_are_no_database(cli: &Cli<'_>, port: u16, engine: &str) {
    let db = database(cli.folder);
    let garbage = b"no database at all ".repeat(500);
    fs::write(&db, &garbage).expect("written");
    fs::rename(cli.folder.join("backups"), cli.folder.join("elsewhere")).expect("moved");
    let ask = [
        "emergency",
        "backend",
        "--snapshot",
        "1",
        "--reason",
        "the file is garbage",
        "--yes",
    ];
    fails(cli, 8, &ask);
    fs::rename(cli.folder.join("elsewhere"), cli.folder.join("backups")).expect("moved back");
    assert_eq!(fs::read(&db).expect("there"), garbage, "nothing was changed");
    assert_eq!(cli.json(&["maintenance", "--json"])[0]["maintenance"], false);

    let image = format!("{BACKEND}:1.1.0");
    let receipt = cli.json(&[&ask[..], &["--json", "--to", &image, "--keep-maintenance"]].concat());
    assert_eq!(receipt["outcome"], "recovered", "{engine}: {receipt}");
    assert_eq!(marks(&db), ["good"], "{engine}");
    assert_eq!(serving(cli), [image], "{engine}");
    assert_eq!(status(at(port)), Some(503), "{engine}: the page is left on");
    cli.ends(0, &["maintenance", "off"]);
    let raw = receipt["detail"]["steps"].to_string();
    assert!(raw.contains("\"raw\":\"the backup of"), "{engine}: {raw}");
    cli.ends(0, &["backup", "restore", "saved-database", "--data", "--to", "raw"]);
    let saved = fs::read(cli.folder.join("raw/data/memoryark.db")).expect("there");
    assert_eq!(saved, garbage, "{engine}: byte by byte");
    let other = cli.json(&["backup", "list", "--json"]).to_string();
    assert!(other.contains("saved-database"), "{other}");
}

/// Where an agent runs the emergency is its to carry out, and whoever asked may go.
fn through_the_agent(cli: &Cli<'_>, engine: &str) {
    let db = database(cli.folder);
    sql(&db, "update marks set mark = 'ruined once more'");
    let log = fs::File::create(cli.folder.join("agent.log")).expect("a log");
    let mut agent = cli.command(&["agent"]);
    let mut agent = agent.stdout(Stdio::null()).stderr(log).spawn().expect("an agent");
    until("the agent", || cli.folder.join("agent.sock").exists());
    let ask = [
        "emergency",
        "backend",
        "--snapshot",
        "1",
        "--reason",
        "once more",
        "--yes",
    ];
    let mut asking = cli.command(&ask);
    let mut asking = asking
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("asked");
    let newest = || {
        let history = cli.json(&["history", "--kind", "emergency", "--json"]);
        history.as_array().and_then(|all| all.last().cloned()).expect("one")
    };
    until("the emergency", || newest()["outcome"] == "running");
    asking.kill().expect("killed");
    asking.wait().expect("gone");
    until("its end", || newest()["outcome"] != "running");
    let receipt = newest();
    assert_eq!(receipt["outcome"], "recovered", "{engine}: {receipt}");
    assert_eq!(line(&receipt, "incident"), Some("once more"), "{engine}: {receipt}");
    assert_eq!(marks(&db), ["good"], "{engine}");
    kill_process(Pid::from_child(&agent), Signal::TERM).expect("told to end");
    assert!(agent.wait().expect("ended").success(), "{engine}");
}

/// Records of the emergency that comes after so many others; none while it has not begun.
fn journalled(cli: &Cli<'_>, others: usize) -> usize {
    let journals = cli.folder.join("state").join(&cli.project).join("journal");
    let names = fs::read_dir(journals)
        .expect("journals")
        .map(|entry| entry.expect("one").path());
    let mut emergencies: Vec<PathBuf> = names
        .filter(|path| path.extension().is_some_and(|e| e == "emergency"))
        .collect();
    emergencies.sort();
    match emergencies.get(others) {
        Some(path) => fs::read(path)
            .expect("readable")
            .iter()
            .filter(|byte| **byte == b'\n')
            .count(),
        None => 0,
    }
}

#[test]
fn killed_anywhere_it_is_taken_to_its_end() {
    for (engine, host) in common::engines() {
        let folder = tempfile::tempdir().expect("a folder");
        let cli = project(folder.path(), &host, engine, "killed");
        let port = free_port();
        set_up(&cli, port);
        let db = database(folder.path());
        sql(&db, "create table marks (mark text); insert into marks values ('good')");
        cli.ends(0, &["backup", "run", "database"]);
        let mut cut = 0;
        // The plan, then two records a step; every other one is a place to be killed at.
        for records in (1..30).step_by(2) {
            let ruined = format!("ruined before {records}");
            let ask = ["emergency", "backend", "--snapshot", "1", "--reason", &ruined, "--yes"];
            sql(&db, &format!("update marks set mark = '{ruined}'"));
            let mut working = cli
                .command(&ask)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            let mut over = || working.try_wait().expect("asked").is_some();
            while journalled(&cli, cut) < records && !over() {
                sleep(Duration::from_millis(2));
            }
            working.kill().expect("killed");
            working.wait().expect("over");
            let last = || {
                let all = cli.json(&["history", "--kind", "emergency", "--json"]);
                let of_round = |all: &Value| {
                    all.as_array()?
                        .iter()
                        .find(|r| r["detail"]["reason"] == *ruined)
                        .cloned()
                };
                of_round(&all).unwrap_or_default()
            };
            let left = last()["outcome"].clone();
            println!("{engine} after {records} records: {left}");
            if left == "recovered" {
                break;
            }
            cli.ends(0, &["resume"]);
            cut += 1;
            let last = last();
            assert_eq!(
                last["outcome"], "recovered",
                "{engine} after {records} records: {last:#}"
            );
            assert_eq!(marks(&db), ["good"], "{engine} after {records} records");
            assert_eq!(
                marks(&kept(&last).join("memoryark.db")),
                [ruined],
                "{engine} after {records} records"
            );
            assert_eq!(status(at(port)), Some(200), "{engine} after {records} records");
            assert_eq!(cli.json(&["maintenance", "--json"])[0]["maintenance"], false);
        }
        assert!(cut >= 5, "{engine}: too few were cut off to say anything: {cut}");
        cli.ends(0, &["down", "--volumes", "--yes"]);
    }
}
