use std::sync::Arc;
use std::time::Duration;

use arkwright::model::ContainerId;
use arkwright::ports::ContainerSpec;

use crate::stage::{Stage, closing, good, refusal, restored};

const IMAGE: &str = "localhost/hwayo/postgres:15";
const PASSWORD: &str = "geheim'7";

fn spec(stage: &Stage) -> ContainerSpec {
    let mut spec = stage.spec("db", IMAGE);
    spec.environment = [
        ("POSTGRES_PASSWORD", PASSWORD),
        ("POSTGRES_USER", "owner"),
        ("POSTGRES_DB", "shop"),
        ("PGDATA", "/var/lib/postgresql/data/cluster"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    spec
}

pub async fn server(stage: &Stage) -> ContainerId {
    let id = stage.start(&spec(stage)).await;
    stage.until(&id, &psql("shop", "select 1")).await;
    id
}

pub fn psql(database: &str, query: &str) -> String {
    format!("PGPASSWORD=\"$POSTGRES_PASSWORD\" psql -XAtq -v ON_ERROR_STOP=1 -U owner -d '{database}' -c \"{query}\"")
}

/// Everything in the table as one line, by the server's own reckoning.
fn contents(below: u32) -> String {
    format!(
        "select count(*), md5(string_agg(id || ':' || at || ':' || filler, ',' order by id)) from orders where id <= {below}"
    )
}

pub async fn a_server_is_dumped_while_it_is_written_to(stage: &Arc<Stage>) {
    if !stage.has(IMAGE).await {
        return;
    }
    let id = server(stage).await;
    stage.sh(&id, &psql("shop", "create role clerk login password 'unseen'; create table orders (id serial primary key, at timestamptz default now(), filler text); alter table orders owner to clerk; create table empty (); insert into orders (filler) select repeat(md5(i::text), 8) from generate_series(1, 20000) i; analyze")).await;
    stage
        .sh(&id, "PGPASSWORD=\"$POSTGRES_PASSWORD\" createdb -U owner 'other one'")
        .await;
    stage
        .sh(&id, &psql("other one", "create table t as select 7 as n"))
        .await;
    // Two rows at a time, in one transaction: a dump that is consistent holds both or none.
    let line = psql(
        "shop",
        "begin; insert into orders (filler) values ('a'); insert into orders (filler) values ('b'); commit",
    );
    // Not in the background inside: the server is process 1 there, and takes an orphan's end for a crash of its own.
    let writing = {
        let (stage, id) = (stage.clone(), id.clone());
        let line = format!("while [ ! -e /tmp/enough ]; do {line}; done");
        tokio::spawn(async move { stage.sh(&id, &line).await })
    };
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let before: u32 = stage
        .sh(&id, &psql("shop", "select max(id) from orders"))
        .await
        .trim()
        .parse()
        .expect("a number");
    let world = stage.world(r#"[{ "postgres": "db" }]"#);
    let receipt = world.backup().await;
    good(&receipt);
    let after: u32 = stage
        .sh(&id, &psql("shop", "select max(id) from orders"))
        .await
        .trim()
        .parse()
        .expect("a number");
    stage.sh(&id, "touch /tmp/enough").await;
    writing.await.expect("written to the end");
    assert!(after > before, "nothing was written meanwhile");
    assert!(!format!("{receipt:?}").contains(PASSWORD));

    let folder = restored(&world, "out").await.join("@services/db/postgres");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("restored")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let expected = [
        "globals.sql",
        "other one.about.json",
        "other one.dump",
        "postgres.about.json",
        "postgres.dump",
        "shop.about.json",
        "shop.dump",
    ];
    assert_eq!(names, expected);
    let globals = std::fs::read_to_string(folder.join("globals.sql")).expect("read");
    assert!(globals.contains("CREATE ROLE clerk") && !globals.contains("SCRAM") && !globals.contains("unseen"));
    let about: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("shop.about.json")).expect("read")).expect("JSON");
    assert!(
        about["server"].as_str().expect("a text").starts_with("PostgreSQL 15"),
        "{about}"
    );
    assert!(
        about["estimated_rows"]["public.orders"].as_u64().expect("a number") >= 20_000,
        "{about}"
    );
    let record = &closing(&world).await.sources[0];
    assert_eq!(
        (record.kind.as_str(), record.files, record.path.as_str()),
        ("postgres", 7, "@services/db/postgres")
    );

    // By hand, with the standard tool alone, under a new name.
    stage
        .sh(&id, "PGPASSWORD=\"$POSTGRES_PASSWORD\" createdb -U owner by_hand")
        .await;
    let restore = [
        "sh",
        "-c",
        "PGPASSWORD=\"$POSTGRES_PASSWORD\" pg_restore --exit-on-error -U owner -d by_hand",
    ];
    stage.by_hand(&id, &restore, &folder.join("shop.dump"));
    let kept: u32 = stage
        .sh(&id, &psql("by_hand", "select count(*) from orders"))
        .await
        .trim()
        .parse()
        .expect("a number");
    assert!((before..=after).contains(&kept), "{before} ≤ {kept} ≤ {after}");
    assert_eq!(kept % 2, 0, "half a transaction");
    let (here, there) = (
        stage.sh(&id, &psql("shop", &contents(kept))).await,
        stage.sh(&id, &psql("by_hand", &contents(kept))).await,
    );
    assert_eq!(here, there);
    assert_eq!(
        stage
            .sh(
                &id,
                &psql("by_hand", "select tableowner from pg_tables where tablename = 'orders'")
            )
            .await,
        "clerk\n"
    );
}

pub async fn what_cannot_be_dumped_fails_the_backup_and_says_why(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let id = server(stage).await;
    let world = stage.world(r#"[{ "postgres": { "service": "db", "database": "none" } }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("service db") && told.contains("does not exist"), "{told}");
    let world = stage.world(r#"[{ "postgres": { "service": "db", "user": "nobody" } }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("nobody") && !told.contains(PASSWORD), "{told}");
    // A table that cannot be read is not left out of a dump.
    stage
        .sh(
            &id,
            &psql(
                "shop",
                "create role reader login; create table secret (n int); grant pg_read_all_settings to reader",
            ),
        )
        .await;
    let world = stage.world(r#"[{ "postgres": { "service": "db", "database": "shop", "user": "reader" } }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(told.contains("permission denied"), "{told}");
    // A name with what a shell or libpq could take for something else is a name.
    let odd = "a'b=c $(d)";
    stage
        .sh(&id, &psql("shop", "create database \\\"a'b=c \\$(d)\\\""))
        .await;
    let name = serde_json::to_string(odd).expect("JSON");
    let world = stage.world(&format!(
        r#"[{{ "postgres": {{ "service": "db", "database": {name} }} }}]"#
    ));
    good(&world.backup().await);
    let folder = restored(&world, "odd").await.join("@services/db/postgres");
    assert!(folder.join(format!("{odd}.dump")).is_file());
}
