//! Whether photos are taken from the queue: not before someone says so, where a file says at the start to wait.

use std::path::Path;

use tokio::sync::{RwLock, RwLockReadGuard, watch};

pub struct Standby {
    paused: watch::Sender<bool>,
    /// Held for reading by whoever takes a photo.
    taking: RwLock<()>,
}

impl Standby {
    /// Standing by while the file named by `ARKWRIGHT_STANDBY` is there.
    pub fn from_env() -> Self {
        let mark = std::env::var_os("ARKWRIGHT_STANDBY");
        Standby::new(mark.is_some_and(|mark| Path::new(&mark).exists()))
    }

    fn new(paused: bool) -> Self {
        Standby {
            paused: watch::Sender::new(paused),
            taking: RwLock::new(()),
        }
    }

    /// Returns when nobody is taking a photo and nobody will; photos in hand are handed over all the same.
    pub async fn pause(&self) {
        self.paused.send_replace(true);
        drop(self.taking.write().await);
    }

    pub fn resume(&self) {
        self.paused.send_replace(false);
    }

    pub fn paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Waits until photos may be taken; none may be from the end of what it returns.
    pub async fn turn(&self) -> RwLockReadGuard<'_, ()> {
        loop {
            let mut paused = self.paused.subscribe();
            // The sender lives as long as this does.
            let waited = paused.wait_for(|paused| !paused).await.is_ok();
            let turn = self.taking.read().await;
            if waited && !self.paused() {
                return turn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_waits_for_whoever_takes_and_nobody_takes_after_it() {
        let standby = Standby::new(true);
        tokio::select! {
            biased;
            _ = standby.turn() => panic!("it stands by"),
            () = tokio::task::yield_now() => {}
        }
        standby.resume();
        let turn = standby.turn().await;
        tokio::select! {
            biased;
            () = standby.pause() => panic!("someone is taking"),
            () = tokio::task::yield_now() => {}
        }
        drop(turn);
        standby.pause().await;
        assert!(standby.paused());
        standby.pause().await;
    }
}
