use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

const PATIENCE: Duration = Duration::from_secs(3);

/// What a program of this machine prints, in the C locale; it is ended after 3 s.
pub(super) async fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let running = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, running).await;
    let output = output.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in 3 s"))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or_default().chars().take(200);
        return Err(io::Error::other(first.collect::<String>()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
