use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A small web server of these tests: every request gets what it was last told to answer.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    answer: Arc<Mutex<Vec<u8>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub async fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = Server {
            port: listener.local_addr().expect("an address").port(),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        server.say(status, body);
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    let mut head = vec![0; 8192];
                    let read = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    serving.asked.lock().expect("whole").push(head);
                    let answer = serving.answer.lock().expect("whole").clone();
                    // Whoever asked may be gone.
                    drop(stream.write_all(&answer).await);
                });
            }
        });
        server
    }

    pub fn say(&self, status: u16, body: &str) {
        let head =
            format!("HTTP/1.1 {status} Told\r\ncontent-type: text/plain; version=0.0.4\r\nconnection: close\r\n");
        self.say_raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    pub fn say_raw(&self, bytes: &[u8]) {
        *self.answer.lock().expect("whole") = bytes.to_vec();
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("whole").clone()
    }
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    holder.local_addr().expect("an address").port()
}
