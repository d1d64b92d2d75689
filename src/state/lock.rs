use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Who may drive operations of a project: one process at a time. The kernel releases it when the process ends.
#[derive(Debug)]
pub struct HostLock {
    /// Held for the lock it carries.
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{holder} is at work on this project; wait for it, or let the agent queue this (`arkwright agent`)")]
    Held { holder: String },
    #[error("the lock file {path} cannot be used")]
    Unusable {
        path: String,
        #[source]
        source: io::Error,
    },
}

impl HostLock {
    /// `who` is told to those who find the lock taken, beside the process id.
    pub fn take(path: &Path, who: &str) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable {
            path: path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                file.set_len(0).map_err(unusable)?;
                file.rewind().map_err(unusable)?;
                write!(file, "{who} (process {})", std::process::id()).map_err(unusable)?;
                Ok(HostLock { _file: file })
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.take(200).read_to_string(&mut holder).map_err(unusable)?;
                let holder = if holder.is_empty() {
                    "another arkwright".to_owned()
                } else {
                    holder
                };
                Err(LockError::Held { holder })
            }
            Err(error) => Err(unusable(error.into())),
        }
    }
}
