use arkwright::plan::labels;
use arkwright::run::ConvergeError;
use arkwright::stack::{FileGrant, FileObject, FileSource, Service};

use crate::bench::Bench;
use crate::stacks::{Project, service, words};

fn grant(source: &str) -> FileGrant {
    FileGrant {
        source: source.into(),
        target: format!("/run/secrets/{source}"),
        uid: None,
        gid: None,
        mode: None,
    }
}

pub async fn a_secret_from_the_environment_is_a_file_inside(bench: &Bench) {
    let mut project = Project::three(bench);
    project.stack.services.retain(|name, _| name.as_str() == "cache");
    project.stack.secrets.insert(
        "token".into(),
        FileObject {
            name: "token".into(),
            from: FileSource::Environment("TOKEN".into()),
        },
    );
    let cache = project.service("cache");
    cache.user = Some("1234".into());
    cache.secrets.push(grant("token"));
    let plan = project.plan().await;
    assert!(plan.blocked.iter().any(|b| b.contains("TOKEN")), "{:?}", plan.blocked);
    assert!(matches!(project.perform(&plan).await, Err(ConvergeError::Blocked(_))));

    project.environment.insert("TOKEN".into(), "s3cret".into());
    project.up().await;
    let first = project.find("cache").await;
    assert_eq!(bench.sh(&first.id, "cat /run/secrets/token").await, "s3cret");
    assert_eq!(words(&project.plan().await), Vec::<String>::new());

    project.environment.insert("TOKEN".into(), "changed".into());
    project.up().await;
    let second = project.find("cache").await;
    assert_ne!(
        second.id, first.id,
        "a file that is mounted is seen anew only by a new container"
    );
    assert_eq!(bench.sh(&second.id, "cat /run/secrets/token").await, "changed");
    assert_eq!(words(&project.plan().await), Vec::<String>::new());
}

/// Whoever may list containers sees labels and commands; a secret is in neither.
pub async fn a_secret_is_in_no_label_and_no_command(bench: &Bench) {
    let web = Service {
        secrets: vec![grant("password")],
        environment: [("API_TOKEN".to_owned(), Some("token-4f1e77".to_owned()))].into(),
        ..service(bench, "web", "cat /run/secrets/password >/tmp/seen; sleep 600")
    };
    let mut project = Project::of(bench, [web]);
    let password = FileObject {
        name: "password".into(),
        from: FileSource::Environment("PASSWORD".into()),
    };
    project.stack.secrets.insert("password".into(), password);
    project.environment.insert("PASSWORD".into(), "word-9c20b1".into());
    project.up().await;
    let web = project.find("web").await;
    assert_eq!(
        bench
            .sh(&web.id, "cat /run/secrets/password; echo \" $API_TOKEN\"")
            .await,
        "word-9c20b1 token-4f1e77\n"
    );

    let mut seen = bench.inspect(&web.id).await;
    assert!(
        !seen.to_string().contains("word-9c20b1"),
        "the secret is in a file alone"
    );
    let environment = seen.pointer_mut("/Config/Env").expect("the environment").take();
    assert!(environment.to_string().contains("token-4f1e77"));
    assert!(
        !seen.to_string().contains("token-4f1e77"),
        "and this one in the environment alone: {seen}"
    );
    assert!(web.label(labels::SPEC_HASH).is_some_and(|hash| hash.len() == 64));
    let said = project.said.lines();
    assert!(
        !said.contains("word-9c20b1") && !said.contains("token-4f1e77"),
        "{said}"
    );
}
