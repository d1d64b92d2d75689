//! What the tests of the router and of releases share: load that never tries again, WebSockets that notice being cut.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Waits until `done`; fails after `seconds`.
pub async fn until<F: Future<Output = bool>>(what: &str, seconds: u64, mut done: impl FnMut() -> F) {
    let begun = Instant::now();
    while !done().await {
        assert!(
            begun.elapsed() < Duration::from_secs(seconds),
            "waited {seconds} s for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// One keep-alive connection; nothing is ever sent twice.
pub struct Connection {
    stream: TcpStream,
    left: Vec<u8>,
    /// The other side said that this answer is its last.
    pub over: bool,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            left: Vec::new(),
            over: false,
        })
    }

    /// Status and body; the answer has to carry its length.
    pub async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<(u16, String)> {
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.stream.write_all(text.as_bytes()).await?;
        let broken = || std::io::Error::other("the answer broke off");
        loop {
            if let Some(end) = self.left.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.left[..end]).to_lowercase();
                let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(Ok(0), |n| n.trim().parse::<usize>())
                    .map_err(|_| broken())?;
                if self.left.len() >= end + 4 + length {
                    self.over = head.lines().any(|line| line == "connection: close");
                    let body = String::from_utf8_lossy(&self.left[end + 4..end + 4 + length]).into_owned();
                    self.left.drain(..end + 4 + length);
                    return Ok((status, body));
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await? {
                0 => return Err(broken()),
                n => self.left.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

/// Clients that POST over keep-alive connections until told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Counted>>,
}

#[derive(Debug, Default)]
pub struct Counted {
    pub sent: u64,
    /// Why each of them was lost.
    pub lost: Vec<String>,
    /// By the body of the answer.
    pub answers: BTreeMap<String, u64>,
    pub slowest: Duration,
}

impl Load {
    /// `pause` between two requests of a client.
    pub fn start(to: SocketAddr, path: &'static str, clients: usize, pause: Duration, headers: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let workers = (0..clients)
            .map(|client| {
                let stop = Arc::clone(&stop);
                let headers = headers.to_owned();
                tokio::spawn(async move {
                    let mut counted = Counted::default();
                    let mut connection = None;
                    while !stop.load(Ordering::SeqCst) {
                        if connection.as_ref().is_none_or(|c: &Connection| c.over) {
                            connection = Connection::open(to).await.ok();
                        }
                        counted.sent += 1;
                        let begun = Instant::now();
                        let result = match connection.as_mut() {
                            Some(open) => {
                                open.send("POST", path, &headers, &format!("{client}.{}", counted.sent))
                                    .await
                            }
                            None => Err(std::io::Error::other("not connected")),
                        };
                        counted.slowest = counted.slowest.max(begun.elapsed());
                        match result {
                            Ok((200 | 201, body)) => {
                                // Answers that differ every time are counted as one.
                                let kind = if body.len() > 20 { "answered".to_owned() } else { body };
                                *counted.answers.entry(kind).or_default() += 1;
                            }
                            Ok((status, _)) => counted.lost.push(format!("status {status}")),
                            Err(error) => {
                                counted.lost.push(error.to_string());
                                connection = None;
                            }
                        }
                        if !pause.is_zero() {
                            tokio::time::sleep(pause).await;
                        }
                    }
                    counted
                })
            })
            .collect();
        Load { stop, workers }
    }

    pub async fn stop(self) -> Counted {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Counted::default();
        for worker in self.workers {
            let one = worker.await.expect("a client ends");
            all.sent += one.sent;
            all.lost.extend(one.lost);
            all.slowest = all.slowest.max(one.slowest);
            for (answer, count) in one.answers {
                *all.answers.entry(answer).or_default() += count;
            }
        }
        all
    }
}

/// WebSockets that echo until told to stop; how many were cut before.
pub struct Sockets {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<bool>>,
}

impl Sockets {
    pub async fn open(to: SocketAddr, path: &str, count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(to).await.expect("connects");
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("an answer"));
            }
            assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
            let stop = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    // A masked text frame of two bytes; the mask is nought.
                    let frame = [0x81, 0x82, 0, 0, 0, 0, b'o', b'k'];
                    let mut answer = [0; 4];
                    if stream.write_all(&frame).await.is_err() || stream.read_exact(&mut answer).await.is_err() {
                        return false;
                    }
                    if answer != [0x81, 2, b'o', b'k'] {
                        return false;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                true
            }));
        }
        Sockets { stop, tasks }
    }

    pub async fn cut(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut cut = 0;
        for task in self.tasks {
            if !task.await.expect("a socket ends") {
                cut += 1;
            }
        }
        cut
    }
}
