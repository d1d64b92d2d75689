use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::postgres::{psql, server};
use crate::stage::Stage;

const IMAGE: &str = "localhost/hwayo/postgres:15";

fn arkwright(stage: &Stage, folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(["--host", &stage.host])
        .args(args)
        .current_dir(folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .output()
        .expect("the binary runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn says(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub async fn one_database_and_one_output_go_back_into_what_runs(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let id = server(stage).await;
    let fill = "create table orders as select i as id, md5(i::text) as filler from generate_series(1, 30000) i; \
                alter table orders add primary key (id)";
    stage.sh(&id, &psql("shop", fill)).await;
    stage.sh(&id, "echo precious >/tmp/state").await;
    let folder = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| arkwright(stage, folder.path(), args);
    let compose = format!("name: {}\nservices: {{ db: {{ image: {IMAGE} }} }}\n", stage.project);
    fs::write(folder.path().join("compose.yaml"), compose).expect("written");
    let made = run(&["--json", "key", "new", "--recovery", "recovery"]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let config = |restore: &str| {
        let recipients = format!("[{}, {}]", made["recipients"]["recovery"], made["recipients"]["drill"]);
        let text = format!(
            "backups:\n  recipients: {recipients}\n  stores: {{ local: {{ path: b }} }}\n  sets:\n    full:\n      sources:\n        \
             - postgres: {{ service: db, database: shop }}\n        \
             - command: {{ service: db, name: state, run: [cat, /tmp/state]{restore} }}\n"
        );
        fs::write(folder.path().join("arkwright.yaml"), text).expect("written");
    };
    config("");
    let taken = run(&["backup", "run"]);
    assert_eq!(code(&taken), 0, "{}", says(&taken));
    stage.sh(&id, &psql("shop", "delete from orders where id > 7")).await;

    let done = run(&[
        "backup",
        "restore",
        "full",
        "--database",
        "db/shop",
        "--as",
        "shop_before",
    ]);
    assert_eq!(code(&done), 0, "{}", says(&done));
    let sum = "select count(*) || ' ' || md5(string_agg(id || filler, ',' order by id)) from";
    let (there, whole) = (
        stage.sh(&id, &psql("shop_before", &format!("{sum} orders"))).await,
        stage
            .sh(
                &id,
                &psql(
                    "shop",
                    &format!("{sum} (select i as id, md5(i::text) as filler from generate_series(1, 30000) i) t"),
                ),
            )
            .await,
    );
    assert_eq!(there, whole);
    assert_eq!(stage.sh(&id, &psql("shop", "select count(*) from orders")).await, "7\n");
    // Never over one that is there, and no name that is more than a name.
    for (name, expected) in [("shop_before", 11), ("shop", 11), ("a'b", 2)] {
        let again = run(&["backup", "restore", "full", "--database", "db/shop", "--as", name]);
        assert_eq!(code(&again), expected, "{name}: {}", says(&again));
    }
    let none = run(&["backup", "restore", "full", "--database", "db/none", "--as", "x"]);
    assert_eq!(code(&none), 8, "{}", says(&none));
    // What fails half-way leaves no database behind: a role of the dump is gone.
    stage
        .sh(
            &id,
            &psql("shop", "create role clerk; alter table orders owner to clerk"),
        )
        .await;
    assert_eq!(code(&run(&["backup", "run"])), 0);
    stage.sh(&id, &psql("shop", "alter table orders owner to owner")).await;
    stage.sh(&id, &psql("shop_before", "drop role clerk")).await;
    let failed = run(&["backup", "restore", "full", "--database", "db/shop", "--as", "half"]);
    assert_eq!(code(&failed), 1, "{}", says(&failed));
    assert!(
        says(&failed).contains("clerk") && says(&failed).contains("no database `half`"),
        "{}",
        says(&failed)
    );
    let databases = stage
        .sh(
            &id,
            &psql(
                "shop",
                "select string_agg(datname, ' ' order by 1) from pg_database where not datistemplate",
            ),
        )
        .await;
    assert_eq!(databases, "postgres shop shop_before\n");

    // A command's output goes back only by what arkwright.yaml says now.
    stage.sh(&id, "echo broken >/tmp/state").await;
    let silent = run(&["backup", "restore", "full", "--source", "db/state"]);
    assert_eq!(code(&silent), 3, "{}", says(&silent));
    config(", restore: [sh, -c, 'cat >/tmp/state']");
    let done = run(&["backup", "restore", "full", "--source", "db/state"]);
    assert_eq!(code(&done), 0, "{}", says(&done));
    assert_eq!(stage.sh(&id, "cat /tmp/state").await, "precious\n");
    config(", restore: [sh, -c, 'cat >/dev/null; echo no >&2; exit 4']");
    let refused = run(&["backup", "restore", "full", "--source", "db/state"]);
    assert!(
        code(&refused) == 1 && says(&refused).contains("exited with 4: no"),
        "{}",
        says(&refused)
    );
    let left = folder.path().join("state");
    let scratch = fs::read_dir(left.join(stage.project.as_str()).join("scratch")).expect("a folder");
    assert_eq!(scratch.count(), 0, "something was left in the scratch folder");
}
