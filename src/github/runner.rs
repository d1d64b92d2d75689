use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::ports::Entropy;

use super::command::{command, harmless, output, quoted};

/// A job summary that is larger is dropped whole by the runner.
const SUMMARY: u64 = 1 << 20;
const CUT: &str = "\n\n*The rest did not fit.*\n";

/// The runner as a step sees it: two files to append to, and a log in which some lines are commands.
pub struct Runner {
    output: Option<PathBuf>,
    summary: Option<PathBuf>,
    entropy: Arc<dyn Entropy>,
}

impl Runner {
    /// `get` reads the environment. Outside of a workflow the outputs are printed.
    pub fn new(get: impl Fn(&str) -> Option<String>, entropy: Arc<dyn Entropy>) -> Self {
        let path = |name| get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Runner {
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
            entropy,
        }
    }

    pub fn error(&self, title: &str, message: &str) {
        self.write(&format!("{}\n", command("error", Some(title), message)));
    }

    pub fn warning(&self, title: &str, message: &str) {
        self.write(&format!("{}\n", command("warning", Some(title), message)));
    }

    /// Has the runner hide a value wherever it shows; every line of it counts on its own too.
    pub fn mask(&self, secret: &str) {
        let lines = secret.lines().filter(|line| !line.is_empty());
        let whole = secret.contains('\n').then_some(secret);
        for value in lines.chain(whole) {
            self.write(&format!("{}\n", command("add-mask", None, value)));
        }
    }

    /// For a person to read; nothing in it is taken for a command.
    pub fn log(&self, text: &str) {
        let text = text.trim_end();
        match text.contains('\n') {
            true => self.write(&quoted(text, &self.random())),
            false => self.write(&format!("{}\n", harmless(text))),
        }
    }

    pub fn output(&self, name: &str, value: &str) -> io::Result<()> {
        let Some(path) = &self.output else {
            self.log(&format!("{name}={value}"));
            return Ok(());
        };
        let entry = output(name, value, &format!("end_{}", self.random()))
            .ok_or_else(|| io::Error::other("the value holds the delimiter"))?;
        append(path, entry.as_bytes())
    }

    /// Appends to the job's summary, cut where it would be too large to be shown.
    pub fn summary(&self, markdown: &str) -> io::Result<()> {
        let Some(path) = &self.summary else { return Ok(()) };
        let there = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        let room = usize::try_from(SUMMARY.saturating_sub(there)).unwrap_or_default();
        if markdown.len() <= room {
            return append(path, markdown.as_bytes());
        }
        let Some(room) = room.checked_sub(CUT.len()) else {
            return Ok(());
        };
        let cut = &markdown[..markdown.floor_char_boundary(room)];
        append(path, format!("{cut}{CUT}").as_bytes())
    }

    fn random(&self) -> String {
        let mut chance = [0; 16];
        self.entropy.fill(&mut chance);
        hex::encode(chance)
    }

    /// A log nobody reads any more is no reason to stop: the operation is followed for its outputs too.
    fn write(&self, text: &str) {
        let mut log = io::stdout().lock();
        if let Err(error) = log.write_all(text.as_bytes()).and_then(|()| log.flush()) {
            tracing::debug!("the log is gone: {error}");
        }
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn runner(folder: &Path) -> Runner {
        let get = |name: &str| Some(folder.join(name).to_string_lossy().into_owned());
        Runner::new(get, Arc::new(Fixed))
    }

    #[test]
    fn outputs_are_appended_with_a_delimiter_their_value_cannot_know() {
        let folder = tempfile::tempdir().expect("a folder");
        let runner = runner(folder.path());
        runner.output("outcome", "deployed").expect("written");
        runner.output("note", "two\nlines=1").expect("written");
        let end = format!("end_{}", "07".repeat(16));
        assert_eq!(
            fs::read_to_string(folder.path().join("GITHUB_OUTPUT")).expect("there"),
            format!("outcome<<{end}\ndeployed\n{end}\nnote<<{end}\ntwo\nlines=1\n{end}\n")
        );
        assert!(runner.output("x", &end).is_err());
    }

    #[test]
    fn a_summary_never_outgrows_what_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("GITHUB_STEP_SUMMARY");
        let runner = runner(folder.path());
        runner.summary(&"漢".repeat(400_000)).expect("written");
        let text = fs::read_to_string(&path).expect("whole characters");
        assert!(text.len() as u64 <= SUMMARY && text.len() as u64 > SUMMARY - 10);
        assert!(text.ends_with(CUT));
        runner.summary("more").expect("dropped");
        assert!(fs::metadata(&path).expect("there").len() <= SUMMARY);
    }
}
