use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::app::{Living, SystemClock, SystemEntropy};
use crate::config::AgentConfig;
use crate::http::{Listener, Socket, api, bind_monitor, monitor, serve, socket_of};
use crate::model::ProjectName;
use crate::run::agent::Agent;
use crate::run::{Operator, turn};
use crate::state::ProjectFolder;

use super::{Failure, Global, Kind, OrFail, Terminal, project};

/// How long answers under way get at the end.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub struct Args {
    /// Where clients reach the agent [default: `agent.socket` of arkwright.yaml, else /run/arkwright/PROJECT.sock]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// The project an agent is for.
pub struct Charge {
    pub project: ProjectName,
    pub config: AgentConfig,
    pub folder: ProjectFolder,
}

/// The agent of the project the arguments name.
pub async fn start(global: &Global, args: &Args) -> Result<(), Failure> {
    let project = project::configured(global)?;
    let charge = Charge {
        project: project.stack().name.clone(),
        config: project.config.agent.clone(),
        folder: project.folder().or_fail(Kind::Host)?,
    };
    let living = Living::of(project).await.or_fail(Kind::Host)?;
    // Until the engine answers, the router serves what it can.
    if let Err(error) = living.repoint().await {
        Terminal::of(global).warn(&format!("the router's addresses were not looked at yet: {error}"));
    }
    let living = Arc::new(living);
    let pointing = living.clone();
    let _pointing = AbortOnDropHandle::new(tokio::spawn(async move { pointing.keep_pointed().await }));
    run(global, args, living, charge).await
}

/// Owns the project's operations until SIGTERM or SIGINT; what is at work then is resumed by the next agent.
pub async fn run(global: &Global, args: &Args, operator: Arc<dyn Operator>, charge: Charge) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).or_fail(Kind::Host)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(Kind::Host)?;
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve_until(global, args, operator, charge, told).await
}

/// The same until `told`.
pub async fn serve_until(
    global: &Global,
    args: &Args,
    operator: Arc<dyn Operator>,
    charge: Charge,
    told: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let path = args
        .socket
        .clone()
        .or(charge.config.socket)
        .unwrap_or_else(|| socket_of(&charge.project));
    tokio::pin!(told);
    Socket::check(&path).or_fail(Kind::Busy)?;
    let listener = bind_monitor(charge.config.listen).await.or_fail(Kind::Host)?;
    let address = listener.local_addr().or_fail(Kind::Host)?;
    // A command that is at work in the foreground is waited for, and taken over from.
    let host_lock = charge.folder.lock();
    let lock = tokio::select! {
        lock = turn(&host_lock, "the agent", |text| terminal.note(text)) => lock.or_fail(Kind::Host)?,
        () = &mut told => return Ok(()),
    };
    if let Some(told) = lock.taken_over() {
        tracing::warn!("{told}");
    }
    let agent =
        Agent::open(operator, Arc::new(SystemClock), Arc::new(SystemEntropy), &charge.folder).or_fail(Kind::Damaged)?;
    let (socket, orders) = Socket::bind(&path, charge.config.group.as_deref()).or_fail(Kind::Host)?;
    terminal.note(&format!(
        "agent of {}: orders on {}, health and metrics on http://{address}",
        charge.project,
        path.display()
    ));
    let serving = tokio::spawn(serve(
        Listener::Unix(orders),
        api(agent.clone(), charge.project.clone()),
        agent.stopping(),
    ));
    let watching = tokio::spawn(serve(
        Listener::Tcp(listener),
        monitor(agent.clone(), charge.project),
        agent.stopping(),
    ));
    let work = agent.run();
    tokio::pin!(work);
    tokio::select! {
        () = &mut told => {
            terminal.note("stopping: what is at work is resumed at the next start");
            agent.stop();
            work.await;
        }
        () = &mut work => {}
    }
    let served = async { tokio::join!(serving, watching) };
    if tokio::time::timeout(FAREWELL, served).await.is_err() {
        tracing::debug!("some clients did not let go");
    }
    drop(socket);
    drop(lock);
    Ok(())
}
