use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::{Failure, Kind, OrFail, Terminal};
use crate::app::{Project, SystemClock, SystemEntropy};
use crate::http::AgentClient;
use crate::journal::Request;
use crate::model::{Logins, OperationId};
use crate::release::ReleaseStep;
use crate::run::agent::Submission;
use crate::run::{Host, Ledger, OperationError, Operator, Order, Petition, Receipt, take_now};
use crate::state::{HostLock, LockError, ProjectFolder};

/// Who carries out orders on a project: its agent where one answers, else this process under the host lock.
pub enum Owner {
    Agent(AgentClient),
    Foreground {
        host: Arc<Host>,
        /// Held for as long as operations may be driven.
        lock: HostLock,
        /// Whose end it was taken over from, until that is told.
        taken_over: Mutex<Option<String>>,
    },
}

impl Owner {
    pub async fn of(project: &Project) -> Result<Self, Failure> {
        if let Some(client) = agent(project).await? {
            return Ok(Owner::Agent(client));
        }
        let host = project.host().await.or_fail(Kind::Host)?;
        let lock = lock(&host.folder, "arkwright in the foreground").await?;
        let taken_over = lock.taken_over();
        host.note(taken_over.clone());
        Ok(Owner::Foreground {
            host: Arc::new(host),
            lock,
            taken_over: Mutex::new(taken_over),
        })
    }

    /// Gives the order and follows it to its end; what a crash left unfinished in the same lane comes first.
    pub async fn carry_out(&self, order: &Order, terminal: &Terminal) -> Result<Receipt, Failure> {
        self.carry_out_with(order, &Logins::default(), terminal).await
    }

    /// The same with logins for its pulls.
    pub async fn carry_out_with(
        &self,
        order: &Order,
        logins: &Logins,
        terminal: &Terminal,
    ) -> Result<Receipt, Failure> {
        let by = by();
        match self {
            Owner::Agent(client) => {
                let submission = Submission {
                    order: order.clone(),
                    by,
                    key: None,
                    logins: logins.clone(),
                };
                let accepted = client.submit(&submission).await.map_err(client_failure)?;
                self.follow(client, &accepted.operation, terminal).await
            }
            Owner::Foreground { host, lock, .. } => {
                self.tell_taken_over(terminal);
                lock.does(&order.to_string());
                for (id, lane) in host.unfinished()? {
                    if lane == order.lane() {
                        if host.receipt(&id)?.outcome == "paused" {
                            return Err(Failure::new(Kind::Busy, format!("{id} is paused")).hinted(format!(
                                "take it on with `arkwright resume {id}`, `promote` or `abort`, then run this again"
                            )));
                        }
                        terminal.note(&format!("finishing {id}, which was interrupted"));
                        let receipt = drive(host, &id, terminal, Some((Request::Retry, &by))).await?;
                        terminal.note(&format!("{} {}: {}", receipt.kind, receipt.subject, receipt.outcome));
                        if receipt.outcome == "stuck" {
                            let because = receipt.because.unwrap_or_default();
                            return Err(Failure::new(Kind::Stuck, format!("{id} is stuck: {because}"))
                                .hinted(format!("mend the cause, then run `arkwright resume {id}`")));
                        }
                    }
                }
                let id = host.ledger().new_id();
                host.begin(&id, order, &by, logins).await?;
                drive(host, &id, terminal, None).await
            }
        }
    }

    /// Takes an unfinished, paused or stuck operation on; `request` is for one that is stuck.
    pub async fn resume(&self, id: &OperationId, request: Request, terminal: &Terminal) -> Result<Receipt, Failure> {
        let request = match self.receipt(id).await?.outcome.as_str() {
            "stuck" => Some(request),
            "paused" => Some(Request::Resume),
            _ => None,
        };
        self.steer(id, request, terminal).await
    }

