//! `hwayo-service migrate FILE SPAN`: what a release runs once from the new image; FILE tells how often that was.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use standins::switches::span;

/// File and span, when the command line is a migration.
pub fn asked(arguments: &[String]) -> Option<(&Path, &str)> {
    match arguments {
        [verb, file, takes] if verb == "migrate" => Some((Path::new(file), takes)),
        _ => None,
    }
}

/// Appends a line with the version when it begins and one when it is done, `takes` later.
pub async fn run(file: &Path, takes: &str, version: &str) -> ExitCode {
    say(&format!("migrating to {version}\n"));
    let migrated = async {
        let takes: Duration = span(takes)?;
        let noted = |word: &str| append(file, &format!("{version} {word}\n"));
        let failed = |error: io::Error| format!("{}: {error}", file.display());
        noted("began").map_err(failed)?;
        tokio::time::sleep(takes).await;
        noted("done").map_err(failed)
    };
    match migrated.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say(&format!("the migration failed: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

/// In one write: engines keep what comes in parts as several entries, and may show only the last.
fn say(line: &str) {
    if let Err(error) = io::stderr().write_all(line.as_bytes()) {
        eprintln!("{error}");
    }
}

fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_run_leaves_two_lines() {
        let file = std::env::temp_dir().join(format!("migration-{}", std::process::id()));
        for _ in 0..2 {
            run(&file, "1ms", "1.1.0").await;
        }
        let told = std::fs::read_to_string(&file).expect("read");
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(told, "1.1.0 began\n1.1.0 done\n".repeat(2));
    }

    #[test]
    fn which_command_lines_are_migrations() {
        let words = ["migrate", "/data/log", "2s"].map(str::to_owned);
        assert_eq!(asked(&words), Some((Path::new("/data/log"), "2s")));
        assert_eq!(asked(&words[..2]), None);
    }
}
