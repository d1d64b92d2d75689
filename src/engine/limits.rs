//! How long each kind of call may take, and how much of an answer is kept.

use std::time::Duration;

pub(super) const READ: Duration = Duration::from_secs(30);
pub(super) const CHANGE: Duration = Duration::from_secs(120);
/// Beyond a container's own grace, for an engine that is busy.
pub(super) const STOP_SLACK: Duration = Duration::from_secs(30);
/// Without a word from the engine: a layer may take long, silence may not.
pub(super) const PULL_SILENCE: Duration = Duration::from_secs(300);
/// For a question the engine passes on to a registry.
pub(super) const REGISTRY: Duration = Duration::from_secs(60);
pub(super) const IMPORT: Duration = Duration::from_secs(3600);

/// Without a byte of an archive: the engine walks a folder before it writes of it.
pub(super) const ARCHIVE_SILENCE: Duration = Duration::from_secs(600);

/// How often it is looked, every 20 ms, whether a command that is to be ended has begun.
pub(super) const EXEC_BEGINS: u32 = 100;
/// How long the engine may take to note the exit of a program whose streams have ended.
pub(super) const EXEC_ENDS: Duration = Duration::from_secs(5);
/// As much as is kept of the end of what a streamed program says on its standard error.
pub(super) const LAST_WORDS: usize = 4 << 10;
pub(super) const EXEC_OUTPUT: usize = 1 << 20;
pub(super) const LOG_TAIL: usize = 256 << 10;
/// As much of a log of Podman's as is read whole.
pub(super) const LOG_SHORT: usize = 4 << 20;
/// Podman 4.3 takes 20 s to find the last 40,000 lines of a log, and 15 ms for the last 100.
pub(super) const LOG_LINES: usize = 10_000;

/// What Docker gives a container that says nothing of it.
pub(super) const USUAL_GRACE: Duration = Duration::from_secs(10);
/// The most seconds an engine takes for a grace.
pub(super) const LONGEST_GRACE: Duration = Duration::from_secs(7 * 86_400);
