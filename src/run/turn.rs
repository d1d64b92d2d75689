use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::state::{HostLock, LockError};

const AGAIN: Duration = Duration::from_millis(200);
/// Whoever only looks whether somebody is at work has the lock for less than this.
const GLANCE: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_millis(5);

/// Waits until the lock is free; `waiting` hears once who has it.
pub async fn turn(path: &Path, who: &str, waiting: impl Fn(&str) + Send) -> Result<HostLock, LockError> {
    let mut said = false;
    loop {
        match HostLock::take(path, who) {
            Err(LockError::Held { holder }) => {
                if !said {
                    waiting(&format!("waiting: {holder} is at work on this project"));
                    said = true;
                }
                sleep(AGAIN).await;
            }
            taken => return taken,
        }
    }
}

/// Takes the lock without waiting for anybody's work; refused where it is held for longer than a look takes.
pub async fn take_now(path: &Path, who: &str) -> Result<HostLock, LockError> {
    let begun = Instant::now();
    loop {
        match HostLock::take(path, who) {
            Err(LockError::Held { .. }) if begun.elapsed() < GLANCE => sleep(SOON).await,
            taken => return taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_at_the_lock_is_no_work_that_refuses_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let looking = HostLock::take(&path, "arkwright history").expect("free");
        let look = async {
            sleep(Duration::from_millis(50)).await;
            drop(looking);
        };
        let (taken, ()) = tokio::join!(take_now(&path, "a rollback"), look);
        let _working = taken.expect("taken when the look is over");
        let refused = take_now(&path, "another").await;
        assert!(
            matches!(&refused, Err(LockError::Held { holder }) if holder.contains("a rollback")),
            "{refused:?}"
        );
    }
}
