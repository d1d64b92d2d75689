use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};

use crate::ports::{Program, Programs, Ran};

use super::ThisHost;

/// Bytes of each stream that are kept.
const KEPT: usize = 64 << 10;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For a pipe that a process outside the group still holds open.
const DREGS: Duration = Duration::from_millis(200);

#[async_trait]
impl Programs for ThisHost {
    async fn run(&self, program: &Program) -> io::Result<Ran> {
        let [name, arguments @ ..] = program.words.as_slice() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"));
        };
        // What the system makes of a relative program and another folder is not the same everywhere.
        let path = match name.contains('/') {
            true => program.folder.join(name),
            false => Path::new(name).to_path_buf(),
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .current_dir(&program.folder)
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", std::env::var_os("HOME").unwrap_or_else(|| "/".into()))
            .envs(program.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
        let (mut stdout, mut stderr) = (Tail::default(), Tail::default());
        let streams = (child.stdout.take(), child.stderr.take());
        let status = {
            let stdin = child.stdin.take();
            let reading = async {
                tokio::join!(
                    feed(stdin, &program.input),
                    stdout.fill(streams.0),
                    stderr.fill(streams.1)
                )
            };
            tokio::pin!(reading);
            tokio::select! {
                biased;
                status = child.wait() => {
                    // What it left running has no say any more, and holds the pipes open.
                    drop(group);
                    if tokio::time::timeout(DREGS, reading).await.is_err() {
                        tracing::debug!("a process that a gate's program started left its group");
                    }
                    status?
                }
                _ = &mut reading => child.wait().await?,
            }
        };
        Ok(Ran {
            code: status.code(),
            stdout: stdout.end(),
            stderr: stderr.end(),
        })
    }
}

/// Closed when all is written; whoever does not read it need not.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(input).await
    {
        tracing::debug!("a program did not read all it was given: {error}");
    }
}

/// Ends the processes of a group when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0
            && let Err(error) = kill_process_group(pid, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, "what a gate's program started could not be ended");
        }
    }
}

/// The end of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Reads to the end, so that the writer is never held up.
    async fn fill(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = vec![0; 16 << 10];
        // A pipe that breaks has ended.
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            self.0.extend_from_slice(&chunk[..read]);
            if self.0.len() > 2 * KEPT {
                self.0.drain(..self.0.len() - KEPT);
            }
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.drain(..self.0.len().saturating_sub(KEPT));
        self.0
    }
}
