use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::sleep;

use crate::run::release::Reach;
use crate::run::{Blame, OperationError};
use crate::state::{HostLock, LockError};

use super::Living;

/// Without an engine that tells of starts, and beside one that does, the router is looked at this often.
const EVERY: Duration = Duration::from_secs(3);
/// How soon an engine that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(500);
/// Starts come in groups.
const GROUP: Duration = Duration::from_millis(50);

/// Why the addresses are looked at.
#[derive(Clone, Copy, PartialEq)]
enum Because {
    /// A container was started: its address may be another although the router has not noticed yet.
    Started,
    /// It is time: only where the router does not find something well.
    Due,
}

impl Living {
    /// Keeps the router's addresses those that its colours have, whoever starts their containers or the whole engine
    /// again; until it is dropped.
    pub async fn keep_pointed(&self) {
        loop {
            let told = async {
                match self.starts().await {
                    Ok(starts) => self.follow(starts).await,
                    Err(error) => {
                        tracing::debug!("the engine does not tell of starts: {error}");
                        sleep(AGAIN).await;
                    }
                }
            };
            // What was started before anybody listened is noticed here, and where nobody tells.
            let due = async {
                self.point(Because::Started).await;
                loop {
                    sleep(EVERY).await;
                    self.point(Because::Due).await;
                }
            };
            tokio::select! {
                () = told => {}
                () = due => {}
            }
        }
    }

    async fn starts(&self) -> Result<BoxStream<'static, ()>, OperationError> {
        let host = self.host(&self.last()).await?;
        let starts = host.engine()?.starts(&host.stack.name).await;
        starts.map_err(|error| OperationError::new(Blame::Engine, error))
    }

    async fn follow(&self, starts: BoxStream<'static, ()>) {
        let mut starts = starts.ready_chunks(64);
        while starts.next().await.is_some() {
            sleep(GROUP).await;
            self.point(Because::Started).await;
        }
    }

    async fn point(&self, because: Because) {
        match self.pointed(because).await {
            Ok(()) => {}
            Err(error) => tracing::debug!("the router's addresses were not looked at: {error}"),
        }
    }

    async fn pointed(&self, because: Because) -> Result<(), OperationError> {
        let host = self.host(&self.last()).await?;
        if because == Because::Due && !host.astray().await? {
            return Ok(());
        }
        let lock = match HostLock::take(&host.folder.stack_lock(), "the agent") {
            Ok(lock) => Some(lock),
            Err(LockError::Held { .. }) => None,
            Err(error) => return Err(OperationError::new(Blame::Host, error)),
        };
        let reach = if lock.is_some() { Reach::All } else { Reach::Serving };
        for service in host.repoint(reach).await? {
            tracing::info!("{service}: a container was started again elsewhere, and the router has its address");
        }
        Ok(())
    }

    /// The same once, before anything else is done.
    pub async fn repoint(&self) -> Result<(), OperationError> {
        self.pointed(Because::Started).await
    }
}
