use std::sync::{Arc, Mutex};

use arkwright::engine::{self, Bollard};
use arkwright::model::{Login, Logins, Secret};
use arkwright::ports::{Engine, EngineError, EngineKind, Given, PullTrouble};
use arkwright::registry::{HostKeyring, Places};
use arkwright::run::{Progress, pull};

use crate::image::{make, unique};
use crate::server::{PASSWORD, Registry, USER, forget};

/// An engine that pulls with one login, or with none.
async fn engine(host: &str, registry: &Registry, password: Option<&str>) -> Bollard {
    let mut logins = Logins::default();
    if let Some(password) = password {
        let login = Login::Password {
            username: USER.into(),
            password: Secret::new(password),
        };
        logins.insert(registry.address.clone(), login);
    }
    let keyring = HostKeyring::new(Given::of(logins), Places::default());
    let engine = engine::connect(Some(host), &[]).await.expect("an engine");
    engine.with_keyring(Arc::new(keyring))
}

#[derive(Default)]
struct Heard {
    said: Mutex<Vec<String>>,
    kept: Mutex<Vec<Option<String>>>,
    terminal: bool,
}

impl Progress for Heard {
    fn say(&self, text: &str) {
        self.said.lock().expect("whole").push(text.to_owned());
    }

    fn keeps_lines(&self) -> bool {
        self.terminal
    }

    fn keep(&self, _: &str, text: Option<&str>) {
        self.kept.lock().expect("whole").push(text.map(str::to_owned));
    }
}

pub async fn a_pull_is_made_with_the_login_and_says_how_far_it_is(host: &str, registry: Registry) {
    let engine = engine(host, &registry, Some(PASSWORD)).await;
    let marker = unique("bulk");
    let local = format!("localhost/arkwright-test/{marker}:1");
    make(&engine, &local, &marker, 24 << 20).await;
    let pushed = engine.image(&local).await.expect("asked").expect("made");
    registry.push(host, &local, "bulk:1").await;
    forget(host, &local).await;
    let name = registry.name("bulk:1");
    assert!(engine.image(&name).await.expect("asked").is_none());

    for terminal in [true, false] {
        let heard = Heard {
            terminal,
            ..Heard::default()
        };
        pull(&engine, &name, &heard).await.expect("pulled");
        let found = engine.image(&name).await.expect("asked").expect("it is here");
        assert_eq!(found.id, pushed.id);
        let reference = name.parse().expect("a reference");
        assert!(
            found.digest_of(&reference).is_some_and(|d| d.starts_with("sha256:")),
            "{found:?}"
        );
        let (said, kept) = (
            heard.said.into_inner().expect("whole"),
            heard.kept.into_inner().expect("whole"),
        );
        println!("    {said:?} {kept:?}");
        let last = said.last().expect("said");
        assert!(
            last.starts_with(&format!("pulled {name}: ")) && last.contains(" layers in "),
            "{said:?}"
        );
        if terminal {
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(kept.len() > 1 && kept.last().expect("kept").is_none(), "{kept:?}");
        } else {
            assert_eq!(said[0], format!("pulling {name}"));
            assert_eq!(kept, [None]);
        }
        forget(host, &name).await;
    }
}

pub async fn what_is_wrong_is_said_with_the_registry_and_what_to_do(host: &str, mut registry: Registry) {
    let engine_with = async |password: Option<&str>| engine(host, &registry, password).await;
    let right = engine_with(Some(PASSWORD)).await;
    let wrong = engine_with(Some("hunter2")).await;
    let none = engine_with(None).await;
    let marker = unique("small");
    let local = format!("localhost/arkwright-test/{marker}:1");
    make(&right, &local, &marker, 100).await;
    registry.push(host, &local, "small:1").await;
    forget(host, &local).await;

    let address = registry.address.clone();
    let trouble = async |engine: &Bollard, name: &str| match engine.pull(name, &|_| {}).await {
        Err(error @ EngineError::Pull { .. }) => {
            let told = error.to_string();
            println!("    {told}");
            assert!(told.contains(&address) && !told.contains("hunter2"), "{told}");
            let EngineError::Pull { trouble, .. } = error else {
                unreachable!()
            };
            trouble
        }
        other => panic!("{name}: {other:?}"),
    };
    let here = registry.name("small:1");
    assert_eq!(trouble(&none, &here).await, PullTrouble::LoginMissing { why: None });
    let refused = trouble(&wrong, &here).await;
    assert_eq!(
        refused,
        PullTrouble::LoginRefused {
            who: format!("`{USER}`"),
            from: "--registry-auth".into()
        }
    );
    assert_eq!(
        trouble(&right, &registry.name("small:none")).await,
        PullTrouble::NotThere
    );
    assert_eq!(
        trouble(&right, &registry.name("nothing:1")).await,
        PullTrouble::NotThere
    );
    registry.stop();
    assert_eq!(trouble(&right, &here).await, PullTrouble::Unreachable);
    assert!(right.image(&here).await.expect("asked").is_none());
}

pub async fn the_registry_says_what_a_tag_means(host: &str, registry: Registry) {
    let right = engine(host, &registry, Some(PASSWORD)).await;
    let marker = unique("asked");
    let local = format!("localhost/arkwright-test/{marker}:1");
    make(&right, &local, &marker, 100).await;
    registry.push(host, &local, "asked:1").await;
    forget(host, &local).await;
    let name = registry.name("asked:1");
    let answer = right.registry_digest(&name).await;
    if right.info().kind == EngineKind::Podman {
        assert!(matches!(answer, Err(EngineError::Unsupported { .. })), "{answer:?}");
        return;
    }
    let digest = answer.expect("asked").expect("there");
    right.pull(&name, &|_| {}).await.expect("pulled");
    let found = right.image(&name).await.expect("asked").expect("here");
    assert_eq!(
        found.digest_of(&name.parse().expect("a reference")),
        Some(digest.as_str())
    );
    assert_eq!(
        right
            .registry_digest(&registry.name("asked:none"))
            .await
            .expect("asked"),
        None
    );
    let refused = engine(host, &registry, None).await.registry_digest(&name).await;
    assert!(matches!(refused, Err(EngineError::Pull { .. })), "{refused:?}");
    forget(host, &name).await;
}
