use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use arkwright::release::{Look, Verdict, judge};
use serde_json::{Value, json};

use crate::bench::{gate, gate_in, scene, simple, unknown, value};

fn shell(line: &str, more: Value) -> Value {
    let mut config = json!({ "source": "command", "run": ["sh", "-c", line] });
    config
        .as_object_mut()
        .expect("a map")
        .extend(more.as_object().expect("a map").clone());
    config
}

#[tokio::test]
async fn the_last_line_is_the_figure() {
    let looker = simple();
    for (line, limit, wanted) in [
        ("echo 5; echo; echo ' 0.25 '; echo", json!({ "max": 1 }), 0.25),
        ("echo 300ms", json!({ "max": "2s" }), 0.3),
        ("echo 0.3", json!({ "max": "2s" }), 0.3),
        ("echo 12%", json!({ "max": "20%" }), 12.0),
        (
            "head -c 300000 /dev/zero | tr '\\0' x; echo; echo 7",
            json!({ "max": 9 }),
            7.0,
        ),
        ("echo 1; echo 99 >&2", json!({ "max": 9 }), 1.0),
    ] {
        assert_eq!(
            value(&looker.look(&gate(shell(line, limit)), &scene()).await),
            wanted,
            "{line}"
        );
    }
    for (line, wanted) in [
        ("true", "printed nothing"),
        ("echo many", "`many` is no number"),
        ("echo nan", "no number"),
        ("echo 5s", "does not fit"),
        ("echo 5; exit 1", "exit code 1: 5"),
        ("echo broken >&2; exit 7", "exit code 7: broken"),
        ("kill -9 $$", "ended by a signal"),
        ("printf '\\377\\376\\n'", "no number"),
    ] {
        let gate = gate(shell(line, json!({ "max": 9 })));
        let why = unknown(&gate, &looker.look(&gate, &scene()).await);
        assert!(why.contains(wanted), "{line}: {why}");
    }
}

#[tokio::test]
async fn without_limits_the_exit_code_decides() {
    let looker = simple();
    let looked = async |line: &str| looker.look(&gate(shell(line, json!({}))), &scene()).await;
    assert_eq!(looked("echo whatever").await, Look::Decided(Ok(())));
    assert_eq!(
        looked("echo why; echo not; exit 1").await,
        Look::Decided(Err("not".into()))
    );
    assert_eq!(looked("echo why >&2; exit 1").await, Look::Decided(Err("why".into())));
    assert_eq!(looked("exit 1").await, Look::Decided(Err("it says no".into())));
    for (line, wanted) in [
        ("exit 2", "exit code 2"),
        ("nonsense-of-ours", "exit code 127"),
        ("kill -15 $$", "a signal"),
    ] {
        let gate = gate(shell(line, json!({})));
        let why = unknown(&gate, &looker.look(&gate, &scene()).await);
        assert!(why.contains(wanted), "{line}: {why}");
    }
    for run in [json!(["./missing"]), json!(["arkwright-no-such-program"]), json!(["/"])] {
        let gate = gate(json!({ "source": "command", "run": run }));
        let why = unknown(&gate, &looker.look(&gate, &scene()).await);
        assert!(why.contains("could not be run"), "{why}");
    }
}

#[tokio::test]
async fn it_runs_in_its_folder_with_an_environment_of_its_own_and_no_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("look");
    let text = "#!/bin/sh\nenv | grep -v -e '^_=' -e ^SHLVL= | sort > seen\npwd >> seen\necho \"$1\" >> seen\necho 1\n";
    std::fs::write(&program, text).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("executable");
    let config = json!({ "source": "command", "run": ["./look", "$HOME; a  b"], "max": 1 });
    let look = simple().look(&gate_in(config, folder.path()), &scene()).await;
    assert_eq!(value(&look), 1.0);
    let seen = std::fs::read_to_string(folder.path().join("seen")).expect("it ran in its folder");
    let real = folder.path().canonicalize().expect("a folder");
    let home = std::env::var("HOME").unwrap_or_else(|_| "/".into());
    let expected = format!(
        "ARKWRIGHT_COLOUR=green\nARKWRIGHT_PROJECT=ark\nARKWRIGHT_SERVICE=web\nHOME={home}\n\
         PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD={0}\n{0}\n$HOME; a  b\n",
        real.display()
    );
    assert_eq!(seen, expected);
}

fn alive(file: &Path) -> bool {
    let pid = std::fs::read_to_string(file).expect("a process was noted");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // One that nobody waited for yet has ended all the same.
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn whatever_it_started_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let looker = simple();
    let slow = "sleep 300 & echo $! > child; echo $$ > own; wait";
    let mut config = shell(slow, json!({ "max": 1 }));
    config["timeout"] = json!("700ms");
    let gate = gate_in(config, folder.path());
    let began = Instant::now();
    let look = looker.look(&gate, &scene()).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(unknown(&gate, &look).contains("within 700ms"), "{look:?}");
    let endless = shell("yes", json!({ "max": 1, "timeout": "500ms" }));
    assert!(unknown(&gate, &looker.look(&gate_in(endless, folder.path()), &scene()).await).contains("within 500ms"));

    // One that answers and leaves a child behind that holds its output open.
    let forking = shell("sleep 300 & echo $! > left; echo 1", json!({ "max": 1 }));
    let began = Instant::now();
    assert_eq!(
        value(&looker.look(&gate_in(forking, folder.path()), &scene()).await),
        1.0
    );
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    tokio::time::sleep(Duration::from_millis(200)).await;
    for file in ["child", "own", "left"] {
        assert!(!alive(&folder.path().join(file)), "{file} lives on");
    }
    let judged = judge(&gate, &Look::Unknown("late".into()));
    assert!(matches!(judged, Verdict::Inconclusive(_)));
}
