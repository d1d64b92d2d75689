use std::io;
use std::path::Path;

use crate::ports::ClockState;

use super::command::output;

/// Asks whatever keeps the clock: systemd's own client leaves a file, systemd asks the kernel, chrony answers itself.
pub(super) async fn clock() -> ClockState {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return ClockState::Synchronised;
    }
    let (systemd, chrony, ntpd) = tokio::join!(
        output("timedatectl", &["show", "--property=NTPSynchronized", "--value"]),
        output("chronyc", &["-n", "tracking"]),
        output("ntpq", &["-c", "rv 0 leap"]),
    );
    judge([
        systemd.map(|text| of_timedatectl(&text)),
        chrony.map(|text| of_chrony(&text)),
        ntpd.map(|text| of_ntp(&text)),
    ])
}

/// One that says the clock is right is believed; one that says it is wrong only where nobody says it is right.
fn judge(asked: [io::Result<Option<ClockState>>; 3]) -> ClockState {
    let said: Vec<ClockState> = asked.into_iter().flatten().flatten().collect();
    if said.contains(&ClockState::Synchronised) {
        return ClockState::Synchronised;
    }
    let nobody = "neither systemd, chrony nor ntpd answers here".to_owned();
    said.into_iter().next().unwrap_or(ClockState::Unknown(nobody))
}

fn of_timedatectl(text: &str) -> Option<ClockState> {
    match text.trim() {
        "yes" => Some(ClockState::Synchronised),
        "no" => Some(ClockState::Unsynchronised("systemd".into())),
        _ => None,
    }
}

fn of_chrony(text: &str) -> Option<ClockState> {
    let leap = text.lines().find_map(|line| line.strip_prefix("Leap status"))?;
    match leap.trim_start_matches([' ', ':']).trim() {
        "Not synchronised" => Some(ClockState::Unsynchronised("chrony".into())),
        "" => None,
        _ => Some(ClockState::Synchronised),
    }
}

/// The kernel's two bits; 3 is an alarm: never set.
fn of_ntp(text: &str) -> Option<ClockState> {
    let leap = text
        .split([',', '\n'])
        .find_map(|part| part.trim().strip_prefix("leap="))?;
    match leap.trim() {
        "3" | "11" => Some(ClockState::Unsynchronised("ntpd".into())),
        "0" | "00" | "1" | "01" | "2" | "10" => Some(ClockState::Synchronised),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> io::Result<Option<ClockState>> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn what_keepers_of_the_clock_say_is_understood() {
        assert_eq!(of_timedatectl("yes\n"), Some(ClockState::Synchronised));
        assert_eq!(
            of_timedatectl("no\n"),
            Some(ClockState::Unsynchronised("systemd".into()))
        );
        assert_eq!(of_timedatectl("Failed to connect"), None);
        let chrony = |word: &str| of_chrony(&format!("Stratum         : 3\nLeap status     : {word}\n"));
        assert_eq!(chrony("Normal"), Some(ClockState::Synchronised));
        assert_eq!(
            chrony("Not synchronised"),
            Some(ClockState::Unsynchronised("chrony".into()))
        );
        assert_eq!(of_chrony("506 Cannot talk to daemon\n"), None);
        assert_eq!(of_ntp("leap=00\n"), Some(ClockState::Synchronised));
        assert_eq!(of_ntp("leap=11\n"), Some(ClockState::Unsynchronised("ntpd".into())));
        assert_eq!(of_ntp(""), None);
    }

    #[test]
    fn a_clock_nobody_vouches_for_is_unknown() {
        assert!(matches!(judge([none(), none(), none()]), ClockState::Unknown(_)));
        let wrong = || Ok(Some(ClockState::Unsynchronised("systemd".into())));
        assert!(matches!(
            judge([wrong(), none(), none()]),
            ClockState::Unsynchronised(_)
        ));
        let right = Ok(Some(ClockState::Synchronised));
        assert_eq!(judge([wrong(), right, none()]), ClockState::Synchronised);
    }
}