    /// Hands a request to an operation and follows it to its end.
    pub async fn steer(
        &self,
        id: &OperationId,
        request: Option<Request>,
        terminal: &Terminal,
    ) -> Result<Receipt, Failure> {
        let by = by();
        match self {
            Owner::Agent(client) => {
                if let Some(request) = request {
                    client.request(id, request, &by).await.map_err(client_failure)?;
                }
                self.follow(client, id, terminal).await
            }
            Owner::Foreground { host, lock, .. } => {
                self.tell_taken_over(terminal);
                lock.does(&format!("operation {id}"));
                drive(host, id, terminal, request.map(|request| (request, &*by))).await
            }
        }
    }

    /// Hands a request to an operation; whoever drives it carries it out.
    pub async fn request(&self, id: &OperationId, request: Request, by: &str) -> Result<(), Failure> {
        match self {
            Owner::Agent(client) => client.request(id, request, by).await.map_err(client_failure),
            Owner::Foreground { host, .. } => Ok(host.ledger().request_of::<ReleaseStep>(id, request, by)?),
        }
    }

    fn tell_taken_over(&self, terminal: &Terminal) {
        if let Owner::Foreground { taken_over, .. } = self
            && let Some(told) = taken_over.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            terminal.note(&told);
        }
    }

    async fn receipt(&self, id: &OperationId) -> Result<Receipt, Failure> {
        match self {
            Owner::Agent(client) => client.receipt(id).await.map_err(client_failure),
            Owner::Foreground { host, .. } => Ok(host.receipt(id)?),
        }
    }

    /// What every operation came to; takes no lock, so that it can be asked while another process is at work.
    pub async fn history(project: &Project) -> Result<Vec<Receipt>, Failure> {
        match agent(project).await? {
            Some(client) => client.history().await.map_err(client_failure),
            None => journals(project, crate::run::history),
        }
    }

    /// What has no end yet, without reading what has.
    pub async fn open(project: &Project) -> Result<Vec<Receipt>, Failure> {
        let receipts = match agent(project).await? {
            Some(client) => client.under_way().await.map_err(client_failure)?,
            None => journals(project, |ledger| ledger.open(false))?,
        };
        let waits = |receipt: &Receipt| receipt.open() || receipt.outcome == "queued";
        Ok(receipts.into_iter().filter(waits).collect())
    }

    /// Operations without an end, oldest first.
    pub async fn unfinished(&self) -> Result<Vec<OperationId>, Failure> {
        let receipts = match self {
            Owner::Agent(client) => client.history().await.map_err(client_failure)?,
            Owner::Foreground { host, .. } => host.ledger().open(true)?,
        };
        let open = receipts.into_iter().filter(Receipt::open);
        Ok(open.map(|receipt| receipt.operation).collect())
    }

    /// Follows to the end; an interrupt asks for an abort, a second one leaves the operation to the agent.
    async fn follow(&self, client: &AgentClient, id: &OperationId, terminal: &Terminal) -> Result<Receipt, Failure> {
        let following = client.follow(id, terminal);
        tokio::pin!(following);
        let mut interrupts = 0;
        loop {
            tokio::select! {
                receipt = &mut following => return receipt.map_err(client_failure),
                signal = tokio::signal::ctrl_c() => {
                    signal.or_fail(Kind::Host)?;
                    interrupts += 1;
                    if interrupts > 1 {
                        let left = format!("left {id} to the agent; `arkwright history` tells how it ended");
                        return Err(Failure::new(Kind::Interrupted, left));
                    }
                    match client.request(id, Request::Abort, &by()).await {
                        Ok(()) => terminal.note("aborting; once more leaves it to the agent"),
                        Err(refusal) => terminal.warn(&refusal.to_string()),
                    }
                }
            }
        }
    }
}

async fn agent(project: &Project) -> Result<Option<AgentClient>, Failure> {
    let found = AgentClient::find(&project.socket()).await;
    found.map_err(|e| Failure::new(Kind::Host, e))
}

