//! Clients that ask who answers, and note it with the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arkwright::model::Timestamp;
use tokio::task::JoinHandle;

use crate::lab::Connection;

const OLD: &str = "1.0.0";

/// Who answered a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    Old,
    New,
    /// The new one, with an error of its own.
    Spoilt,
    /// Nobody whose answer says who: why.
    Lost(String),
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub asked: Timestamp,
    pub who: Who,
}

pub struct Clients {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<Answer>>>,
}

impl Clients {
    /// `pause` between two requests of a client; a request that failed is not sent again.
    pub fn start(to: SocketAddr, count: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count).map(|_| tokio::spawn(ask(to, pause, Arc::clone(&stop))));
        Clients {
            tasks: tasks.collect(),
            stop,
        }
    }

    pub async fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("a client ends"));
        }
        all
    }
}

async fn ask(to: SocketAddr, pause: Duration, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut connection: Option<Connection> = None;
    while !stop.load(Ordering::SeqCst) {
        if connection.as_ref().is_none_or(|open| open.over) {
            connection = Connection::open(to).await.ok();
        }
        let asked = SystemTime::now().into();
        let answer = match connection.as_mut() {
            Some(open) => open.send("GET", "/version", "", "").await,
            None => Err(std::io::Error::other("not connected")),
        };
        let who = match answer {
            Ok((200, body)) if body.contains(&format!("\"version\":\"{OLD}\"")) => Who::Old,
            Ok((200, body)) if body.contains("\"version\":") => Who::New,
            Ok((500, body)) if body == "STANDIN_FAIL\n" => Who::Spoilt,
            Ok((status, body)) => Who::Lost(format!("status {status}: {body}")),
            Err(error) => {
                connection = None;
                Who::Lost(error.to_string())
            }
        };
        answers.push(Answer { asked, who });
        tokio::time::sleep(pause).await;
    }
    answers
}
