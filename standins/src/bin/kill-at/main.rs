//! Runs a command and ends it with SIGKILL at an exact point: when its journal has so many records, or after a time.
//!
//! Prints one JSON object: whether it was killed or was faster, and what the journal's last record said by then.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use serde_json::Value;

/// Between two looks at the journal: less than a record takes to reach the disk.
const LOOK: Duration = Duration::from_micros(50);
/// A command that does not end by itself is killed all the same.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Parser)]
#[command(about = "Runs a command and kills it at a record of its journal, or after a time")]
struct Arguments {
    /// The journal: a file, or the folder in which the command will begin one.
    #[arg(long)]
    journal: PathBuf,
    /// What the names of journals in the folder end with.
    #[arg(long, default_value = "release")]
    kind: String,
    /// Kill when so many records are on disk.
    #[arg(long, conflicts_with = "after")]
    record: Option<usize>,
    /// Kill after so many milliseconds.
    #[arg(long, required_unless_present = "record")]
    after: Option<u64>,
    /// The command; its output goes to standard error.
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    killed: bool,
    /// Of a command that ended by itself.
    code: Option<i32>,
    milliseconds: f64,
    journal: Option<PathBuf>,
    records: usize,
    /// Such as `began create`.
    last: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(report) => {
            println!("{}", serde_json::json!(report));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("kill-at: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<Report> {
    let mut journal = Journal::before(&arguments.journal, &arguments.kind)?;
    let (program, words) = arguments
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .spawn()?;
    let due = arguments.after.map_or(PATIENCE, Duration::from_millis);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() >= due || arguments.record.is_some_and(|record| journal.records() >= record) {
            break killed(&mut child)?;
        }
        sleep(LOOK);
    };
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    Ok(Report {
        killed: status.signal().is_some(),
        code: status.code(),
        milliseconds,
        records: journal.records(),
        last: journal.last(),
        journal: journal.file,
    })
}

/// It may have ended by itself in the last moment; the status tells.
fn killed(child: &mut Child) -> io::Result<ExitStatus> {
    child.kill()?;
    child.wait()
}

/// The journal being written, once there is one.
struct Journal {
    folder: PathBuf,
    ending: String,
    known: BTreeSet<PathBuf>,
    file: Option<PathBuf>,
    length: u64,
    records: usize,
}

impl Journal {
    fn before(path: &Path, kind: &str) -> io::Result<Self> {
        let mut journal = Journal {
            folder: path.to_path_buf(),
            ending: format!(".{kind}"),
            known: BTreeSet::new(),
            file: path.is_file().then(|| path.to_path_buf()),
            length: 0,
            records: 0,
        };
        if journal.file.is_none() {
            journal.known = journal.listed();
        }
        Ok(journal)
    }

    /// Empty where the folder is not there yet.
    fn listed(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        paths
            .filter(|path| path.to_string_lossy().ends_with(&self.ending))
            .collect()
    }

    /// Whole lines after the head line.
    fn records(&mut self) -> usize {
        if self.file.is_none() {
            self.file = self.listed().difference(&self.known).next().cloned();
        }
        let Some(file) = &self.file else { return 0 };
        let length = fs::metadata(file).map_or(0, |meta| meta.len());
        if length != self.length
            && let Ok(bytes) = fs::read(file)
        {
            self.length = length;
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            self.records = lines.saturating_sub(1);
        }
        self.records
    }

    fn last(&self) -> Option<String> {
        let text = fs::read_to_string(self.file.as_ref()?).ok()?;
        let whole = &text[..=text.rfind('\n')?];
        let line = whole.lines().last()?;
        let record: Value = serde_json::from_str(line.split_once(' ')?.1).ok()?;
        let event = record["event"].as_str()?;
        Some(match record["step"]["step"].as_str() {
            Some(step) => format!("{event} {step}"),
            None => event.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["kill-at"], words].concat()).expect("arguments")
    }

    #[test]
    fn a_command_is_killed_when_its_journal_has_the_record() {
        let folder = std::env::temp_dir().join(format!("kill-at-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("old.release"), "head\na {}\nb {}\n").expect("written");
        let write = format!(
            r#"cd {}; echo head >new.release; echo '1 {{"event":"planned"}}' >>new.release
               echo '2 {{"event":"began","step":{{"step":"check"}}}}' >>new.release; exec sleep 60"#,
            folder.display()
        );
        let at = folder.display().to_string();
        let report = run(&arguments(&[
            "--journal",
            &at,
            "--record",
            "2",
            "--",
            "sh",
            "-c",
            &write,
        ]));
        let report = report.expect("run");
        assert!(report.killed && report.milliseconds < 50_000.0);
        assert_eq!((report.records, report.last.as_deref()), (2, Some("began check")));
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn one_that_is_faster_tells_its_exit_code() {
        let report = run(&arguments(&[
            "--journal",
            "/nowhere",
            "--after",
            "60000",
            "--",
            "sh",
            "-c",
            "exit 7",
        ]));
        let report = report.expect("run");
        assert_eq!((report.killed, report.code, report.records), (false, Some(7), 0));
    }
}
