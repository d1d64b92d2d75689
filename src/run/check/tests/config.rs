//! What arkwright.yaml asks: keys, sources, stores, the state folder, operations.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::super::{Affairs, AgentState, Severity, backups, operations, state};
use super::quiet;
use super::world::{World, codes, disk};
use crate::backup::Link;
use crate::model::{Digest, Generation, Timestamp};
use crate::run::Receipt;
use crate::run::keys::{self, KeyFiles};
use crate::state::{Catalogue, ProjectFolder};

const PLAIN: &str = "services:\n  a: { image: 'a:1' }\n";
const BACKUPS: &str = "backups:\n  recipients: []\n  stores: { local: { path: ./backups } }\n  \
                       sets: { data: { schedule: '0 2 * * *', sources: [{ path: ./data }] } }\n\
                       drills:\n  weekly: { of: data, checks: [{ sqlite: data/app.db, integrity: true }] }\n";

struct Counting;

impl crate::ports::Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().zip(1..).for_each(|(byte, n)| *byte = n);
    }
}

/// A project with backups, and the real folder its keys are in.
fn world() -> (World, tempfile::TempDir) {
    let root = tempfile::tempdir().expect("a folder");
    let mut world = World::of(PLAIN, BACKUPS);
    world.folder = ProjectFolder::named(root.path(), &world.stack.name);
    world.machine.folder("/srv/ark/data");
    world.machine.folder("/srv/ark/backups").place.disk = 2;
    world.machine.disks.insert(2, disk(2));
    (world, root)
}

#[test]
fn keys_are_there_whole_and_recipients_can_read() {
    let (mut world, _root) = world();
    let key = |name: &str| world.folder.root().join("keys").join(name);
    let (signing, drill) = (key("signing"), key("drill"));
    let missing = [
        "recipients-unusable project".to_owned(),
        format!("key-missing {}", signing.display()),
        format!("key-missing {}", drill.display()),
    ];
    assert_eq!(codes(&backups::check(&world.scene())), missing);

    let files = KeyFiles {
        signing: signing.clone(),
        drill: drill.clone(),
    };
    let made = keys::make(&files, None, "ark", &Counting).expect("made");
    let config = world.config.backups.as_mut().expect("backups");
    config.recipients = vec![made.recipients.recovery];
    let stranger = format!("drill-key-no-recipient {}", drill.display());
    assert_eq!(codes(&backups::check(&world.scene())), [stranger]);
    let config = world.config.backups.as_mut().expect("backups");
    config.recipients.push(made.recipients.drill);
    assert_eq!(backups::check(&world.scene()), []);

    world.machine.file(&signing, "").place.mode = 0o640;
    let found = backups::check(&world.scene());
    assert_eq!(codes(&found), [format!("key-exposed {}", signing.display())]);
    fs::set_permissions(&signing, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&signing, "nonsense").expect("written");
    world.machine.file(&signing, "").place.mode = 0o600;
    let found = backups::check(&world.scene());
    assert_eq!(codes(&found), [format!("key-unusable {}", signing.display())]);
    assert!(!found[0].what.contains("nonsense"));
}

fn about<'a>(codes: &'a [String], what: &str) -> Vec<&'a str> {
    let found = codes.iter().filter(|code| code.starts_with(what));
    found.map(String::as_str).collect()
}

#[test]
fn sources_are_there_and_stores_can_be_written() {
    let (mut world, _root) = world();
    let found = |world: &World| codes(&backups::check(&world.scene()));
    assert_eq!(about(&found(&world), "s"), Vec::<&str>::new());
    world.machine.folder("/srv/ark/data").readable = false;
    assert_eq!(about(&found(&world), "source"), ["source-unreadable /srv/ark/data"]);
    world.machine.things.remove(Path::new("/srv/ark/data"));
    assert_eq!(about(&found(&world), "source"), ["source-missing /srv/ark/data"]);
    world.machine.folder("/srv/ark/data");
    world.machine.folder("/srv/ark/backups");
    assert_eq!(about(&found(&world), "store"), ["store-same-disk local"]);
    world.machine.folder("/srv/ark/backups").writable = false;
    assert_eq!(
        about(&found(&world), "store"),
        ["store-unwritable local", "store-same-disk local"]
    );
    world.machine.file("/srv/ark/backups", "");
    assert_eq!(about(&found(&world), "store-u"), ["store-unwritable local"]);
    // One that is not there yet is made by the first backup, where that can be.
    world.machine.things.remove(Path::new("/srv/ark/backups"));
    assert_eq!(about(&found(&world), "store"), Vec::<&str>::new());
    world.machine.folder("/srv/ark").writable = false;
    assert_eq!(about(&found(&world), "store"), ["store-unwritable local"]);
    // Unless this host has published into it: then its disk is missing.
    world.machine.folder("/srv/ark");
    fs::create_dir_all(world.folder.root()).expect("made");
    let catalogue = Catalogue::open(&world.folder.catalogue(), "local").expect("a catalogue");
    assert_eq!(about(&found(&world), "store"), Vec::<&str>::new());
    let head = Link {
        generation: Generation(1),
        sha256: Digest::of(b"header"),
    };
    catalogue.set_head(&head).expect("kept");
    assert_eq!(about(&found(&world), "store"), ["store-gone local"]);
}