/// What the journals tell where no agent has them.
fn journals(
    project: &Project,
    read: impl FnOnce(&Ledger<'_>) -> Result<Vec<Receipt>, OperationError>,
) -> Result<Vec<Receipt>, Failure> {
    if !project.has_folder() {
        return Ok(Vec::new());
    }
    let folder = project.folder().or_fail(Kind::Host)?;
    let (clock, entropy) = (SystemClock, SystemEntropy);
    let ledger = Ledger {
        folder: &folder,
        clock: &clock,
        entropy: &entropy,
    };
    let mut found = read(&ledger)?;
    // Nobody drives where the lock is free.
    if HostLock::is_free(&folder.lock()).unwrap_or(false) {
        let running = found.iter_mut().filter(|receipt| receipt.outcome == "running");
        running.for_each(|receipt| receipt.outcome = "interrupted".into());
    }
    Ok(found)
}

/// Drives an operation in this process; an interrupt asks for an abort, a second one stops at once and leaves the
/// journal to the next run.
async fn drive(
    host: &Arc<Host>,
    id: &OperationId,
    terminal: &Terminal,
    first: Option<(Request, &str)>,
) -> Result<Receipt, Failure> {
    let (ask, petitions) = mpsc::channel(4);
    if let Some((request, by)) = first {
        petition(&ask, request, by).await;
    }
    let driving = host.finish(id, terminal, petitions);
    tokio::pin!(driving);
    let mut interrupts = 0;
    loop {
        tokio::select! {
            receipt = &mut driving => return Ok(receipt?),
            signal = tokio::signal::ctrl_c() => {
                signal.or_fail(Kind::Host)?;
                interrupts += 1;
                if interrupts > 1 {
                    let left = format!("{id} was interrupted; `arkwright resume {id}` takes it to its end");
                    return Err(Failure::new(Kind::Interrupted, left));
                }
                terminal.note("aborting; once more stops at once");
                petition(&ask, Request::Abort, &by()).await;
            }
        }
    }
}

/// The lock under which a project's containers are changed; refused while a release is open.
pub async fn stack_lock(project: &Project, who: &str) -> Result<HostLock, Failure> {
    let folder = project.folder().or_fail(Kind::Host)?;
    // The agent has it for a moment at every container's start.
    let lock = take_now(&folder.stack_lock(), who).await;
    // Looked at with the lock held, and before its refusal is told: a release says more than the lock it holds.
    no_release_under_way(project).await?;
    let lock = lock.map_err(lock_failure)?;
    if let Some(told) = lock.taken_over() {
        super::terminal::tell(&told);
    }
    Ok(lock)
}

/// Refuses where a release is under way or was interrupted: it knows better than the Compose file what has to run.
pub async fn no_release_under_way(project: &Project) -> Result<(), Failure> {
    let open = Owner::history(project)
        .await?
        .into_iter()
        .find(|receipt| matches!(receipt.kind.as_str(), "release" | "emergency") && receipt.open());
    let Some(release) = open else { return Ok(()) };
    let id = &release.operation;
    let what = format!(
        "the {} {id} of {} is {}",
        release.kind, release.subject, release.outcome
    );
    Err(Failure::new(Kind::Busy, what)
        .hinted(format!(
            "take it to its end with `arkwright resume {id}`, then run this again"
        ))
        .hinted(format!(
            "where that cannot be done, `arkwright resume {id} --give-up` ends it as it stands"
        )))
}

/// Asks, without waiting for the answer: what was refused shows in how the operation goes on.
async fn petition(ask: &mpsc::Sender<Petition>, request: Request, by: &str) {
    let (answer, _) = oneshot::channel();
    let by = by.to_owned();
    if ask.send(Petition { request, by, answer }).await.is_err() {
        tracing::debug!("the operation is over already");
    }
}

/// For the records: the user this process runs for.
pub fn by() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let uid = rustix::process::getuid().as_raw();
    user.unwrap_or_else(|| format!("uid {uid}"))
}

pub async fn lock(folder: &ProjectFolder, who: &str) -> Result<HostLock, Failure> {
    take_now(&folder.lock(), who).await.map_err(lock_failure)
}

fn lock_failure(error: LockError) -> Failure {
    match error {
        LockError::Held { .. } => Failure::new(Kind::Busy, error),
        LockError::Unusable { .. } => Failure::new(Kind::Host, error),
    }
}

fn client_failure(error: crate::http::ClientError) -> Failure {
    crate::run::OperationError::from(error).into()
}
