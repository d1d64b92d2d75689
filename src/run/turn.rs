use std::path::Path;
use std::time::Duration;

use crate::state::{HostLock, LockError};

const AGAIN: Duration = Duration::from_millis(200);

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
                tokio::time::sleep(AGAIN).await;
            }
            taken => return taken,
        }
    }
}
