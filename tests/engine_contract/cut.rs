//! A socket between us and an engine that can be cut in the middle of a call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arkwright::engine;
use arkwright::ports::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bench::Bench;

pub struct Cut {
    folder: tempfile::TempDir,
    real: PathBuf,
    /// What is left to be passed on before the socket vanishes; each request is one.
    left: Arc<AtomicI64>,
    over: CancellationToken,
    hung_up: Arc<Notify>,
}

impl Cut {
    /// A socket that passes everything on until told otherwise.
    pub fn before(bench: &Bench) -> Self {
        let real = bench.engine.info().host.trim_start_matches("unix://").into();
        let mut cut = Cut {
            folder: tempfile::tempdir().expect("a folder"),
            real,
            left: Arc::default(),
            over: CancellationToken::new(),
            hung_up: Arc::default(),
        };
        cut.mend();
        cut
    }

    pub async fn bench(&self, bench: &Bench) -> Bench {
        let host = format!("unix://{}", self.socket().display());
        Bench {
            engine: engine::connect(Some(&host), &[]).await.expect("connected"),
            project: bench.project.clone(),
            image: bench.image.clone(),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("cut.sock")
    }

    /// After so many more requests every connection breaks and the socket is gone; the last request reaches the engine,
    /// and its answer nobody.
    pub fn after(&self, requests: i64) {
        self.left.store(requests, Ordering::SeqCst);
    }

    pub fn is_cut(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Every answer that is being passed on ends here, as if it were whole; new ones are passed on.
    pub fn hang_up(&self) {
        self.hung_up.notify_waiters();
    }

    pub fn mend(&mut self) {
        self.over.cancel();
        let socket = self.socket();
        if socket.exists() {
            std::fs::remove_file(&socket).expect("removed");
        }
        self.over = CancellationToken::new();
        self.left.store(i64::MAX, Ordering::SeqCst);
        let listener = UnixListener::bind(&socket).expect("a socket");
        let (real, left, over) = (self.real.clone(), self.left.clone(), self.over.clone());
        let hung_up = self.hung_up.clone();
        tokio::spawn(async move {
            loop {
                let client = tokio::select! {
                    () = over.cancelled() => break,
                    accepted = listener.accept() => accepted.expect("a connection").0,
                };
                let (real, left, over, socket) = (real.clone(), left.clone(), over.clone(), socket.clone());
                let hung_up = hung_up.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = over.cancelled() => {}
                        () = pass(client, &real, &left, &over, &hung_up, &socket) => {}
                    }
                });
            }
        });
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

async fn pass(
    client: UnixStream,
    real: &Path,
    left: &AtomicI64,
    over: &CancellationToken,
    hung_up: &Notify,
    socket: &Path,
) {
    let Ok(engine) = UnixStream::connect(real).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let asking = async {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(n) = from_client.read(&mut chunk).await {
            if n == 0 || to_engine.write_all(&chunk[..n]).await.is_err() {
                break;
            }
            // A request begins with its method.
            let begins = [&b"GET "[..], b"POST ", b"DELETE ", b"PUT ", b"HEAD "]
                .iter()
                .any(|m| chunk.starts_with(m));
            if begins && left.fetch_sub(1, Ordering::SeqCst) <= 1 {
                if let Err(error) = std::fs::remove_file(socket) {
                    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                }
                over.cancel();
                break;
            }
        }
        to_engine.shutdown().await.ok();
    };
    let answering = async {
        tokio::select! {
            () = hung_up.notified() => {}
            copied = tokio::io::copy(&mut from_engine, &mut to_client) => { copied.ok(); }
        }
        to_client.shutdown().await.ok();
    };
    tokio::join!(asking, answering);
}
