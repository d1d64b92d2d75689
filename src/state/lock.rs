use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use tokio_util::task::AbortOnDropHandle;

use super::Lease;

/// Between two signs of life of whoever holds a lock.
const BEAT: Duration = Duration::from_secs(5);

/// Who may drive operations of a project: one process at a time. The kernel releases it when the process ends; who has
/// it, and when he last gave a sign of life, is in the file.
#[derive(Debug)]
pub struct HostLock {
    held: Arc<Held>,
    /// Whoever had it before and ended without letting go.
    lost: Option<Lease>,
    /// None where no runtime is there to give signs of life.
    _beat: Option<AbortOnDropHandle<()>>,
}

/// The file is held for the lock it carries.
#[derive(Debug)]
struct Held {
    file: File,
    /// Of the last write; nobody writes past its end.
    lease: Mutex<Lease>,
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
    /// `what` is told to those who find the lock taken, beside who it is and when he last gave a sign of life.
    pub fn take(path: &Path, what: &str) -> Result<Self, LockError> {
        let unusable = unusable(path);
        let file = open(path).map_err(&unusable)?;
        let now = SystemTime::now().into();
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = Lease::parse(&contents(&file).map_err(unusable)?).told(now);
                return Err(LockError::Held { holder });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        let before = Lease::parse(&contents(&file).map_err(&unusable)?);
        let lease = Lease::now(what, now);
        let bytes = lease.bytes();
        file.write_all_at(&bytes, 0).map_err(&unusable)?;
        file.set_len(bytes.len() as u64).map_err(&unusable)?;
        let held = Arc::new(Held {
            file,
            lease: Mutex::new(lease),
        });
        Ok(HostLock {
            _beat: beating(&held),
            lost: before.lost(),
            held,
        })
    }

    /// Whether nobody has it; looking leaves no mark.
    pub fn is_free(path: &Path) -> Result<bool, LockError> {
        let unusable = unusable(path);
        let file = open(path).map_err(&unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(unusable(error.into())),
        }
    }

    /// Those who find it taken hear that this is what is done now.
    pub fn does(&self, what: &str) {
        self.held.write(|lease| lease.doing(what, SystemTime::now().into()));
    }

    /// Whose end it was taken over from, for a person; `None` where the last one let go.
    pub fn taken_over(&self) -> Option<String> {
        let lost = self.lost.as_ref()?;
        Some(format!(
            "the lock was taken over from {}, which ended without letting go; its last sign of life was at {}",
            lost.who(),
            lost.beat.format("%Y-%m-%d %H:%M:%S UTC")
        ))
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        self._beat = None;
        self.held.write(|lease| lease.ended(SystemTime::now().into()));
        // A sign of life may just be given with the file still in hand.
        if let Err(error) = flock(&self.held.file, FlockOperation::Unlock) {
            tracing::warn!("the lock could not be let go before its end: {error}");
        }
    }
}

impl Held {
    /// In one write, so that whoever reads meanwhile reads one or the other.
    fn write(&self, change: impl FnOnce(&Lease) -> Lease) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        if lease.ended.is_some() {
            return;
        }
        *lease = change(&lease);
        if let Err(error) = self.file.write_all_at(&lease.bytes(), 0) {
            tracing::warn!("who has the lock could not be written: {error}");
        }
    }
}

/// Signs of life come from a task among those that work: a process that is stopped, or whose runtime is, gives none.
fn beating(held: &Arc<Held>) -> Option<AbortOnDropHandle<()>> {
    let runtime = tokio::runtime::Handle::try_current().ok()?;
    let held = held.clone();
    let beat = async move {
        loop {
            tokio::time::sleep(BEAT).await;
            held.write(|lease| lease.alive(SystemTime::now().into()));
        }
    };
    Some(AbortOnDropHandle::new(runtime.spawn(beat)))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(Lease::LARGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> LockError {
    let path = path.display().to_string();
    move |source| LockError::Unusable {
        path: path.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_let_go_leaves_nothing_to_say_and_one_that_was_not_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = HostLock::take(&path, "deploy web").expect("free");
        assert_eq!(first.taken_over(), None);
        let held = HostLock::take(&path, "another").expect_err("held").to_string();
        let process = format!("process {}", std::process::id());
        assert!(held.contains("deploy web") && held.contains(&process), "{held}");
        assert!(held.contains("last sign of life"), "{held}");
        drop(first);
        let second = HostLock::take(&path, "deploy web").expect("free");
        assert_eq!(second.taken_over(), None);
        // What a killed process leaves: the kernel lets go, and nobody writes.
        let left = std::fs::read(&path).expect("there");
        drop(second);
        std::fs::write(&path, left).expect("written");
        assert!(HostLock::is_free(&path).expect("looked at"), "looking leaves the mark");
        let third = HostLock::take(&path, "resume").expect("free");
        let told = third.taken_over().expect("it was not let go");
        assert!(
            told.contains("deploy web") && told.contains("without letting go"),
            "{told}"
        );
        assert!(!HostLock::is_free(&path).expect("looked at"));
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_are_given_while_it_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let beat = || Lease::parse(&std::fs::read(&path).expect("there")).beat;
        let lock = HostLock::take(&path, "a long backup").expect("free");
        let first = beat();
        tokio::time::sleep(BEAT + Duration::from_millis(10)).await;
        assert!(beat() > first);
        drop(lock);
        let last = std::fs::read(&path).expect("there");
        tokio::time::sleep(BEAT * 3).await;
        assert_eq!(std::fs::read(&path).expect("there"), last, "nobody writes any more");
    }
}
