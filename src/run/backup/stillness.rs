use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::backup::Writer;
use crate::model::Span;
use crate::ports::{Router, RouterError, SourceError, Stillness};
use crate::run::take_now;
use crate::state::HostLock;

const LOOK: Duration = Duration::from_millis(5);
/// Nobody has to wait longer than this for a copy to begin.
const MOST_DRAIN: Duration = Duration::from_secs(2);

/// Keeps a service's requests at the router's gate while its database is copied, so that none of them meets a locked one.
#[derive(Clone)]
pub struct Gatekeeper {
    pub router: Arc<dyn Router>,
    /// The project's lock, whose holder alone works the gates; `None` for a release's own backup, which has it.
    pub lock: Option<PathBuf>,
}

/// The gates of one backup, from the blocking thread it reads on.
pub(super) struct Gates<'a> {
    pub keeper: Option<&'a Gatekeeper>,
    pub writers: &'a BTreeMap<PathBuf, Writer>,
    pub handle: &'a Handle,
}

impl Stillness for Gates<'_> {
    fn during(
        &self,
        database: &Path,
        copy: &mut dyn FnMut() -> Result<(), SourceError>,
    ) -> Result<Option<String>, SourceError> {
        let (Some(keeper), Some(writer)) = (self.keeper, self.writers.get(database)) else {
            return copy().map(|()| None);
        };
        let closed = match self.handle.block_on(keeper.close(writer)) {
            Ok(closed) => closed,
            Err(why) => {
                return copy().map(|()| {
                    Some(format!(
                        "{} was copied while {} could write, and may have been refused a moment: {why}",
                        database.display(),
                        writer.service
                    ))
                });
            }
        };
        let copied = copy();
        let opened = self.handle.block_on(keeper.open(writer, closed));
        copied?;
        Ok(Some(match opened {
            Ok(longest) => format!(
                "requests to {} waited up to {} while {} was copied",
                writer.service,
                longest.human(),
                database.display()
            ),
            Err(error) => format!(
                "the gate of {} could not be opened, and opens by itself {} after it was closed: {error}",
                writer.service,
                writer.hold.human()
            ),
        }))
    }
}

/// A gate that is closed, and the right to have it so.
struct Closed {
    _lock: Option<HostLock>,
}

impl Gatekeeper {
    /// Closed, with nothing of the service's running any more; the error is why that was not to be had.
    async fn close(&self, writer: &Writer) -> Result<Closed, String> {
        let lock = match &self.lock {
            Some(lock) => Some(
                take_now(lock, "a backup, which copies a database")
                    .await
                    .map_err(|error| error.to_string())?,
            ),
            None => None,
        };
        let gate = |closed| self.router.gate(&writer.service, closed);
        gate(Some(writer.hold)).await.map_err(|error| error.to_string())?;
        match self.drained(writer).await {
            Ok(0) => Ok(Closed { _lock: lock }),
            other => {
                if let Err(error) = gate(None).await {
                    tracing::warn!("the gate of {} opens when its time is over: {error}", writer.service);
                }
                Err(match other {
                    Ok(running) => format!("{running} requests were still running"),
                    Err(error) => error.to_string(),
                })
            }
        }
    }

    /// How many requests still run when it is waited for no longer.
    async fn drained(&self, writer: &Writer) -> Result<u64, RouterError> {
        let begun = Instant::now();
        let limit = writer.drain.std().min(MOST_DRAIN);
        loop {
            let slots = self.router.slots(&writer.service).await?;
            let running = slots.iter().map(|slot| slot.in_flight).sum();
            if running == 0 || begun.elapsed() >= limit {
                return Ok(running);
            }
            sleep(LOOK).await;
        }
    }

    /// The longest that anybody waited.
    async fn open(&self, writer: &Writer, _closed: Closed) -> Result<Span, RouterError> {
        self.router.gate(&writer.service, None).await?;
        Ok(self.router.waiting(&writer.service).await?.1)
    }
}
