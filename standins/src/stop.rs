//! Telling tasks to end, once.

use tokio::sync::watch;

/// Who may say it.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Learns that it was said.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    pub fn stopping(&self) -> Stopping {
        Stopping(self.0.subscribe())
    }
}

impl Stopping {
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves once it was said; at once when it already was.
    pub async fn wait(&mut self) {
        // An error means that whoever would say it is gone, and that is an end too.
        drop(self.0.wait_for(|stop| *stop).await);
    }
}
