//! `arkwright agent` from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use arkwright::cli::agent::{Args, Charge, serve_until};
use arkwright::cli::{Failure, Global, Kind};
use arkwright::config::AgentConfig;
use arkwright::http::AgentClient;
use arkwright::run::agent::Submission;
use arkwright::state::HostLock;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Host;
use super::support::{End, Script, backup};

fn global() -> Global {
    Global {
        logins: Default::default(),
        files: Vec::new(),
        project_name: None,
        project_directory: None,
        env_file: Vec::new(),
        profile: Vec::new(),
        config: None,
        state: None,
        host: None,
        json: false,
        quiet: true,
    }
}

/// The command with a way to tell it to end.
fn command(host: &Host, listen: &str) -> (oneshot::Sender<()>, JoinHandle<Result<(), Failure>>) {
    let slow = Script::of(4, Duration::from_secs(60), End::Good("published"));
    let operator = Arc::new(host.operator().with("slow", slow));
    let charge = Charge {
        project: "ark".parse().expect("a name"),
        config: AgentConfig {
            listen: listen.parse().expect("an address"),
            socket: Some(host.folder.root().join("a.sock")),
            group: None,
        },
        folder: host.folder.clone(),
    };
    let (tell, told) = oneshot::channel();
    let running = tokio::spawn(async move {
        let told = async { told.await.expect("told") };
        serve_until(&global(), &Args { socket: None }, operator, charge, told).await
    });
    (tell, running)
}

async fn answering(host: &Host) -> AgentClient {
    for _ in 0..200 {
        if let Ok(Some(client)) = AgentClient::find(&host.folder.root().join("a.sock")).await {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no agent answers");
}

#[tokio::test]
async fn it_serves_until_told_and_leaves_in_seconds_what_the_next_one_resumes() {
    let host = Host::new();
    let (tell, running) = command(&host, "127.0.0.1:0");
    let client = answering(&host).await;
    let submission = Submission {
        order: backup("slow"),
        by: "a test".into(),
        key: None,
        logins: Default::default(),
    };
    let id = client.submit(&submission).await.expect("taken").operation;
    let (_tell, second) = command(&host, "127.0.0.1:0");
    let refused = second.await.expect("no panic").expect_err("one project has one agent");
    assert_eq!(refused.kind(), Kind::Busy);

    let asked = std::time::Instant::now();
    tell.send(()).expect("listening");
    running.await.expect("no panic").expect("a good end");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    assert!(!host.folder.root().join("a.sock").exists());

    let (tell, running) = command(&host, "127.0.0.1:0");
    let client = answering(&host).await;
    assert_eq!(client.receipt(&id).await.expect("known").outcome, "running");
    assert!(client.submit(&submission).await.expect("joined").attached);
    tell.send(()).expect("listening");
    running.await.expect("no panic").expect("a good end");
}

#[tokio::test]
async fn it_waits_for_a_command_in_the_foreground_and_takes_over() {
    let host = Host::new();
    let lock = HostLock::take(&host.folder.lock(), "arkwright deploy").expect("free");
    let (tell, running) = command(&host, "127.0.0.1:0");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!host.folder.root().join("a.sock").exists());
    drop(lock);
    answering(&host).await;
    tell.send(()).expect("listening");
    running.await.expect("no panic").expect("a good end");
    HostLock::take(&host.folder.lock(), "a test").expect("free again");
}

#[tokio::test]
async fn it_does_not_listen_where_others_can_reach_it() {
    let host = Host::new();
    let (_tell, running) = command(&host, "0.0.0.0:7077");
    let refused = running.await.expect("no panic").expect_err("refused");
    assert_eq!(refused.kind(), Kind::Host);
    assert!(refused.to_string().contains("not a loopback address"), "{refused}");
}
