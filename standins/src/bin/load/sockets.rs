//! WebSockets that stay open, send an echo a second, and notice being cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Uri;
use standins::stop::Stopping;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::connect::{Connector, Stream};
use crate::count::SocketCount;

const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps one WebSocket open until told to stop, opening a new one whenever it was cut.
pub async fn run(url: Uri, number: u16, connector: Arc<Connector>, count: Arc<SocketCount>, mut stop: Stopping) {
    let mut echo = 0u64;
    while !stop.requested() {
        let mut socket = match timeout(PATIENCE, open(&url, &connector)).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(why)) => {
                refused(&count, &why).await;
                continue;
            }
            Err(_) => {
                refused(&count, "no answer to the upgrade").await;
                continue;
            }
        };
        count.opened.fetch_add(1, Ordering::Relaxed);
        loop {
            echo += 1;
            let text = format!("{number}-{echo}");
            match timeout(PATIENCE, exchange(&mut socket, &text)).await {
                Ok(true) => count.echoes.fetch_add(1, Ordering::Relaxed),
                Ok(false) | Err(_) => {
                    count.cut.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            };
            let cut = tokio::select! {
                () = sleep(Duration::from_secs(1)) => false,
                () = stop.wait() => {
                    // Its answer matters to nobody any more.
                    drop(timeout(PATIENCE, socket.close(None)).await);
                    return;
                }
                // Nothing is due between two echoes: whatever arrives is the end.
                _ = socket.next() => true,
            };
            if cut {
                count.cut.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
    }
}

async fn refused(count: &SocketCount, why: &str) {
    if count.refused.fetch_add(1, Ordering::Relaxed) == 0 {
        eprintln!("load: a WebSocket was refused: {why}");
    }
    sleep(Duration::from_millis(200)).await;
}

async fn open(url: &Uri, connector: &Connector) -> Result<WebSocketStream<Stream>, String> {
    let stream = connector.open(url).await?;
    let (socket, _) = client_async(url, stream).await.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// Sends `text` and waits for the same text to come back.
async fn exchange(socket: &mut WebSocketStream<Stream>, text: &str) -> bool {
    if socket.send(Message::text(text)).await.is_err() {
        return false;
    }
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(back) => return back.as_str() == text,
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return false,
        }
    }
    false
}
