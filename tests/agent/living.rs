//! The agent of a project whose files, engine and stores change while it runs.

use std::fs;
use std::path::Path;
use std::process::Command;

use arkwright::app::{Living, Project, Selection, SystemClock, SystemEntropy};
use arkwright::backup::BackupStep;
use arkwright::model::{Logins, OperationId};
use arkwright::run::{Blame, Ledger, Operator, Order, Receipt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::support::{backup, deploy, time};
use super::{Alive, HOUR, Host, SECOND};

const COMPOSE: &str = "name: ark\nservices: { web: { image: \"web:${TAG}\" } }\n";

/// A project in a folder of its own, with keys; its state is the host's.
struct Ark {
    host: Host,
    folder: tempfile::TempDir,
    recipients: String,
}

impl Ark {
    fn new() -> Self {
        let mut ark = Ark {
            host: Host::new(),
            folder: tempfile::tempdir().expect("a folder"),
            recipients: String::new(),
        };
        ark.write("compose.yaml", COMPOSE);
        ark.write(".env", "TAG=1\n");
        ark.write("photo", "a photo");
        ark.configure("0 2 * * *", "./store");
        let made = Command::new(env!("CARGO_BIN_EXE_arkwright"))
            .args(["--json", "key", "new", "--recovery", "recovery.key"])
            .current_dir(ark.folder.path())
            .output()
            .expect("run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let made: serde_json::Value = serde_json::from_slice(&made.stdout).expect("JSON");
        ark.recipients = format!("{}, {}", made["recipients"]["recovery"], made["recipients"]["drill"]);
        ark.configure("0 2 * * *", "./store");
        ark
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("written");
    }

    fn configure(&self, schedule: &str, other_store: &str) {
        let (state, recipients) = (self.state(), &self.recipients);
        let text = format!(
            "state: {state}\n\
             services: {{ web: {{ release: {{ port: 80, health: {{ http: / }} }} }} }}\n\
             backups:\n  recipients: [{recipients}]\n  \
             stores: {{ local: {{ path: ./backups }}, other: {{ path: {other_store} }} }}\n  sets:\n    \
             photos: {{ schedule: \"{schedule}\", stores: [local], sources: [{{ path: ./photo }}] }}\n    \
             away: {{ stores: [other], sources: [{{ path: ./photo }}] }}\n\
             drills:\n  yearly: {{ of: photos, boot: [web], checks: [{{ http: \"web:80/\" }}] }}\n",
        );
        self.write("arkwright.yaml", &text);
    }

    fn state(&self) -> String {
        let state = self.host.folder.root().parent().expect("a folder of states");
        state.display().to_string()
    }

    fn selection(&self) -> Selection {
        Selection {
            files: vec![self.folder.path().join("compose.yaml")],
            host: Some(format!("unix://{}", self.engine().display())),
            ..Selection::default()
        }
    }

    fn engine(&self) -> std::path::PathBuf {
        self.folder.path().join("engine.sock")
    }

    async fn living(&self) -> Living {
        let project = Project::load(&self.selection()).expect("a project");
        Living::of(project).await.expect("alive")
    }

    async fn start(&self) -> Alive {
        self.host.start(self.living().await)
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger {
            folder: &self.host.folder,
            clock: &SystemClock,
            entropy: &SystemEntropy,
        }
    }

    /// What the services run as a backup knew it when it began.
    fn image_known_to(&self, id: &OperationId) -> String {
        let subject = self.ledger().subject::<BackupStep>(id).expect("a journal");
        subject.images[0].reference.clone()
    }
}

async fn carried_out(alive: &Alive, order: Order) -> Receipt {
    let id = alive.order(order).await.expect("taken").operation;
    alive.end(&id).await
}

#[tokio::test(start_paused = true)]
async fn an_edited_schedule_and_zone_are_kept_without_a_restart() {
    let ark = Ark::new();
    let alive = ark.start().await;
    tokio::time::sleep(SECOND).await;
    let next = || alive.agent.figures().schedules[0].next;
    assert_eq!(next(), Some(time("2026-11-21T02:00:00Z")));
    ark.configure("30 15 * * *", "./store");
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(next(), Some(time("2026-11-20T15:30:00Z")));
    let text = fs::read_to_string(ark.folder.path().join("arkwright.yaml")).expect("there");
    ark.write("arkwright.yaml", &format!("{text}timezone: Asia/Taipei\n"));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(next(), Some(time("2026-11-21T07:30:00Z")));
    tokio::time::sleep(20 * HOUR).await;
    let history = alive.agent.history().expect("told");
    assert_eq!(history.len(), 1, "{history:?}");
    assert_eq!(
        (history[0].by.as_str(), history[0].outcome.as_str()),
        ("schedule 30 15 * * *", "published")
    );
    ark.write("arkwright.yaml", &text.replace("schedule: \"30 15 * * *\", ", ""));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(alive.agent.figures().schedules, []);
    alive.stop().await;
}

#[tokio::test]
async fn an_order_is_planned_from_the_files_as_they_are() {
    let ark = Ark::new();
    let alive = ark.start().await;
    let mut images = Vec::new();
    for (file, text) in [
        ("photo", "another photo"),
        (".env", "TAG=2\n"),
        (
            "compose.yaml",
            "name: ark\ninclude: [more.yaml]\nservices: { web: { image: \"next:${TAG}\" } }\n",
        ),
        ("compose.override.yaml", "services: { web: { image: never } }\n"),
        ("more.yaml", "services: { also: { image: \"also:1\" } }\n"),
        ("more.yaml", "services: { also: { image: \"also:2\" } }\n"),
    ] {
        ark.write(file, text);
        if file.starts_with("compose.") {
            ark.write("more.yaml", "services: { also: { image: \"also:0\" } }\n");
        }
        let receipt = carried_out(&alive, backup("photos")).await;
        assert_eq!(receipt.outcome, "published");
        images.push(ark.image_known_to(&receipt.operation));
    }
    // `also` comes first by its name once it is there.
    assert_eq!(images, ["web:1", "web:2", "also:0", "also:0", "also:1", "also:2"]);
    alive.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_refuse_a_release_and_the_agent_goes_on() {
    let ark = Ark::new();
    let alive = ark.start().await;
    let good = fs::read_to_string(ark.folder.path().join("arkwright.yaml")).expect("there");
    ark.write("arkwright.yaml", &good.replace("recipients", "recipiants"));
    let refused = alive.order(deploy("web:3")).await.expect_err("refused");
    assert_eq!(refused.blame, Blame::Input);
    assert!(refused.message.contains("arkwright.yaml:4:3"), "{refused}");
    let said = Project::load(&ark.selection()).err().expect("refused here too");
    assert_eq!(refused.message, said.to_string());

    ark.write("compose.yaml", "services: [");
    let refused = alive.order(deploy("web:3")).await.expect_err("refused");
    assert_eq!(refused.blame, Blame::Input);
    assert!(refused.message.contains("compose.yaml:1:"), "{refused}");

    fs::remove_file(ark.folder.path().join("arkwright.yaml")).expect("removed");
    let receipt = carried_out(&alive, backup("photos")).await;
    assert_eq!(receipt.outcome, "published", "by the files as they last were");
    assert_eq!(alive.agent.figures().schedules.len(), 1);

    ark.write("compose.yaml", COMPOSE);
    let refused = alive.order(deploy("web:3")).await.expect_err("refused");
    assert!(refused.message.contains("there is no "), "{refused}");
    ark.write("arkwright.yaml", &good);
    let refused = alive.order(deploy("web:3")).await.expect_err("no engine");
    assert_eq!(refused.blame, Blame::Engine, "{refused}");
    alive.stop().await;
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_fails_what_uses_it_until_it_can() {
    let ark = Ark::new();
    ark.write("disk", "not mounted");
    ark.configure("0 2 * * *", "./disk/store");
    let alive = ark.start().await;
    assert_eq!(carried_out(&alive, backup("photos")).await.outcome, "published");
    let receipt = carried_out(&alive, backup("away")).await;
    assert!(!receipt.ok);
    let because = receipt.because.expect("a reason");
    assert!(because.contains("the store `other` cannot be used"), "{because}");
    assert!(because.contains("disk/store"), "{because}");
    fs::remove_file(ark.folder.path().join("disk")).expect("removed");
    assert_eq!(carried_out(&alive, backup("away")).await.outcome, "published");
    alive.stop().await;
}

#[tokio::test]
async fn what_an_agent_takes_at_its_start_stays() {
    let ark = Ark::new();
    let alive = ark.start().await;
    ark.write(
        "compose.yaml",
        "name: another\nservices: { web: { image: \"${COMPOSE_PROJECT_NAME}:1\" } }\n",
    );
    let text = fs::read_to_string(ark.folder.path().join("arkwright.yaml")).expect("there");
    let elsewhere = ark.folder.path().join("elsewhere").display().to_string();
    ark.write("arkwright.yaml", &text.replace(&ark.state(), &elsewhere));
    let receipt = carried_out(&alive, backup("photos")).await;
    assert_eq!(receipt.outcome, "published");
    assert_eq!(ark.image_known_to(&receipt.operation), "ark:1");
    assert!(!Path::new(&elsewhere).exists());
    alive.stop().await;
}

#[tokio::test]
async fn what_is_under_way_keeps_the_files_it_began_with() {
    let ark = Ark::new();
    let living = ark.living().await;
    let ears = super::api::Ears::default();
    living
        .begin(&id(1), &backup("away"), "a test", &Logins::default())
        .await
        .expect("begun");
    living
        .begin(&id(2), &backup("away"), "a test", &Logins::default())
        .await
        .expect("begun");
    let text = fs::read_to_string(ark.folder.path().join("arkwright.yaml")).expect("there");
    ark.write("arkwright.yaml", &text.replace("other", "renamed"));
    living
        .begin(&id(3), &backup("away"), "a test", &Logins::default())
        .await
        .expect("begun");
    for number in [1, 3] {
        let receipt = living.finish(&id(number), &ears, mpsc::channel(1).1).await;
        assert_eq!(receipt.expect("an end").outcome, "published");
    }
    let resumed = ark.living().await;
    let receipt = resumed.finish(&id(2), &ears, mpsc::channel(1).1).await.expect("an end");
    assert!(receipt.because.is_some_and(|why| why.contains("no store `other`")));
}

fn id(number: u32) -> OperationId {
    format!("20261120T120000Z-{number:06x}").parse().expect("an id")
}

/// An engine that says it is one and cannot do anything.
async fn ailing(listener: UnixListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap_or_default();
        let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
        let (status, body) = match asked.contains("/version ") || asked.contains("/info ") {
            true => ("200 OK", "{}"),
            false => ("500 Internal Server Error", r#"{"message":"out of order"}"#),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        );
        // Whoever asked may have hung up.
        stream.write_all(answer.as_bytes()).await.ok();
    }
}

#[tokio::test]
async fn an_engine_that_comes_late_or_goes_is_connected_to_again() {
    let ark = Ark::new();
    let living = ark.living().await;
    let refused = living
        .begin(&id(1), &deploy("web:3"), "a test", &Logins::default())
        .await;
    let refused = refused.expect_err("no engine");
    assert_eq!(refused.blame, Blame::Engine);
    assert!(refused.message.contains("no such socket"), "{refused}");
    assert!(living.repoint().await.is_err());

    let listen = || tokio::spawn(ailing(UnixListener::bind(ark.engine()).expect("bound")));
    let engine = listen();
    let refused = living
        .begin(&id(1), &deploy("web:3"), "a test", &Logins::default())
        .await;
    let refused = refused.expect_err("an ailing engine");
    assert!(refused.message.contains("out of order"), "{refused}");
    let drill = Order::Drill { name: "yearly".into() };
    living
        .begin(&id(2), &drill, "a test", &Logins::default())
        .await
        .expect("begun");

    engine.abort();
    fs::remove_file(ark.engine()).expect("removed");
    let ears = super::api::Ears::default();
    let finish = async || living.finish(&id(2), &ears, mpsc::channel(1).1).await;
    let held = finish().await.expect_err("no engine");
    assert!(held.message.contains("no such socket"), "{held}");
    let _engine = listen();
    let taken_on = tokio::time::timeout(SECOND, finish()).await;
    assert!(!matches!(taken_on, Ok(Err(_))), "{taken_on:?}");
}
