//! `arkwright init` on the stack it was made for, as its owners wrote it.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn arkwright(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .output()
        .expect("the binary runs")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The real MemoryArk project in a folder of its own.
fn memoryark() -> Option<tempfile::TempDir> {
    let from = common::cases()?.join("memoryark");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["docker-compose.yml", "nginx.conf", "line-nginx.conf"] {
        fs::copy(from.join(name), folder.path().join(name)).expect("copied");
    }
    fs::create_dir(folder.path().join("line-service")).expect("made");
    fs::copy(
        from.join("line-service.env.example"),
        folder.path().join("line-service/.env"),
    )
    .expect("copied");
    Some(folder)
}

#[test]
fn the_real_memoryark_file_gets_a_configuration_that_can_be_read_back() {
    let Some(folder) = memoryark() else { return };
    let folder = folder.path();
    let output = arkwright(folder, &["-p", "memoryark", "init", "--timezone", "Asia/Taipei"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));

    let text = fs::read_to_string(folder.join("arkwright.yaml")).expect("written");
    let written: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    let services = &written["services"];
    // The back end opens its SQLite file alone, so it is swapped in place; the LINE service goes by weights.
    assert_eq!(services["backend"]["release"]["swap"], "hold");
    assert_eq!(services["backend"]["release"]["port"], 8081);
    assert_eq!(services["backend"]["release"]["health"]["http"], "/api/health");
    assert_eq!(services["line-service"]["release"]["port"], 3000);
    assert!(services["line-service"]["release"]["steps"].is_sequence());
    assert!(services["redis"].is_null() && services["nginx"].is_null(), "{text}");
    assert_eq!(written["timezone"], "Asia/Taipei");
    let sets = &written["backups"]["sets"];
    assert_eq!(sets["database"]["sources"][0]["sqlite"], "./data/memoryark.db");
    assert_eq!(sets["uploads"]["sources"][0]["path"], "./uploads");
    assert_eq!(written["backups"]["recipients"].as_sequence().map(Vec::len), Some(2));
    assert!(
        !text.contains("logs") && !text.contains("temp"),
        "no logs are backed up: {text}"
    );

    let recovery = folder.join("arkwright-recovery.key");
    let mode = fs::metadata(&recovery)
        .expect("the recovery identity")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let identity = fs::read_to_string(&recovery).expect("read");
    assert!(identity.contains("AGE-SECRET-KEY-"));
    assert!(!told(&output).contains("AGE-SECRET-KEY-"), "no secret is printed");

    fs::create_dir(folder.join("data")).expect("made");
    let database = rusqlite::Connection::open(folder.join("data/memoryark.db")).expect("opens");
    database
        .execute_batch("create table files (path text); insert into files values ('a.jpg')")
        .expect("written");
    let run = arkwright(folder, &["-p", "memoryark", "backup", "run", "database"]);
    assert_eq!(run.status.code(), Some(0), "the file is read back: {}", told(&run));
    let listed = arkwright(folder, &["-p", "memoryark", "--json", "backup", "list"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let snapshots = listed[0]["snapshots"].as_array();
    assert_eq!(snapshots.map(Vec::len), Some(1), "{listed}");
}

#[test]
fn a_file_that_is_there_is_kept_unless_told_and_keys_always_are() {
    let Some(folder) = memoryark() else { return };
    let folder = folder.path();
    assert_eq!(arkwright(folder, &["init"]).status.code(), Some(0));
    let file = folder.join("arkwright.yaml");
    let first = fs::read_to_string(&file).expect("written");
    let edited = first.clone() + "# edited\n";
    fs::write(&file, &edited).expect("edited");

    let again = arkwright(folder, &["init"]);
    assert_eq!(again.status.code(), Some(3), "{}", told(&again));
    assert!(told(&again).contains("--force"), "{}", told(&again));
    assert_eq!(fs::read_to_string(&file).expect("read"), edited);

    let forced = arkwright(folder, &["init", "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{}", told(&forced));
    assert_eq!(
        fs::read_to_string(&file).expect("read"),
        first,
        "the same proposal, to the same recipients"
    );
}
