//! Backups of real files into a real store: taken, verified, restored, and damaged in every way.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{World, tree};
use arkwright::backup::{EntryPath, Identities, ManifestPart};
use arkwright::run::restore::{RestoreError, Selection};
use arkwright::run::snapshots::{SnapshotError, list};
use arkwright::run::verify::{Level, Verdict};

const EVERYTHING: &str = r#"[
    { "path": "./uploads" },
    { "sqlite": "./data/ark.db", "newest": "select max(at) from photo" },
    { "path": "./data" }
]"#;

fn path(text: &str) -> EntryPath {
    text.parse().expect("a path")
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes.div_ceil(8))
        .flat_map(|_| next().to_le_bytes())
        .take(bytes)
        .collect()
}

/// A small photo archive: a database, files of every sort, the stack's own files.
pub fn archive() -> World {
    let world = World::new(EVERYTHING);
    world.write("compose.yaml", "services: {}\n");
    world.write("uploads/2024/a.jpg", noise(70_000, 1));
    world.write("uploads/2024/same.jpg", noise(70_000, 1));
    world.write("uploads/notes.txt", "words\n".repeat(5000));
    world.write("uploads/empty", "");
    world.write("uploads/video.mp4", noise(9 << 20, 2));
    world.write("uploads/100%\n line", "odd name");
    let odd = world.project().join("uploads").join(OsStr::from_bytes(b"caf\xe9"));
    fs::write(odd, "not UTF-8").expect("written");
    fs::create_dir(world.project().join("uploads/empty folder")).expect("made");
    symlink("2024/a.jpg", world.project().join("uploads/latest")).expect("linked");
    symlink("/nowhere", world.project().join("uploads/broken")).expect("linked");
    let secret = world.write("data/secret", "x");
    fs::set_permissions(secret, fs::Permissions::from_mode(0o600)).expect("changed");
    fs::set_permissions(world.project().join("uploads/2024"), fs::Permissions::from_mode(0o2750)).expect("changed");
    let db = rusqlite::Connection::open(world.project().join("data/ark.db")).expect("a database");
    db.execute_batch(
        "create table photo (id integer primary key, name text, at text);
         create table \"odd \"\" name\" (x);
         insert into photo values (1, 'a.jpg', '2026-01-02 03:04:05'), (2, 'b.jpg', '2026-01-01 00:00:00');",
    )
    .expect("filled");
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_comes_back_the_same() {
    let world = archive();
    let receipt = world.backup().await;
    assert!(receipt.ok, "{receipt:?}");
    assert_eq!(receipt.outcome, "published");

    let report = world.verify(Level::Files).await;
    assert_eq!(report.verdict(), Verdict::Passed, "{report:?}");
    assert_eq!(report.damaged, []);

    let target = world.root.path().join("restored");
    let done = world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!(done.notes, Vec::<String>::new());
    for folder in ["uploads", "data"] {
        let (before, after) = (tree(&world.project().join(folder)), tree(&target.join(folder)));
        let differs: Vec<_> = before
            .iter()
            .filter(|(path, what)| after.get(*path) != Some(what) && !path.ends_with("ark.db"))
            .collect();
        assert_eq!(differs, Vec::<(_, _)>::new());
        assert_eq!(before.len(), after.len());
    }
    assert_eq!(
        fs::read_to_string(target.join("@stack/compose.yaml")).expect("there"),
        "services: {}\n"
    );
    let db = rusqlite::Connection::open(target.join("data/ark.db")).expect("a database");
    let rows: i64 = db
        .query_row("select count(*) from photo", [], |row| row.get(0))
        .expect("counted");
    assert_eq!(rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listing_says_what_the_database_held() {
    let world = archive();
    world.backup().await;
    let store = world.store();
    let which = arkwright::run::snapshots::Which::Latest { set: "full".into() };
    let snapshot = arkwright::run::snapshots::find(store.as_ref(), &world.trust(), &which)
        .await
        .expect("there");
    let listing = arkwright::run::snapshots::listing(store.as_ref(), &snapshot, &world.identities())
        .await
        .expect("opened");
    // Databases are read before files, whatever the order of the configuration.
    let kinds: Vec<&str> = listing
        .closing
        .sources
        .iter()
        .map(|source| source.kind.as_str())
        .collect();
    assert_eq!(kinds, ["sqlite", "path", "path"]);
    let database = &listing.closing.sources[0];
    assert_eq!(database.path, path("data/ark.db"));
    assert_eq!(database.rows.get("photo"), Some(&2));
    assert_eq!(database.rows.get("odd \" name"), Some(&0));
    assert_eq!(
        database.newest.map(|at| at.to_rfc3339()),
        Some("2026-01-02T03:04:05+00:00".into())
    );
    // The file of the database is in it once, as the consistent copy.
    assert_eq!(
        listing
            .entries
            .iter()
            .filter(|entry| entry.path == path("data/ark.db"))
            .count(),
        1
    );
    assert_eq!(listing.opening.taken, snapshot.taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_set_stores_nothing_twice_and_a_changed_one_only_the_change() {
    let mut world = archive();
    // Most of its bytes are one video, which goes.
    world.backups.sets.get_mut("full").expect("a set").floor = "0%".parse().expect("a percentage");
    // Older than the granularity of time stamps.
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    world.backup().await;
    let first = world.segments();
    // 70 000 bytes twice are kept once; the video has a segment of its own.
    assert_eq!(first, 4, "stored, compressed, video, sums: {:?}", world.objects());
    world.backup().await;
    assert_eq!(world.segments(), first + 1, "only the new SHA256SUMS");
    world.write("uploads/new.jpg", noise(1000, 9));
    fs::remove_file(world.project().join("uploads/video.mp4")).expect("removed");
    world.backup().await;
    assert_eq!(world.segments(), first + 3);
    let report = world.verify(Level::Files).await;
    assert_eq!((report.verdict(), report.snapshots), (Verdict::Passed, 3), "{report:?}");
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Everything).await.expect("restored");
    assert!(target.join("uploads/new.jpg").exists() && !target.join("uploads/video.mp4").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_written_to_is_backed_up_whole() {
    for mode in ["delete", "wal"] {
        let world = archive();
        let file = world.project().join("data/ark.db");
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (stop, file) = (stop.clone(), file.clone());
            std::thread::spawn(move || {
                let mut db = rusqlite::Connection::open(file).expect("opened");
                db.busy_timeout(std::time::Duration::from_secs(20)).expect("set");
                db.pragma_update(None, "journal_mode", mode).expect("set");
                db.execute_batch("create table pair (a, b)").expect("made");
                let mut written = 0i64;
                while !stop.load(Ordering::Relaxed) {
                    // Two rows that belong together, in one transaction.
                    let both = db.transaction().expect("begun");
                    both.execute("insert into pair values (?1, zeroblob(2000))", [written])
                        .expect("written");
                    both.execute("insert into pair values (?1, zeroblob(2000))", [-written])
                        .expect("written");
                    both.commit().expect("committed");
                    written += 1;
                }
                written
            })
        };
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        for _ in 0..3 {
            let receipt = world.backup().await;
            assert!(receipt.ok, "{receipt:?}");
        }
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().expect("wrote");
        assert!(written > 10, "{written}");
        let target = world.root.path().join("restored");
        world
            .restore(&target, Selection::Path(path("data/ark.db")))
            .await
            .expect("restored");
        let db = rusqlite::Connection::open(target.join("data/ark.db")).expect("opened");
        let ok: String = db
            .query_row("pragma integrity_check", [], |row| row.get(0))
            .expect("checked");
        let (rows, sum): (i64, i64) = db
            .query_row("select count(*), coalesce(sum(a), 0) from pair", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("counted");
        assert_eq!((ok.as_str(), rows % 2, sum), ("ok", 0, 0), "{mode}");
        assert!(rows > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_byte_anywhere_is_found_and_named() {
    let world = World::new(r#"[{ "path": "./uploads" }]"#);
    world.write("compose.yaml", "services: {}\n");
    world.write("uploads/a.jpg", noise(100_000, 1));
    world.write("uploads/b.txt", "words\n".repeat(3000));
    assert!(world.backup().await.ok);
    let objects = world.objects();
    // Header, listing and signature; stored, compressed and sums segment.
    assert_eq!(objects.len(), 6, "{objects:?}");
    for (nth, object) in objects.iter().enumerate() {
        let file = world.store_path().join(object);
        let whole = fs::read(&file).expect("read");
        let last = whole.len() - 1;
        for (at, bit) in [(0, 0), (7, 5), (last / 3, 1), (last / 2, 7), (last - 20, 3), (last, 0)] {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            fs::write(&file, &changed).expect("written");
            let report = world.verify(Level::Objects).await;
            assert_eq!(report.verdict(), Verdict::Failed, "{object} {at}");
            assert!(
                report.damaged.iter().any(|damage| damage.object == *object),
                "{object} {at}: {report:?}"
            );
            let report = world.verify(Level::Files).await;
            assert!(
                report.damaged.iter().any(|damage| damage.object == *object),
                "{object} {at}: {report:?}"
            );
            assert!(report.affected.iter().any(|generation| generation.0 == 1));
            let target = world.root.path().join(format!("restored-{nth}-{at}"));
            let error = world
                .restore(&target, Selection::Everything)
                .await
                .expect_err("damaged");
            let signature = ManifestPart::Signature.name(arkwright::model::Generation(1));
            let named = error.to_string().contains(object.as_str());
            assert!(named, "{object} {at}: {error}");
            assert!(
                error.objects().contains(object) || *object == signature,
                "{object} {at}: {error}"
            );
            // Whatever was restored before it was noticed is right.
            let restored = if target.exists() {
                tree(&target)
            } else {
                Default::default()
            };
            for (path, what) in restored {
                if let Some(original) = tree(&world.project()).get(&path)
                    && what.starts_with("sha256:")
                {
                    let hash = |text: &str| text.split(' ').next().map(str::to_owned);
                    assert_eq!(hash(&what), hash(original), "{path:?}");
                }
            }
        }
        for cut in [0, last / 2, last] {
            fs::write(&file, &whole[..cut]).expect("written");
            let report = world.verify(Level::Objects).await;
            assert!(
                report.damaged.iter().any(|damage| damage.object == *object),
                "{object} cut at {cut}"
            );
        }
        fs::remove_file(&file).expect("removed");
        let report = world.verify(Level::Objects).await;
        assert!(
            report.damaged.iter().any(|damage| damage.object == *object),
            "{object} removed: {report:?}"
        );
        let target = world.root.path().join(format!("restored-{nth}-gone"));
        let error = world.restore(&target, Selection::Everything).await.expect_err("gone");
        assert!(error.to_string().contains(object.as_str()), "{object} removed: {error}");
        fs::write(&file, &whole).expect("written");
    }
    assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_is_not_run_and_never_passed() {
    let world = archive();
    world.backup().await;
    for stranger in [Identities::none(), Identities::generate()] {
        let report = world.verify_with(Level::Objects, &stranger).await;
        assert_eq!(report.verdict(), Verdict::Passed, "needs no identity: {report:?}");
        for level in [Level::Segments, Level::Files] {
            let report = world.verify_with(level, &stranger).await;
            assert_eq!(report.verdict(), Verdict::NotRun, "{report:?}");
            assert_eq!(report.damaged, []);
        }
    }
    fs::write(&world.keys.drill, Identities::generate().text()).expect("written");
    let error = world.restore(&world.root.path().join("r"), Selection::Everything).await;
    assert!(
        matches!(error, Err(RestoreError::Snapshot(SnapshotError::Sealed { .. }))),
        "{error:?}"
    );
    // The recovery identity opens what the drill identity opens.
    fs::copy(&world.recovery, &world.keys.drill).expect("copied");
    assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_by_another_key_is_refused() {
    let world = archive();
    world.backup().await;
    let other = World::new("[]");
    fs::remove_file(world.keys.signing.with_extension("pub")).expect("removed");
    fs::copy(
        other.keys.signing.with_extension("pub"),
        world.keys.signing.with_extension("pub"),
    )
    .expect("copied");
    let report = world.verify(Level::Objects).await;
    assert_eq!(report.verdict(), Verdict::Failed);
    assert!(report.damaged[0].why.contains("not trusted"), "{report:?}");
    let error = world
        .restore(&world.root.path().join("r"), Selection::Everything)
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("not trusted"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lost_a_snapshot_is_noticed() {
    let world = archive();
    for content in ["1", "2", "3"] {
        world.write("uploads/notes.txt", content);
        assert!(world.backup().await.ok);
    }
    let header = |generation| ManifestPart::Header.name(arkwright::model::Generation(generation));
    let file = |generation| world.store_path().join(header(generation));
    // One in the middle.
    let whole = fs::read(file(2)).expect("read");
    fs::remove_file(file(2)).expect("removed");
    let report = world.verify(Level::Objects).await;
    assert!(
        report.damaged.iter().any(|damage| damage.object == header(2)),
        "{report:?}"
    );
    // The one before and the one after can be restored all the same.
    world
        .restore(&world.root.path().join("r3"), Selection::Everything)
        .await
        .expect("restored");
    fs::write(file(2), whole).expect("written");
    // The newest: nothing older passes for it, and nothing is built upon the rest.
    fs::remove_file(file(3)).expect("removed");
    let report = world.verify(Level::Objects).await;
    assert!(
        report.damaged.iter().any(|damage| damage.object == header(3)),
        "{report:?}"
    );
    let error = world
        .restore(&world.root.path().join("r"), Selection::Everything)
        .await
        .expect_err("older");
    assert!(error.to_string().contains(&header(3)), "{error}");
    let receipt = world.backup().await;
    assert!(
        !receipt.ok && receipt.because.as_ref().is_some_and(|why| why.contains(&header(3))),
        "{receipt:?}"
    );
    // Until the loss is accepted.
    world.catalogue().forget_head().expect("forgotten");
    let receipt = world.backup().await;
    assert!(receipt.ok, "{receipt:?}");
    assert_eq!(world.verify(Level::Files).await.verdict(), Verdict::Passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_catalogue_and_lost_segments_are_made_good() {
    let world = archive();
    world.backup().await;
    let first = world.segments();
    fs::remove_file(world.state.catalogue()).expect("removed");
    assert!(world.backup().await.ok);
    assert_eq!(world.segments(), 2 * first, "everything again");
    // A segment that is gone, or has another size, is not used.
    let segment = world.objects().into_iter().filter(|name| name.starts_with("seg/"));
    for name in segment {
        let file = world.store_path().join(&name);
        let bytes = fs::read(&file).expect("read");
        if bytes.len().is_multiple_of(2) {
            fs::remove_file(&file).expect("removed");
        } else {
            fs::write(&file, &bytes[1..]).expect("cut");
        }
    }
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    world
        .restore(&target, Selection::Everything)
        .await
        .expect("restored from the third");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_missing_or_empty_fails_the_backup() {
    for (sources, why) in [
        (r#"[{ "path": "./nowhere" }]"#, "is not there"),
        (r#"[{ "path": "./hollow" }]"#, "has no file"),
        (r#"[{ "path": "./loop" }]"#, "cannot be read"),
        (r#"[{ "sqlite": "./nowhere.db" }]"#, "is not there"),
        (r#"[{ "sqlite": "./empty.db" }]"#, "has no file"),
        (r#"[{ "sqlite": "./text.db" }]"#, "text.db"),
        (r#"[{ "path": "./good", "exclude": ["[x"] }]"#, "not a pattern"),
        (r#"[{ "path": "./good", "exclude": ["*"] }]"#, "has no file"),
    ] {
        let world = World::new(sources);
        world.write("good/file", "x");
        world.write("empty.db", "");
        world.write("text.db", "no database".repeat(1000));
        fs::create_dir_all(world.project().join("hollow/inner")).expect("made");
        symlink("loop", world.project().join("loop")).expect("linked");
        let receipt = world.backup().await;
        assert!(!receipt.ok, "{sources}");
        assert_eq!(receipt.outcome, "not_published");
        assert!(
            receipt.because.as_ref().is_some_and(|said| said.contains(why)),
            "{sources}: {receipt:?}"
        );
        assert!(!world.objects().iter().any(|name| name.starts_with("man/")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_and_the_state_are_never_backed_up_into_themselves() {
    let mut world = World::new(r#"[{ "path": ".", "exclude": ["*.tmp", "cache/*"] }]"#);
    world.backups.stores.get_mut("local").expect("a store").path = Some("deep/../backups".into());
    world.write("backups/inside", "x");
    world.write("a.tmp", "x");
    world.write("deep/cache/kept", "x");
    world.write("cache/left", "x");
    world.write("kept", "x");
    assert!(world.backup().await.ok);
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Data).await.expect("restored");
    let names: Vec<_> = tree(&target)
        .into_keys()
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(names, ["cache", "deep", "deep/cache", "deep/cache/kept", "kept"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_a_database_is_not_read_as_files_however_its_path_is_written() {
    let world = World::new(r#"[{ "sqlite": "./data/../data/ark.db" }, { "path": "./data" }]"#);
    world.write("data/kept", "x");
    let db = rusqlite::Connection::open(world.project().join("data/ark.db")).expect("a database");
    db.pragma_update(None, "journal_mode", "wal").expect("set");
    db.execute_batch("create table t (x); insert into t values (1);")
        .expect("written");
    assert!(world.project().join("data/ark.db-wal").exists());
    let receipt = world.backup().await;
    assert!(receipt.ok, "{receipt:?}");
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Data).await.expect("restored");
    let names: Vec<_> = tree(&target).into_keys().collect();
    assert_eq!(
        names,
        ["data", "data/ark.db", "data/kept"].map(std::path::PathBuf::from)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_a_query_that_is_no_time_stays_in_the_database() {
    let world = World::new(r#"[{ "sqlite": "./ark.db", "newest": "select name from t" }]"#);
    let db = rusqlite::Connection::open(world.project().join("ark.db")).expect("a database");
    db.execute_batch("create table t (name); insert into t values ('Maria Tan');")
        .expect("written");
    let receipt = world.backup().await;
    let told = format!("{receipt:?}");
    assert!(
        receipt.ok && told.contains("no time") && !told.contains("Maria"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_more_digits_than_ten_are_nobodys_and_after_the_last_generation_comes_none() {
    let world = archive();
    assert!(world.backup().await.ok);
    let man = world.store_path().join("man");
    fs::write(man.join("18446744073709551615.json"), "").expect("written");
    fs::write(man.join("00000000002.json"), "").expect("written");
    assert!(world.backup().await.ok);
    assert_eq!(world.head().map(|head| head.generation.0), Some(2));
    fs::write(man.join("9999999999.json.age"), "").expect("written");
    let receipt = world.backup().await;
    let because = receipt.because.unwrap_or_default();
    assert!(
        !receipt.ok && because.contains("no generation comes after"),
        "{because}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_restored_and_nothing_is_written_over() {
    let world = archive();
    world.backup().await;
    let target = world.root.path().join("restored");
    let done = world
        .restore(&target, Selection::Path(path("uploads/2024")))
        .await
        .expect("restored");
    assert_eq!((done.files, done.folders), (2, 2));
    assert_eq!(
        fs::metadata(target.join("uploads/2024"))
            .expect("there")
            .permissions()
            .mode()
            & 0o7777,
        0o2750
    );
    assert!(!target.join("uploads/notes.txt").exists());
    // Again: refused, and nothing changed.
    fs::write(target.join("uploads/2024/a.jpg"), "mine").expect("written");
    let before = tree(&target);
    let refused = world.restore(&target, Selection::Everything).await;
    assert!(
        matches!(refused, Err(RestoreError::Exists { count: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(tree(&target), before);
    // Told to: replaced.
    world
        .restore_with(&target, Selection::Data, true)
        .await
        .expect("restored");
    assert_eq!(
        fs::read(target.join("uploads/2024/a.jpg")).expect("read"),
        noise(70_000, 1)
    );
    assert!(!target.join("@stack").exists());
    let nothing = world.restore(&target, Selection::Path(path("uploads/x"))).await;
    assert!(matches!(nothing, Err(RestoreError::NotInIt(_))), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_in_the_target_lead_nowhere() {
    let world = archive();
    world.backup().await;
    let outside = world.root.path().join("outside");
    fs::create_dir(&outside).expect("made");
    for overwrite in [false, true] {
        let target = world.root.path().join(format!("restored-{overwrite}"));
        fs::create_dir(&target).expect("made");
        symlink(&outside, target.join("uploads")).expect("linked");
        let refused = world.restore_with(&target, Selection::Everything, overwrite).await;
        assert!(matches!(refused, Err(RestoreError::InTheWay { .. })), "{refused:?}");
        assert_eq!(tree(&outside).len(), 0);
    }
    // A link in the place of a file is replaced, not written through.
    let target = world.root.path().join("restored-link");
    fs::create_dir_all(target.join("uploads")).expect("made");
    fs::write(outside.join("victim"), "safe").expect("written");
    symlink(outside.join("victim"), target.join("uploads/notes.txt")).expect("linked");
    world
        .restore_with(&target, Selection::Everything, true)
        .await
        .expect("restored");
    assert_eq!(fs::read_to_string(outside.join("victim")).expect("read"), "safe");
    assert!(!target.join("uploads/notes.txt").is_symlink());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_damaged_snapshots_too() {
    let world = archive();
    world.backup().await;
    world.backup().await;
    let header = world.store_path().join("man/0000000001.json");
    let text = fs::read_to_string(&header)
        .expect("read")
        .replace("\"full\"", "\"fool\"");
    fs::write(&header, text).expect("written");
    let found = list(world.store().as_ref(), &world.trust().keys).await.expect("listed");
    assert_eq!(found.len(), 2);
    assert!(found[0].damaged.is_some() && found[0].set.is_none());
    assert_eq!(found[1].set.as_deref(), Some("full"));
    // A changed header does not stop the next backup.
    assert!(world.backup().await.ok);
    assert!(Path::new(&world.store_path().join("man/0000000003.json")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_database_and_files_elsewhere_on_the_host_keep_their_place() {
    let outside = tempfile::tempdir().expect("a folder");
    fs::write(outside.path().join("file"), "elsewhere").expect("written");
    let sources = serde_json::json!([{ "sqlite": "./data/../data/deep/ark.db" }, { "path": outside.path() }]);
    let world = World::new(&sources.to_string());
    fs::create_dir_all(world.project().join("data/deep")).expect("made");
    fs::set_permissions(world.project().join("data/deep"), fs::Permissions::from_mode(0o2770)).expect("changed");
    let db = rusqlite::Connection::open(world.project().join("data/deep/ark.db")).expect("a database");
    db.execute_batch("create table t (x)").expect("made");
    let receipt = world.backup().await;
    assert!(receipt.ok, "{receipt:?}");
    let target = world.root.path().join("restored");
    world.restore(&target, Selection::Everything).await.expect("restored");
    assert_eq!(
        fs::metadata(target.join("data/deep"))
            .expect("there")
            .permissions()
            .mode()
            & 0o7777,
        0o2770
    );
    let at = target
        .join("@host")
        .join(outside.path().strip_prefix("/").expect("absolute"))
        .join("file");
    assert_eq!(fs::read_to_string(at).expect("there"), "elsewhere");
}
