use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures_util::StreamExt;
use rustix::process::{Pid, Signal};

use crate::model::ContainerId;
use crate::ports::{Container, EngineError, ExecOutput};

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
        Ok(ExecOutput {
            exit_code: exit_code(&self.docker, exec, what).await?,
            stdout,
            stderr,
        })
    }

    /// The engines have no call that ends an exec, but they name its process. It is killed, with what it started, only
    /// where that is visibly the container's, so never a stranger's with the same number.
    async fn kill_exec(&self, exec: &str, id: &ContainerId) -> Result<(), EngineError> {
        let Some(container) = self.inspect_container(id.as_str()).await? else {
            return Ok(());
        };
        kill(&self.docker, exec, &container).await
    }
}

/// Waits for the exit: the streams may end a moment before the engine has noted it.
pub(super) async fn exit_code(docker: &Docker, exec: &str, what: &str) -> Result<i64, EngineError> {
    loop {
        match exited(docker, exec, what).await? {
            Some(exit_code) => return Ok(exit_code),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// `None` where it runs still, as far as the engine has noted.
pub(super) async fn exited(docker: &Docker, exec: &str, what: &str) -> Result<Option<i64>, EngineError> {
    let state = call(what, limits::READ, docker.inspect_exec(exec)).await?;
    let state = state.map_err(|message| refused(what, message))?;
    Ok(state.exit_code.filter(|_| state.running != Some(true)))
}

/// The process of an exec that runs. One that was only just asked for is waited for a moment.
async fn pid(docker: &Docker, exec: &str) -> Result<Option<Pid>, EngineError> {
    for _ in 0..limits::EXEC_BEGINS {
        let Ok(state) = call("the end of a command", limits::READ, docker.inspect_exec(exec)).await? else {
            return Ok(None);
        };
        let pid = state
            .pid
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        match (state.running, pid) {
            (Some(true), Some(pid)) => return Ok(Some(pid)),
            // It has run.
            (_, Some(_)) => return Ok(None),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    Ok(None)
}

/// Ends an exec of this container; see [`Bollard::kill_exec`].
pub(super) async fn kill(docker: &Docker, exec: &str, container: &Container) -> Result<(), EngineError> {
    let Some(pid) = pid(docker, exec).await? else {
        return Ok(());
    };
    let id = container.id.clone();
    let killed = tokio::task::spawn_blocking(move || kill_tree(pid, id.as_str())).await;
    if let Ok(Err(error)) = killed {
        tracing::warn!(container = %container.name, %error, "a command that took too long could not be killed");
    }
    Ok(())
}

/// Rounds in which a process may have started more of them while it was being stopped.
const ROUNDS: usize = 10;

/// Kills a process and all it started, as far as they are the container's. Each is stopped before the next look, so that
/// none starts another one unseen.
fn kill_tree(root: Pid, container: &str) -> io::Result<()> {
    let mut stopped = BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = tree(root)?;
        let new: Vec<Pid> = found
            .into_iter()
            .filter(|pid| !stopped.contains(&pid.as_raw_nonzero()) && belongs(*pid, container))
            .collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, Signal::STOP)?;
            stopped.insert(pid.as_raw_nonzero());
        }
    }
    for pid in stopped.into_iter().filter_map(|pid| Pid::from_raw(pid.get())) {
        signal(pid, Signal::KILL)?;
    }
    Ok(())
}

/// One that has ended by itself needs no signal.
fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn belongs(pid: Pid, container: &str) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero()));
    groups.is_ok_and(|groups| groups.contains(container))
}

/// A process and its descendants, as this machine numbers them.
fn tree(root: Pid) -> io::Result<Vec<Pid>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that ends meanwhile is none.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root.as_raw_nonzero().get()];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    Ok(found.into_iter().filter_map(Pid::from_raw).collect())
}

/// The name in brackets may hold anything.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    let room = limits::EXEC_OUTPUT.saturating_sub(kept.len());
    kept.extend_from_slice(&more[..more.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b (c) S 8 12"), Some(8));
        assert_eq!(parent("12 (sh"), None);
        assert_eq!(parent("12 (sh) S"), None);
    }

    #[test]
    fn a_process_is_not_killed_for_a_container_it_is_not_of() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("started");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a number")).expect("a process");
        assert!(tree(pid).expect("read").contains(&pid));
        kill_tree(pid, "no-container-of-this-name").expect("nothing to do");
        assert!(child.try_wait().expect("asked").is_none(), "it was killed");
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}
