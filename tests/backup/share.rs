//! A look at a part of a store at a time.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{Quiet, World};
use arkwright::backup::{Portion, SegmentName};
use arkwright::run::verify::{Level, Verdict, VerifyOptions, VerifyReport, verify};
use serde_json::Value;

async fn look(world: &World, level: Level, first: u32, of: u32) -> VerifyReport {
    let options = VerifyOptions {
        share: Some(Portion { parts: 1, of }.from(first)),
        ..VerifyOptions::default()
    };
    verify(
        &world.store(),
        &world.trust(),
        &world.identities(),
        level,
        &options,
        &Quiet,
    )
    .await
    .expect("a store that can be looked at")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_segment_is_read_in_one_share_and_missed_in_every() {
    const OF: u32 = 5;
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    for nth in 0..6u8 {
        world.write(&format!("uploads/{nth}.jpg"), vec![nth; 2000]);
        assert!(world.backup().await.ok);
    }
    let whole = world.verify(Level::Files).await;
    let segments: Vec<String> = world
        .objects()
        .into_iter()
        .filter(|name| name.starts_with("seg/"))
        .collect();
    for level in [Level::Objects, Level::Segments, Level::Files] {
        let mut read = 0;
        let mut files = 0;
        for first in 0..OF {
            let report = look(&world, level, first, OF).await;
            assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
            let detail = &report
                .checks
                .iter()
                .find(|check| check.name == "segments")
                .expect("a check")
                .detail;
            assert!(
                detail.contains(&format!("of {} segments, part {} of {OF}", segments.len(), first + 1)),
                "{detail}"
            );
            read += detail
                .split(' ')
                .next()
                .and_then(|count| count.parse::<usize>().ok())
                .expect("a count");
            files += report.files;
        }
        assert_eq!(read, segments.len(), "{level:?}");
        if level == Level::Files {
            assert_eq!(files, whole.files);
        }
    }
    for object in &segments {
        let file = world.store_path().join(object);
        let bytes = fs::read(&file).expect("read");
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        fs::write(&file, changed).expect("written");
        let name: SegmentName = object.parse().expect("a name");
        for first in 0..OF {
            let report = look(&world, Level::Objects, first, OF).await;
            let mine = Portion { parts: 1, of: OF }.from(first).has_segment(&name.id);
            assert_eq!(
                report.verdict() == Verdict::Failed,
                mine,
                "{object} {first}: {report:?}"
            );
        }
        fs::remove_file(&file).expect("removed");
        for first in 0..OF {
            let report = look(&world, Level::Objects, first, OF).await;
            assert!(
                report.damaged.iter().any(|damage| damage.object == *object),
                "{object} {first}: {report:?}"
            );
        }
        fs::write(&file, bytes).expect("written");
    }
}

fn arkwright(folder: &Path, args: &[&str]) -> (i32, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_arkwright"))
        .args(["--json"])
        .args(args)
        .current_dir(folder)
        .env("ARKWRIGHT_STATE", folder.join("state"))
        .output()
        .expect("the binary runs");
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap_or(-1), told)
}

#[test]
fn the_command_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |path: &str| folder.path().join(path);
    fs::write(at("compose.yaml"), "name: ark\nservices: { web: { image: x } }\n").expect("written");
    let (_, made) = arkwright(folder.path(), &["key", "new", "--recovery", "recovery"]);
    let drill = made["recipients"]["drill"].as_str().expect("a key");
    let text = format!(
        "backups:\n  recipients: [{drill}]\n  stores: {{ a: {{ path: a }} }}\n  \
         sets: {{ one: {{ sources: [{{ path: data }}] }} }}\n"
    );
    fs::write(at("arkwright.yaml"), text).expect("written");
    fs::create_dir(at("data")).expect("made");
    fs::write(at("data/words"), "words").expect("written");
    assert_eq!(arkwright(folder.path(), &["backup", "run"]).0, 0);
    let firsts: Vec<u64> = (0..4)
        .map(|_| {
            let (code, report) = arkwright(folder.path(), &["backup", "verify", "--share", "1/3"]);
            assert_eq!(code, 0, "{report}");
            report[0]["share"]["first"].as_u64().expect("a number")
        })
        .collect();
    assert_eq!(firsts, [0, 1, 2, 0]);
    let (_, report) = arkwright(
        folder.path(),
        &["backup", "verify", "--share", "1/3", "--level", "objects"],
    );
    assert_eq!(report[0]["share"]["first"], 0, "each level has a round of its own");
    assert!(
        arkwright(folder.path(), &["backup", "verify"]).1[0]
            .get("share")
            .is_none()
    );
    for bad in [["--share", "4/3"], ["--share", "x"]] {
        assert_eq!(
            arkwright(folder.path(), &[&["backup", "verify"], &bad[..]].concat()).0,
            2
        );
    }
    assert_eq!(
        arkwright(folder.path(), &["backup", "verify", "1", "--share", "1/3"]).0,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_is_gone_is_missed_by_every_share() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("uploads/a.jpg", "a");
    assert!(world.backup().await.ok);
    fs::remove_file(world.store_path().join("man/0000000001.json.age")).expect("removed");
    for level in [Level::Objects, Level::Segments, Level::Files] {
        for first in 0..3 {
            let report = look(&world, level, first, 3).await;
            assert_eq!(report.verdict(), Verdict::Failed, "{level:?} {first}: {report:?}");
        }
    }
}
