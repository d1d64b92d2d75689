//! The agent's API over a real socket, with the client the command line and the actions use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arkwright::http::{AgentClient, ClientError, Listener, Socket, api, bind_monitor, monitor, serve};
use arkwright::journal::Request;
use arkwright::run::agent::Submission;
use arkwright::run::{Blame, News, UpdateKind, Watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::support::{End, Script, Scripted, backup, deploy};
use super::{Alive, Host};

#[derive(Default)]
pub struct Ears(Mutex<Vec<(UpdateKind, String)>>);

impl Watch for Ears {
    fn hear(&self, news: News) {
        if let News::Update(update) = news {
            self.0.lock().expect("whole").push((update.kind, update.text));
        }
    }
}

impl Ears {
    fn heard(&self) -> Vec<String> {
        let heard = self.0.lock().expect("whole");
        heard.iter().map(|(kind, text)| format!("{kind:?} {text}")).collect()
    }
}

/// An agent that listens, until it is dropped.
struct Listening {
    alive: Alive,
    _socket: Socket,
}

fn listen(host: &Host, operator: Scripted, path: &Path) -> Listening {
    let alive = host.start(operator);
    let (socket, listener) = Socket::bind(path, None).expect("bound");
    let router = api(alive.agent.clone(), "ark".parse().expect("a name"));
    tokio::spawn(serve(Listener::Unix(listener), router, alive.agent.stopping()));
    Listening { alive, _socket: socket }
}

fn quick(steps: usize, millis: u64) -> Script {
    Script::of(steps, Duration::from_millis(millis), End::Good("deployed"))
}

fn submission(image: &str) -> Submission {
    Submission {
        order: deploy(image),
        by: "a test".into(),
        key: None,
        logins: Default::default(),
    }
}

fn socket_of(host: &Host) -> PathBuf {
    host.folder.root().join("a.sock")
}

#[tokio::test]
async fn an_order_goes_there_and_its_news_come_back() {
    let host = Host::new();
    let path = socket_of(&host);
    assert!(AgentClient::find(&path).await.expect("asked").is_none());
    let listening = listen(&host, host.operator().with("deploy", quick(3, 100)), &path);
    let client = AgentClient::find(&path).await.expect("asked").expect("there");
    let about = client.about().await.expect("told");
    assert_eq!(
        (about.project.as_str(), about.version.as_str()),
        ("ark", env!("CARGO_PKG_VERSION"))
    );

    let accepted = client.submit(&submission("a")).await.expect("taken");
    assert!(client.submit(&submission("a")).await.expect("joined").attached);
    let (one, two) = (Ears::default(), Ears::default());
    let (receipt, same) = tokio::join!(
        client.follow(&accepted.operation, &one),
        client.follow(&accepted.operation, &two)
    );
    let receipt = receipt.expect("an end");
    assert_eq!(receipt, same.expect("an end"));
    assert_eq!(receipt, client.receipt(&accepted.operation).await.expect("told"));
    assert_eq!(vec![receipt.clone()], client.history().await.expect("told"));
    assert_eq!(one.heard(), two.heard());
    assert_eq!(one.heard().len(), 6);
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(receipt.by, format!("uid {uid} via socket: a test"));
    listening.alive.stop().await;
}

#[tokio::test]
async fn errors_cross_the_socket_whole() {
    let host = Host::new();
    let path = socket_of(&host);
    let refusal = arkwright::run::OperationError::because(Blame::NotFound, "no such service").hinted("look again");
    let operator = host
        .operator()
        .with("=bad", Script::of(1, Duration::ZERO, End::Refused(refusal.clone())))
        .with("=slow", quick(2, 400));
    let _listening = listen(&host, operator, &path);
    let client = AgentClient::at(&path);
    let refused = client.submit(&submission("bad")).await.expect_err("refused");
    assert!(matches!(refused, ClientError::Refused(error) if error == refusal));

    let id = client.submit(&submission("slow")).await.expect("taken").operation;
    client.request(&id, Request::Abort, "me").await.expect("aborted");
    let receipt = client.follow(&id, &Ears::default()).await.expect("an end");
    assert_eq!(receipt.outcome, "aborted");
    let over = client.request(&id, Request::Abort, "me").await.expect_err("over");
    assert!(matches!(over, ClientError::Refused(error) if error.blame == Blame::Failed));
    let nobody = "20261120T120000Z-ffffff".parse().expect("an id");
    for error in [
        client.receipt(&nobody).await.expect_err("unknown"),
        client.follow(&nobody, &Ears::default()).await.expect_err("unknown"),
    ] {
        assert!(matches!(error, ClientError::Refused(error) if error.blame == Blame::NotFound));
    }
}

/// What a hand-written request is answered: the status and the body.
async fn raw(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A refused body is not read to its end, so the connection may be reset after the answer.
    let read = stream.read_to_end(&mut answer).await;
    assert!(read.is_ok() || !answer.is_empty());
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_default();
    (
        status,
        text.split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default(),
    )
}

#[tokio::test]
async fn nothing_but_strict_json_of_a_bounded_size_is_taken() {
    let host = Host::new();
    let path = socket_of(&host);
    let _listening = listen(&host, host.operator(), &path);
    let post = |body: &str| {
        let length = body.len();
        format!("POST /v1/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let large = format!(
        r#"{{"order":{{"order":"backup","set":"{}"}},"by":"x"}}"#,
        "a".repeat(70_000)
    );
    for body in [
        "",
        "{",
        "[]",
        r#"{"order":{"order":"backup","set":"db"}}"#,
        r#"{"order":{"order":"backup","set":"db"},"by":"x","more":1}"#,
        r#"{"order":{"order":"backup","set":"db","more":1},"by":"x"}"#,
        r#"{"order":{"order":"format the disk"},"by":"x"}"#,
        r#"{"order":{"order":"deploy","service":"../etc","image":null,"no_canary":false},"by":"x"}"#,
        large.as_str(),
    ] {
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        let (status, answer) = raw(&mut stream, &post(body)).await;
        assert_eq!(status, 422, "{body:.80}: {answer}");
        let error: arkwright::run::OperationError = serde_json::from_str(&answer).expect("a typed error");
        assert_eq!(error.blame, Blame::Input);
    }
    assert!(host.begun().is_empty());
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    let (status, _) = raw(
        &mut stream,
        "GET /etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_follower_outlives_a_restart_of_the_agent() {
    let host = Host::new();
    let path = socket_of(&host);
    let operator = || host.operator().with("deploy", quick(3, 700));
    let first = listen(&host, operator(), &path);
    let client = AgentClient::at(&path);
    let id = client.submit(&submission("a")).await.expect("taken").operation;
    let ears = Ears::default();
    let (receipt, _second) = tokio::join!(client.follow(&id, &ears), async {
        tokio::time::sleep(Duration::from_millis(1000)).await;
        first.alive.stop().await;
        drop(first._socket);
        listen(&host, operator(), &path)
    });
    assert_eq!(receipt.expect("an end").outcome, "deployed");
    let heard = ears.heard();
    let finished = heard.iter().filter(|line| line.starts_with("Finished")).count();
    assert_eq!(finished, 3, "each step once: {heard:?}");
}

#[tokio::test]
async fn health_and_metrics_answer_this_host_alone() {
    let host = Host::new();
    let operator = host.operator().scheduled("0 2 * * *", backup("db"));
    let alive = host.start(operator);
    let listener = bind_monitor("127.0.0.1:0".parse().expect("an address"))
        .await
        .expect("bound");
    let address = listener.local_addr().expect("an address");
    let router = monitor(alive.agent.clone(), "ark".parse().expect("a name"));
    tokio::spawn(serve(Listener::Tcp(listener), router, alive.agent.stopping()));
    let ask = async |path: &str, name: &str| {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        raw(&mut stream, &request).await
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ask("/healthz", "127.0.0.1:7077").await, (200, "ok\n".to_owned()));
    let (status, metrics) = ask("/metrics", "localhost").await;
    assert_eq!(status, 200);
    let next = "arkwright_schedule_next_run_timestamp_seconds{schedule=\"back up db\"} 1795226400";
    assert!(metrics.lines().any(|line| line == next), "{metrics}");
    for path in ["/healthz", "/metrics"] {
        let (status, body) = ask(path, "rebound.evil.example").await;
        assert_eq!(status, 421);
        assert!(!body.contains("arkwright_"));
    }
    assert_eq!(
        ask("/v1/orders", "localhost").await.0,
        404,
        "orders come by the socket only"
    );
    alive.stop().await;
}

#[tokio::test]
async fn a_loop_that_stands_still_is_not_healthy() {
    let host = Host::new();
    let operator = Arc::new(host.operator());
    let agent = arkwright::run::agent::Agent::open(operator, host.clock.clone(), host.chance.clone(), &host.folder)
        .expect("an agent");
    assert!(!agent.alive(), "it has not come round once");
}
