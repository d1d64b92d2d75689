use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; the next one waits in the kernel's queue.
const CONNECTIONS: usize = 128;
/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long answers under way get once the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);

pub enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Who is at the other end, as the kernel tells it; `None` over TCP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub Option<u32>);

impl Peer {
    /// Root, and whoever the agent itself runs as.
    pub fn may_do_anything(self) -> bool {
        self.0
            .is_some_and(|uid| uid == 0 || uid == rustix::process::geteuid().as_raw())
    }
}

type Stream = Either<UnixStream, TcpStream>;

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Either::Left(stream), Peer(Some(uid))))
            }
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Either::Right(stream), Peer(None)))
            }
        }
    }
}

/// Answers requests until `stop`, then lets what is under way finish for a moment.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(&listener, &room) => accepted,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: those in use come free.
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone().layer(Extension(peer)));
        let stop = stop.clone();
        connections.spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }
    connections.close();
    if tokio::time::timeout(FAREWELL, connections.wait()).await.is_err() {
        tracing::debug!("some clients did not let go");
    }
}

async fn next(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> io::Result<(Stream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_agents_own_user_may_do_anything_and_nobody_else() {
        let own = rustix::process::geteuid().as_raw();
        assert!(Peer(Some(0)).may_do_anything() && Peer(Some(own)).may_do_anything());
        assert!(!Peer(None).may_do_anything() && !Peer(Some(own + 4711)).may_do_anything());
    }
}