#[test]
fn a_bucket_that_is_reached_without_tls_is_told_unless_it_is_on_this_host() {
    for (endpoint, told) in [
        ("http://s3.lan:9000", true),
        ("http://127.0.0.1.example.com", true),
        ("http://user.localhost", true),
        ("http://127.0.0.1:9000", false),
        ("http://localhost", false),
        ("http://[::1]:9000/", false),
        ("https://s3.lan", false),
    ] {
        let (mut world, _root) = world();
        let backups = world.config.backups.as_mut().expect("backups");
        let s3 = serde_json::json!({ "s3": { "bucket": "ark", "endpoint": endpoint } });
        let store = serde_json::from_value(s3).expect("a store");
        backups.stores = [("offsite".to_owned(), store)].into();
        let found = codes(&backups::check(&world.scene()));
        let wanted: &[&str] = if told { &["store-plain-http offsite"] } else { &[] };
        assert_eq!(about(&found, "store"), wanted, "{endpoint}");
    }
}

#[test]
fn the_state_folder_is_for_its_owner_alone() {
    let mut world = World::of(PLAIN, "{}");
    assert_eq!(state::check(&world.scene()), [], "it can be made");
    world.machine.folder("/").writable = false;
    let found = state::check(&world.scene());
    assert_eq!(codes(&found), ["state-unwritable /state/ark"]);
    assert_eq!(found[0].severity, Severity::Error);
    world.machine.folder("/state/ark").place.mode = 0o755;
    assert_eq!(codes(&state::check(&world.scene())), ["state-exposed /state/ark"]);
    world.machine.folder("/state/ark").writable = false;
    assert_eq!(codes(&state::check(&world.scene())), ["state-unwritable /state/ark"]);
}

fn receipt(id: &str, outcome: &str) -> Receipt {
    Receipt {
        operation: id.parse().expect("an id"),
        kind: "release".into(),
        subject: "a → a:2".into(),
        outcome: outcome.into(),
        ok: false,
        because: Some("shift: refused".into()),
        by: "x".into(),
        started: Timestamp::UNIX_EPOCH,
        ended: Timestamp::UNIX_EPOCH,
        lines: Vec::new(),
        detail: Value::Null,
    }
}

#[test]
fn what_waits_for_a_person_is_told_with_the_way_on() {
    let world = World::of(PLAIN, BACKUPS);
    assert_eq!(operations::check(&world.scene(), &quiet()), []);
    let ids = [
        "20260101T000000Z-000001",
        "20260101T000000Z-000002",
        "20260101T000000Z-000003",
    ];
    let history = [
        receipt(ids[0], "deployed"),
        receipt(ids[1], "running"),
        receipt(ids[2], "stuck"),
    ];
    let affairs = |driven| Affairs {
        agent: AgentState::Absent,
        history: Ok(history.to_vec()),
        driven,
    };
    let found = operations::check(&world.scene(), &affairs(true));
    assert_eq!(
        codes(&found),
        ["agent-absent agent".to_owned(), format!("operation-stuck {}", ids[2])]
    );
    assert!(
        found[1].remedy.contains(&format!("arkwright resume {}", ids[2])),
        "{found:?}"
    );
    assert!(found[1].what.contains("shift: refused"), "{found:?}");
    let found = operations::check(&world.scene(), &affairs(false));
    assert_eq!(codes(&found)[1], format!("operation-interrupted {}", ids[1]));
    // Without schedules nobody misses an agent.
    let idle = World::of(PLAIN, "{}");
    assert_eq!(operations::check(&idle.scene(), &affairs(true)).len(), 1);
}
