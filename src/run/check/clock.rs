use chrono::TimeDelta;

use crate::ports::ClockState;

use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

/// What is dated further ahead than this was written while the clock was wrong.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// The host's clock, and files from its future.
pub async fn check(scene: &Scene<'_>) -> Vec<Finding> {
    let state = scene.machine.clock().await;
    [kept(state), future(scene)].into_iter().flatten().collect()
}

const REASON: &str = "schedules, the order of releases and backups, the age of a backup and the tokens of workflows \
                      are all judged by the clock";

fn kept(state: ClockState) -> Option<Finding> {
    match state {
        ClockState::Synchronised => None,
        ClockState::Unsynchronised(by) => Some(Finding::new(
            Severity::Warning,
            "clock-unsynchronised",
            Subject::Host,
            format!("{by} says that this host's clock is not synchronised"),
            REASON,
            "`timedatectl set-ntp true`, or look why the time servers are not reached",
        )),
        ClockState::Unknown(why) => Some(Finding::unchecked(
            Severity::Note,
            "clock-unchecked",
            Subject::Host,
            "whether this host's clock is right",
            format!("{why}; {REASON}"),
            "install systemd-timesyncd or chrony; in a virtual machine the host may do it, then there is nothing to do",
        )),
    }
}

fn future(scene: &Scene<'_>) -> Option<Finding> {
    let root = scene.folder.root();
    // One that cannot be read is told by the check of the folder itself.
    let files = scene.machine.files(root).ok()?;
    let ahead: Vec<String> = files
        .found
        .iter()
        .filter(|(_, modified)| *modified > scene.now + AHEAD)
        .map(|(path, _)| path.strip_prefix(root).unwrap_or(path).display().to_string())
        .collect();
    (!ahead.is_empty()).then(|| {
        Finding::new(
            Severity::Warning,
            "state-from-the-future",
            Subject::path(root),
            format!("files below {} are dated in the future: {}", root.display(), list(&ahead)),
            "they were written while the clock was ahead, or it is behind now; what is newest can then not be told by time",
            "set the clock right; if it is right, wait until that time has passed before you trust the ages shown",
        )
    })
}
