//! When every request was sent and what became of it, for whoever has to say what happened at a certain moment.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Two files, each there or not.
#[derive(Default)]
pub struct Diary {
    answers: Option<Mutex<BufWriter<File>>>,
    losses: Option<Mutex<File>>,
}

impl Diary {
    pub fn open(answers: Option<&Path>, losses: Option<&Path>) -> Result<Self, String> {
        let create = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        Ok(Self {
            answers: answers.map(create).transpose()?.map(BufWriter::new).map(Mutex::new),
            losses: losses.map(create).transpose()?.map(Mutex::new),
        })
    }

    pub fn answered(&self, sent: SystemTime, status: u16, version: Option<&str>) {
        let Some(answers) = &self.answers else { return };
        let line = format!("{} {} {status} {}\n", micros(sent), now(), version.unwrap_or("none"));
        told(
            answers
                .lock()
                .map(|mut file| file.write_all(line.as_bytes()).map_err(|e| e.to_string())),
        );
    }

    /// On the disk at once: what is lost is rare, and looked at while the run goes on.
    pub fn lost(&self, sent: SystemTime, why: &str) {
        let Some(losses) = &self.losses else { return };
        let line = format!("{} {} {why}\n", micros(sent), now());
        told(
            losses
                .lock()
                .map(|mut file| file.write_all(line.as_bytes()).map_err(|e| e.to_string())),
        );
    }

    pub fn close(&self) -> Result<(), String> {
        let Some(answers) = &self.answers else { return Ok(()) };
        let mut answers = answers.lock().map_err(|error| error.to_string())?;
        answers.flush().map_err(|error| format!("--answers: {error}"))
    }
}

fn told<E: std::fmt::Display>(written: Result<Result<(), String>, E>) {
    match written {
        Ok(Ok(())) => {}
        Ok(Err(why)) => eprintln!("load: the diary has a gap: {why}"),
        Err(why) => eprintln!("load: the diary has a gap: {why}"),
    }
}

fn now() -> u128 {
    micros(SystemTime::now())
}

/// Since 1970.
fn micros(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}
