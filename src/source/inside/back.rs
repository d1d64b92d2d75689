use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use rustix::fs::{Mode, OFlags};
use tokio_util::io::ReaderStream;

use crate::model::{ProjectName, ServiceName};
use crate::ports::{ByteStream, Container, Engine, EngineError, InnerProgram, ProgramFailed};

use super::postgres::LOGIN;
use super::{ASK, choose};

/// Indexes of a large database are made without a word.
const SILENCE: Duration = Duration::from_secs(24 * 3600);
/// With what is put before it while it is restored, a name has the 63 bytes that PostgreSQL keeps of one.
const LONGEST: usize = 40;

/// Where in a running service something from a snapshot goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Back {
    /// A dump of PostgreSQL, as a database that is not there yet.
    Database { user: Option<String>, name: String },
    /// Any file, to the standard input of a program of the local configuration.
    Program(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    #[error("{service} takes nothing now: {why}; {remedy}")]
    NotRunning {
        service: ServiceName,
        why: String,
        remedy: String,
    },
    #[error("`{0}` is not a name for a restored database: letters, digits and `_`, at most {LONGEST}, no digit first")]
    Name(String),
    #[error("{service} has a database `{name}` already, and nothing was changed; name another with --as")]
    Exists { service: ServiceName, name: String },
    #[error("{service} did not take it: {why}; no database `{name}` was made")]
    NoDatabase {
        service: ServiceName,
        name: String,
        why: String,
    },
    #[error("{service} did not take it: {why}; it may hold a part, which its own tools show")]
    Failed { service: ServiceName, why: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Puts a file, whose bytes were proven, into a running service.
///
/// A database appears under its name only once all of it is there; until then it has another, which a later try removes.
pub async fn put_back(
    engine: &dyn Engine,
    project: &ProjectName,
    service: &ServiceName,
    file: &Path,
    back: &Back,
) -> Result<(), PutBackError> {
    let file = open(file).map_err(|source| PutBackError::Read {
        path: file.to_path_buf(),
        source,
    })?;
    let observed = engine.observe(project).await?;
    let container = choose(&observed, service).map_err(|(why, remedy)| PutBackError::NotRunning {
        service: service.clone(),
        why,
        remedy,
    })?;
    let to = To {
        engine,
        service,
        container,
    };
    match back {
        Back::Program(words) => {
            let done = to.feed(words.clone(), file).await?;
            done.map_err(|why| PutBackError::Failed {
                service: service.clone(),
                why,
            })
        }
        Back::Database { user, name } => to.database(user.as_deref(), name, file).await,
    }
}

/// A plain file and nothing else: a link would lead to another file, and a named pipe is never done opening.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    Ok(file)
}

struct To<'a> {
    engine: &'a dyn Engine,
    service: &'a ServiceName,
    container: Container,
}

impl To<'_> {
    async fn database(&self, user: Option<&str>, name: &str, file: File) -> Result<(), PutBackError> {
        if !is_plain(name) {
            return Err(PutBackError::Name(name.to_owned()));
        }
        let half = format!("arkwright_restoring_{name}");
        let tool = |tool: &[&str]| login(user, tool);
        let refused = |why| PutBackError::NoDatabase {
            service: self.service.clone(),
            name: name.to_owned(),
            why,
        };
        // The name was checked: nothing in it ends the text.
        let query = format!("select 1 from pg_database where datname = '{name}'");
        let found = self.ask(&tool(&["psql", "-XAtqw", "-c", &query])).await?;
        if !found.map_err(refused)?.trim().is_empty() {
            return Err(PutBackError::Exists {
                service: self.service.clone(),
                name: name.to_owned(),
            });
        }
        let drop = tool(&["dropdb", "--if-exists", "--no-password", &half]);
        self.ask(&drop).await?.map_err(refused)?;
        let create = tool(&["createdb", "--template=template0", "--no-password", &half]);
        self.ask(&create).await?.map_err(refused)?;
        let restore = tool(&["pg_restore", "--exit-on-error", "--no-password", "--dbname", &half]);
        let rename = tool(&[
            "psql",
            "-Xqw",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            &format!("alter database \"{half}\" rename to \"{name}\""),
        ]);
        let done = match self.feed(restore, file).await {
            Ok(Ok(())) => Ok(self.ask(&rename).await?.map(|_| ())),
            other => other,
        };
        if matches!(done, Ok(Ok(()))) {
            return Ok(());
        }
        let removed = self.ask(&drop).await;
        if !matches!(removed, Ok(Ok(_))) {
            tracing::warn!("the database {half} stays in {}; the next try removes it", self.service);
        }
        done?.map_err(refused)
    }

    /// The inner error is the program's own.
    async fn ask(&self, words: &[String]) -> Result<Result<String, String>, EngineError> {
        let output = self.engine.exec(&self.container.id, words, ASK).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match output.exit_code {
            0 => Ok(text(&output.stdout)),
            exit_code => Err(ProgramFailed {
                program: tool_of(words),
                exit_code,
                stderr: text(&output.stderr),
            }
            .to_string()),
        })
    }

    async fn feed(&self, words: Vec<String>, file: File) -> Result<Result<(), String>, PutBackError> {
        let file = tokio::fs::File::from_std(file);
        let input: ByteStream = Box::pin(ReaderStream::with_capacity(file, 256 << 10));
        let program = InnerProgram {
            words,
            input: Some(input),
            silence: SILENCE,
        };
        let mut output = self.engine.stream_exec(&self.container.id, program).await?;
        while let Some(chunk) = output.next().await {
            if let Err(error) = chunk {
                return Ok(Err(crate::model::chain(&error)));
            }
        }
        Ok(Ok(()))
    }
}

fn login(user: Option<&str>, tool: &[&str]) -> Vec<String> {
    let head = ["sh", "-c", LOGIN, "arkwright", user.unwrap_or_default(), ""];
    head.iter().chain(tool).map(|word| (*word).to_owned()).collect()
}

/// Behind the login, where there is one.
fn tool_of(words: &[String]) -> String {
    words.get(6).or(words.first()).cloned().unwrap_or_default()
}

fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().all(plain) && name.len() <= LONGEST && name.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_plain_file_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("plain"), "x").expect("written");
        std::os::unix::fs::symlink(at("plain"), at("link")).expect("linked");
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).expect("made");
        std::fs::create_dir(at("folder")).expect("made");
        open(&at("plain")).expect("opened");
        for other in ["link", "pipe", "folder", "nothing"] {
            assert!(open(&at(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn a_name_cannot_be_more_than_a_name() {
        for good in ["shop", "_x", "Shop_2026"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in [
            "",
            "1st",
            "a-b",
            "a'b",
            "a\"b",
            "a b",
            "ä",
            &"a".repeat(41),
            "dbname=x",
            "a\0",
        ] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
