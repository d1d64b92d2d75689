use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::model::ContainerId;
use crate::ports::{ByteStream, Container, EngineError, InnerProgram, ProgramFailed};

use super::bollard::Bollard;
use super::error::{call, refused, timeout};
use super::wire::Address;
use super::{exec, limits};

/// Pieces of output that may wait for whoever reads them.
const QUEUE: usize = 8;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

impl Bollard {
    pub(super) async fn stream_inside(
        &self,
        id: &ContainerId,
        program: InnerProgram,
    ) -> Result<ByteStream, EngineError> {
        let what = format!("`{}` in {id}", program.name());
        let container = self.inspect_container(id.as_str()).await?;
        let container = container.ok_or_else(|| EngineError::NotFound {
            what: format!("container {id}"),
        })?;
        let config = ExecConfig {
            cmd: Some(program.words.clone()),
            attach_stdin: Some(program.input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        self.count_write();
        let created = call(&what, limits::CHANGE, self.docker.create_exec(id.as_str(), config)).await?;
        let exec = created.map_err(|message| refused(&what, message))?.id;
        let options = StartExecOptions::default();
        let started = call(&what, limits::CHANGE, self.docker.start_exec(&exec, Some(options))).await?;
        let (output, input) = match started.map_err(|message| refused(&what, message))? {
            StartExecResults::Attached { output, input } => (output, input),
            StartExecResults::Detached => return Err(refused(&what, "it gave no streams".into())),
        };
        let (out, heard) = mpsc::channel(QUEUE);
        let running = Running {
            docker: self.docker.clone(),
            container,
            exec,
            what,
            name: program.name().to_owned(),
            silence: program.silence,
            local: matches!(self.address, Address::Unix(_)),
        };
        tokio::spawn(running.drive(output, program.input.map(|from| (from, input)), out));
        Ok(Box::pin(stream::unfold(Some(heard), listen)))
    }
}

/// What the task that drives a program says; without the last word nothing is whole.
enum Said {
    More(Bytes),
    Whole,
    Failed(io::Error),
}

async fn listen(heard: Option<mpsc::Receiver<Said>>) -> Option<(io::Result<Bytes>, Option<mpsc::Receiver<Said>>)> {
    let mut heard = heard?;
    match heard.recv().await {
        Some(Said::More(bytes)) => Some((Ok(bytes), Some(heard))),
        Some(Said::Whole) => None,
        Some(Said::Failed(error)) => Some((Err(error), None)),
        None => Some((Err(io::Error::other("the program was cut short")), None)),
    }
}

/// A program inside a container, and how it is ended.
struct Running {
    docker: Docker,
    container: Container,
    exec: String,
    what: String,
    name: String,
    silence: Duration,
    /// The engine is on this host.
    local: bool,
}

impl Running {
    async fn drive(self, output: Output, input: Option<(ByteStream, Input)>, out: mpsc::Sender<Said>) {
        let fed = Arc::new(AtomicU64::new(0));
        let (spoil, spoilt) = oneshot::channel();
        let feed = feed(input, fed.clone(), spoil);
        // Open until the program is ended: one that saw its input close would take a part for the whole.
        tokio::pin!(feed);
        let last = match self.follow(output, feed.as_mut(), spoilt, &fed, &out).await {
            Ok(()) => Said::Whole,
            Err(error) => {
                if let Err(error) = exec::kill(&self.docker, &self.exec, &self.container).await {
                    tracing::warn!(container = %self.container.name, %error, "a command could not be ended");
                }
                Said::Failed(error)
            }
        };
        if out.send(last).await.is_err() {
            tracing::trace!("nobody reads the output any more");
        }
    }

    /// Until the program has exited with 0; with any error it may be running still.
    async fn follow(
        &self,
        mut output: Output,
        mut feed: Pin<&mut impl Future<Output = ()>>,
        mut spoilt: oneshot::Receiver<io::Error>,
        fed: &AtomicU64,
        out: &mpsc::Sender<Said>,
    ) -> io::Result<()> {
        let mut feeding = true;
        let mut stderr = Vec::new();
        let mut before = 0;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(self.silence, output.next()) => next,
                Ok(error) = &mut spoilt, if feeding => return Err(error),
                () = &mut feed, if feeding => {
                    feeding = false;
                    continue;
                }
                () = out.closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            match next {
                Err(_) if fed.load(Ordering::Relaxed) > before => before = fed.load(Ordering::Relaxed),
                Err(_) => return Err(io::Error::other(timeout(&self.what, self.silence))),
                Ok(None) => break,
                // Podman's way of closing on input that a program did not want; what was written before is read by then,
                // and the exit code decides.
                Ok(Some(Err(bollard::errors::Error::IOError { err })))
                    if self.local
                        && err.kind() == io::ErrorKind::ConnectionReset
                        && fed.load(Ordering::Relaxed) > 0 =>
                {
                    break;
                }
                Ok(Some(chunk)) => match chunk.map_err(io::Error::other)? {
                    LogOutput::StdErr { message } => keep_end(&mut stderr, &message),
                    LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                        let sent = out.send(Said::More(message)).await;
                        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
                    }
                },
            }
        }
        match self.exit_code().await? {
            0 => Ok(()),
            exit_code => Err(io::Error::other(ProgramFailed {
                program: self.name.clone(),
                exit_code,
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
            })),
        }
    }

    /// After the end of the streams. What a program that runs on writes is lost, so its exit would say nothing.
    async fn exit_code(&self) -> io::Result<i64> {
        let ended = Instant::now();
        loop {
            match exec::exited(&self.docker, &self.exec, &self.what).await {
                Err(error) => return Err(io::Error::other(error)),
                Ok(Some(exit_code)) => return Ok(exit_code),
                Ok(None) if ended.elapsed() > limits::EXEC_ENDS => {
                    return Err(io::Error::other(format!(
                        "the engine ended the stream before the program ended; what `{}` wrote after that is lost: see \
                         that nothing between here and the engine cuts long connections, and run it again",
                        self.name
                    )));
                }
                Ok(None) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Writes the input and closes it, unless the input itself breaks: that is told, and the program's stays open. A program
/// that takes no more says by its exit whether it had enough.
async fn feed(input: Option<(ByteStream, Input)>, fed: Arc<AtomicU64>, spoil: oneshot::Sender<io::Error>) {
    let Some((mut from, mut to)) = input else { return };
    while let Some(chunk) = from.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                if spoil.send(error).is_err() {
                    tracing::trace!("the program had ended");
                }
                return std::future::pending().await;
            }
        };
        if to.write_all(&chunk).await.is_err() {
            return;
        }
        fed.fetch_add(1, Ordering::Relaxed);
    }
    if let Err(error) = to.shutdown().await {
        tracing::trace!(%error, "the program had closed its input");
    }
    // Some engines take a dropped half for the end of both.
    std::future::pending().await
}

fn keep_end(kept: &mut Vec<u8>, more: &[u8]) {
    kept.extend_from_slice(more);
    let surplus = kept.len().saturating_sub(limits::LAST_WORDS);
    kept.drain(..surplus);
}
