use std::time::Duration;

use arkwright::model::ContainerId;

use crate::stage::{Stage, closing, good, refusal, restored};

const IMAGE: &str = "localhost/memoryark/redis:7.0";
const PASSWORD: &str = "geheim7";

/// With every write logged, as a queue would have it.
async fn server(stage: &Stage, password: &str) -> ContainerId {
    let mut spec = stage.spec("cache", IMAGE);
    let line = format!("exec redis-server --appendonly yes --protected-mode no --requirepass {PASSWORD}");
    spec.command = Some(["sh", "-c", &line].map(str::to_owned).to_vec());
    spec.environment = [("REDIS_PASSWORD".to_owned(), password.to_owned())].into();
    let id = stage.start(&spec).await;
    stage.until(&id, &cli("ping")).await;
    id
}

fn cli(words: &str) -> String {
    format!("REDISCLI_AUTH={PASSWORD} redis-cli -e {words}")
}

pub async fn a_snapshot_is_saved_for_the_backup(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let id = server(stage, PASSWORD).await;
    stage
        .sh(&id, &cli("DEBUG POPULATE 50000 key 200 >/dev/null 2>&1 || true"))
        .await;
    let fill = format!(
        "seq 1 20000 | sed 's/.*/SET key:& value-&-{}/' | REDISCLI_AUTH={PASSWORD} redis-cli >/dev/null",
        "x".repeat(100)
    );
    stage.sh(&id, &fill).await;
    // Pairs in one transaction: a snapshot has as many of the one as of the other.
    let writer = format!(
        "nohup sh -c 'export REDISCLI_AUTH={PASSWORD}; while :; do printf \"MULTI\\nINCR left\\nINCR right\\nEXEC\\n\" | redis-cli; done' \
         >/dev/null 2>&1 & echo $! >/tmp/writer"
    );
    stage.sh(&id, &writer).await;
    stage.until(&id, &format!("[ \"$({})\" -gt 5 ]", cli("GET left"))).await;
    let before: u64 = stage.sh(&id, &cli("GET left")).await.trim().parse().expect("a number");
    let world = stage.world(r#"[{ "redis": "cache" }]"#);
    let receipt = world.backup().await;
    good(&receipt);
    assert!(!format!("{receipt:?}").contains(PASSWORD));
    let after: u64 = stage.sh(&id, &cli("GET left")).await.trim().parse().expect("a number");
    stage.sh(&id, "kill $(cat /tmp/writer)").await;
    assert!(after > before, "nothing was written meanwhile");
    let folder = restored(&world, "out").await.join("@services/cache/redis");
    let about = std::fs::read_to_string(folder.join("about.json")).expect("read");
    assert!(about.contains("\"Redis 7.0"), "{about}");
    assert_eq!(
        closing(&world).await.sources[0].path.as_str(),
        "@services/cache/redis/dump.rdb"
    );

    // By hand: another server that begins with the file.
    stage.by_hand(
        &id,
        &[
            "sh",
            "-c",
            "mkdir /tmp/other && cat >/tmp/other/dump.rdb && redis-check-rdb /tmp/other/dump.rdb",
        ],
        &folder.join("dump.rdb"),
    );
    stage.sh(&id, "nohup redis-server --dir /tmp/other --dbfilename dump.rdb --port 6400 --save '' --protected-mode no >/dev/null 2>&1 & true").await;
    stage.until(&id, "redis-cli -e -p 6400 ping | grep -q PONG").await;
    let pair = stage.sh(&id, "redis-cli -e -p 6400 MGET left right").await;
    let values: Vec<u64> = pair.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(values[0], values[1], "half a transaction");
    assert!((before..=after).contains(&values[0]), "{before} ≤ {values:?} ≤ {after}");
    // Everything but what was written to meanwhile, by the server's own checksum of each key.
    stage.sh(&id, &cli("DEL left right")).await;
    stage.sh(&id, "redis-cli -e -p 6400 DEL left right").await;
    let sum = "EVAL \"local t = redis.call('KEYS', '*') table.sort(t) local s = '' for _, k in ipairs(t) do s = redis.sha1hex(s .. k .. redis.call('GET', k)) end return s .. #t\" 0";
    let (here, there) = (
        stage.sh(&id, &cli(sum)).await,
        stage.sh(&id, &format!("redis-cli -e -p 6400 {sum}")).await,
    );
    assert_eq!(here, there);
    assert!(
        here.trim().ends_with("20000") || here.trim().ends_with("70000"),
        "{here}"
    );

    // A server that cannot save fails the backup; an older file is not taken for it.
    stage
        .sh(&id, "rm /data/dump.rdb && mkdir -p /data/dump.rdb/in-the-way")
        .await;
    let world = stage.world(r#"[{ "redis": "cache" }]"#);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let told = refusal(&world, &world.backup().await);
    assert!(
        told.contains("service cache") && told.contains("rdb_last_bgsave_status: err"),
        "{told}"
    );
}

pub async fn a_wrong_password_fails_the_backup_and_is_not_shown(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    server(stage, "not-the-one").await;
    let world = stage.world(r#"[{ "redis": "cache" }]"#);
    let told = refusal(&world, &world.backup().await);
    assert!(
        told.contains("service cache") && told.contains("password_env"),
        "{told}"
    );
    assert!(!told.contains("not-the-one") && !told.contains(PASSWORD), "{told}");
}
