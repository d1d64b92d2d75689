use arkwright::run::verify::{Level, Verdict};

use crate::stage::{Stage, closing, good, refusal, restored};

const IMAGE: &str = "localhost/memoryark/debian:bookworm";

fn source(run: &str) -> String {
    format!(r#"[{{ "command": {{ "service": "app", "name": "out.bin", "run": ["sh", "-c", "{run}"] }} }}]"#)
}

pub async fn what_a_program_writes_is_kept_and_read_back(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let mut spec = stage.spec("app", IMAGE);
    spec.command = Some(["sleep", "600"].map(str::to_owned).to_vec());
    let id = stage.start(&spec).await;
    stage.sh(&id, "head -c 30000000 /dev/urandom >/tmp/data").await;
    let world = stage.world(&source("cat /tmp/data; echo progress >&2"));
    good(&world.backup().await);
    let sum = stage.sh(&id, "sha256sum </tmp/data").await;
    let file = restored(&world, "one").await.join("@services/app/command/out.bin");
    let bytes = std::fs::read(file).expect("restored");
    assert_eq!(
        sum.split(' ').next(),
        Some(arkwright::model::Digest::of(&bytes).hex().as_str())
    );
    let record = &closing(&world).await.sources[0];
    assert_eq!(
        (record.kind.as_str(), record.files, record.bytes),
        ("command", 1, 30_000_000)
    );
    assert_eq!(record.path.as_str(), "@services/app/command/out.bin");
    // The same output is not stored again.
    let before = world.segments();
    good(&world.backup().await);
    assert_eq!(world.segments(), before + 1, "only the sums are new");
    let report = world.verify(Level::Files).await;
    assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
}

pub async fn a_program_that_fails_or_says_nothing_fails_the_backup(stage: &Stage) {
    if !stage.has(IMAGE).await {
        return;
    }
    let mut spec = stage.spec("app", IMAGE);
    spec.command = Some(["sleep", "600"].map(str::to_owned).to_vec());
    for (run, expected) in [
        (
            "head -c 9000000 /dev/zero; echo 'disk is gone' >&2; exit 7",
            "exited with 7: disk is gone",
        ),
        ("true", "exited with 0 and wrote nothing"),
        ("head -c 100 /dev/zero; kill -9 $$", "exited with 137"),
    ] {
        let away = stage.world(&source(run));
        let told = refusal(&away, &away.backup().await);
        let (state, expected) = match stage.engine.container(&spec.name).await.expect("asked") {
            None => ("away", "it has no container"),
            Some(_) => ("there", expected),
        };
        assert!(
            told.contains(expected) && told.contains("service app"),
            "{state}: {told}"
        );
        if state == "away" {
            stage.start(&spec).await;
            let told = refusal(&away, &away.backup().await);
            assert!(told.contains("exited with 7: disk is gone"), "{told}");
        }
    }
    let id = stage
        .engine
        .container(&spec.name)
        .await
        .expect("asked")
        .expect("there")
        .id;
    stage
        .engine
        .stop_container(&id, Some(std::time::Duration::ZERO))
        .await
        .expect("stopped");
    let world = stage.world(&source("echo x"));
    let told = refusal(&world, &world.backup().await);
    assert!(
        told.contains("does not run") && told.contains("arkwright up app"),
        "{told}"
    );
}
