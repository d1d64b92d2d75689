//! A WebSocket that sends back what it is sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};

use crate::metrics::Metrics;
use crate::stop::Stopping;

/// Longest message taken; a longer one ends the connection.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Echoes until the client leaves or the process is asked to end, which closes the connection with "going away".
pub async fn run(mut socket: WebSocket, metrics: Arc<Metrics>, mut stopping: Stopping) {
    metrics.sockets.fetch_add(1, Ordering::Relaxed);
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = stopping.wait() => {
                let away = CloseFrame { code: close_code::AWAY, reason: "restarting".into() };
                if let Err(error) = socket.send(Message::Close(Some(away))).await {
                    eprintln!("a WebSocket was gone before it was told: {error}");
                }
                break;
            }
        };
        let answer = match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
        };
        if socket.send(answer).await.is_err() {
            break;
        }
    }
    metrics.sockets.fetch_sub(1, Ordering::Relaxed);
}
