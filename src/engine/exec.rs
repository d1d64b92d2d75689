use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt;

use crate::model::ContainerId;
use crate::ports::{EngineError, ExecOutput};

use super::bollard::Bollard;
use super::error::{call, refused, timeout};
use super::limits;

impl Bollard {
    pub(super) async fn run_inside(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let program = command.first().map_or("nothing", String::as_str);
        let what = format!("`{program}` in {id}");
        let config = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        self.count_write();
        let created = call(&what, limits::CHANGE, self.docker.create_exec(id.as_str(), config)).await?;
        let exec = match created {
            Ok(exec) => exec.id,
            Err(message) => {
                return Err(match self.inspect_container(id.as_str()).await? {
                    None => EngineError::NotFound {
                        what: format!("container {id}"),
                    },
                    Some(_) => refused(&what, message),
                });
            }
        };
        match tokio::time::timeout(limit, self.collect(&exec, &what)).await {
            Ok(output) => output,
            Err(_) => {
                self.kill_exec(&exec, id).await?;
                Err(timeout(&what, limit))
            }
        }
    }

    async fn collect(&self, exec: &str, what: &str) -> Result<ExecOutput, EngineError> {
        let options = StartExecOptions {
            detach: false,
            ..StartExecOptions::default()
        };
        let started = call(what, limits::CHANGE, self.docker.start_exec(exec, Some(options))).await?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        match started.map_err(|message| refused(what, message))? {
            StartExecResults::Attached { mut output, .. } => {
                while let Some(chunk) = output.next().await {
                    let chunk = chunk.map_err(|source| EngineError::Broken {
                        what: what.to_owned(),
                        source: Box::new(source),
                    })?;
                    match &chunk {
                        LogOutput::StdErr { message } => keep(&mut stderr, message),
                        LogOutput::StdOut { message }
                        | LogOutput::StdIn { message }
                        | LogOutput::Console { message } => keep(&mut stdout, message),
                    }
                }
            }
            StartExecResults::Detached => {}
        }
        // The streams may end a moment before the engine has noted the exit.
        loop {
            let state = call(what, limits::READ, self.docker.inspect_exec(exec)).await?;
            let state = state.map_err(|message| refused(what, message))?;
            match (state.running, state.exit_code) {
                (Some(true), _) | (_, None) => tokio::time::sleep(Duration::from_millis(20)).await,
                (_, Some(exit_code)) => {
                    return Ok(ExecOutput {
                        exit_code,
                        stdout,
                        stderr,
                    });
                }
            }
        }
    }

    /// The engines have no call that ends an exec, but they name its process. It is killed only where that process is
    /// visibly one of this container's, so never a stranger's with the same number.
    async fn kill_exec(&self, exec: &str, id: &ContainerId) -> Result<(), EngineError> {
        let state = call("the end of a command", limits::READ, self.docker.inspect_exec(exec)).await?;
        let pid = state
            .ok()
            .and_then(|state| state.pid)
            .and_then(|pid| i32::try_from(pid).ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else {
            return Ok(());
        };
        let cgroup = tokio::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).await;
        let Some(container) = self.inspect_container(id.as_str()).await? else {
            return Ok(());
        };
        let ours = cgroup.is_ok_and(|text| text.contains(container.id.as_str()));
        if ours && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
            tracing::warn!(container = %container.name, %error, "a command that took too long could not be killed");
        }
        Ok(())
    }
}

fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    let room = limits::EXEC_OUTPUT.saturating_sub(kept.len());
    kept.extend_from_slice(&more[..more.len().min(room)]);
}
