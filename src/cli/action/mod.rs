//! What the steps of `actions/*` run: a client of the agent's socket that tells the workflow the truth.

mod account;
mod announce;
mod figures;
mod request;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::SystemEntropy;
use crate::github::{Context, Runner};
use crate::http::{AgentClient, ClientError};
use crate::journal::Request;
use crate::model::OperationId;
use crate::run::agent::Submission;
use crate::run::{Blame, StepFailed};

use super::{Failure, Kind, OrFail};
use account::{Account, Steps};
use announce::Announcer;
pub use request::Action;
use request::Requested;

/// What a step that is being ended has left for the host's last word.
const LAST_WORD: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub struct Args {
    /// The action whose inputs are in APP_INPUTS
    #[arg(value_enum)]
    name: Action,
}

/// Orders, follows and tells. SIGINT asks the host to take it back; SIGTERM leaves, and the host carries on.
pub async fn run(args: &Args) -> Result<(), Failure> {
    let get = |name: &str| std::env::var(name).ok();
    let mut signals = Signals::new().or_fail(Kind::Host)?;
    let runner = Runner::new(get, Arc::new(SystemEntropy));
    let context = Context::new(get);
    let action = args.name;
    let steps = Steps::new(action, &runner);
    let requested = match Requested::read(action, get("APP_INPUTS").as_deref(), &context) {
        Ok(requested) => requested,
        Err(error) => {
            let because = StepFailed::from(error).to_string();
            let account = Account::without_receipt("refused", Kind::Input, because, None);
            account.tell(action, &runner, None, None, &steps).or_fail(Kind::Host)?;
            return Err(Failure::told(account.kind));
        }
    };
    if let Some(announcement) = &requested.announcement {
        runner.mask(&announcement.token);
    }
    for secret in requested.logins.secrets() {
        runner.mask(secret.expose());
    }
    let conduct = Conduct {
        action,
        client: AgentClient::at(&requested.socket),
        submission: Submission {
            order: requested.order.clone(),
            by: context.by(action.name()),
            key: context.key(),
            logins: requested.logins.clone(),
        },
        runner: &runner,
        steps: &steps,
    };
    let (announcer, end) = match conduct.prepare(&mut signals, &context, &requested).await {
        Ok(announcer) => {
            let end = conduct.carry(&mut signals).await;
            (announcer, end)
        }
        Err(account) => (Announcer::silent(&runner), End::Told(account)),
    };
    let (account, hurry) = match end {
        End::Told(account) => (account, false),
        End::Left(account) => (account, true),
    };
    let told = account.tell(action, &runner, Some(&requested), announcer.id(), &steps);
    if hurry {
        announcer.end_in_a_hurry(&account).await;
    } else {
        tokio::select! {
            () = announcer.end(&account) => {}
            () = signals.ended() => {}
        }
    }
    told.or_fail(Kind::Host)?;
    match account.ok {
        true => Ok(()),
        false => Err(Failure::told(account.kind)),
    }
}

/// How a step comes to its end.
enum End {
    Told(Account),
    /// The runner ends the step before the host is through.
    Left(Account),
}

struct Conduct<'a> {
    action: Action,
    client: AgentClient,
    submission: Submission,
    runner: &'a Runner,
    steps: &'a Steps<'a>,
}

impl<'a> Conduct<'a> {
    /// Nothing is ordered yet, so every signal simply ends it.
    async fn prepare(
        &self,
        signals: &mut Signals,
        context: &Context,
        requested: &Requested,
    ) -> Result<Announcer<'a>, Account> {
        let there = async {
            self.client
                .about()
                .await
                .map_err(|error| Account::refused(error.into(), None))?;
            Ok(Announcer::begin(self.runner, context, requested).await)
        };
        tokio::pin!(there);
        tokio::select! {
            there = &mut there => there,
            _ = signals.next() => {
                let because = "the step was ended before anything was ordered";
                let account = Account::without_receipt("aborted", Kind::Interrupted, because, None);
                // A deployment that is just being made must not stay without its end.
                if let Ok(Ok(announcer)) = tokio::time::timeout(announce::HURRY, there).await {
                    announcer.end_in_a_hurry(&account).await;
                }
                Err(account)
            }
        }
    }

    async fn carry(&self, signals: &mut Signals) -> End {
        let mut cancelled = false;
        let submit = self.client.submit(&self.submission);
        tokio::pin!(submit);
        // The order may have been taken though the answer is not here: a cancel waits for it.
        let submitted = loop {
            tokio::select! {
                submitted = &mut submit => break submitted,
                signalled = signals.next() => match signalled {
                    Signalled::Cancel => cancelled = true,
                    Signalled::End => {
                        let because = "the step was ended while the order was on its way; `arkwright history` on the host says what became of it";
                        return End::Left(Account::without_receipt("unknown", Kind::Interrupted, because, None));
                    }
                },
            }
        };
        let accepted = match submitted {
            Ok(accepted) => accepted,
            Err(error) => return End::Told(Account::refused(error.into(), None)),
        };
        let id = accepted.operation;
        let joined = if accepted.attached {
            "joins the same order, which was given before"
        } else {
            "ordered"
        };
        self.runner
            .log(&format!("{}: {joined}, operation {id}", self.submission.order));
        self.follow(&id, cancelled, signals).await
    }

    async fn follow(&self, id: &OperationId, cancelled: bool, signals: &mut Signals) -> End {
        let follow = self.client.follow(id, self.steps);
        tokio::pin!(follow);
        let mut abort = Abort::default();
        if cancelled {
            abort.ask(self, id);
        }
        loop {
            tokio::select! {
                end = &mut follow => return End::Told(match end {
                    Ok(receipt) => Account::of(self.action, receipt),
                    Err(error) => self.lost(error, id).await,
                }),
                answer = abort.answered() => self.tell_answer(answer),
                signalled = signals.next() => match signalled {
                    Signalled::Cancel => abort.ask(self, id),
                    Signalled::End => return End::Left(self.leave(id).await),
                },
            }
        }
    }

    fn tell_answer(&self, answer: Result<(), String>) {
        match answer {
            Ok(()) => self.runner.warning("cancelled", "the host takes it back"),
            Err(why) => {
                let message = format!("it is not aborted: {why}; the step goes on to the end");
                self.runner.warning("cancelled", &message);
            }
        }
    }

    /// What is known when there is no time left to learn more.
    async fn leave(&self, id: &OperationId) -> Account {
        let receipt = tokio::time::timeout(LAST_WORD, self.client.receipt(id)).await;
        let (outcome, now) = match receipt {
            Ok(Ok(receipt)) if receipt.under_way() || receipt.outcome == "queued" => {
                let now = format!("the host carries on ({})", receipt.outcome);
                (receipt.outcome, now)
            }
            Ok(Ok(receipt)) => return Account::of(self.action, receipt),
            _ => ("unknown".to_owned(), "the host carries on".to_owned()),
        };
        let because = format!("the step was ended and {now}; `arkwright history` there says what becomes of it");
        Account::without_receipt(&outcome, Kind::Interrupted, because, Some(id.clone()))
    }

    /// The news ended without the operation's end.
    async fn lost(&self, error: ClientError, id: &OperationId) -> Account {
        let ClientError::Refused(error) = error else {
            return Account::unknown(&error.into(), id);
        };
        if error.blame == Blame::Stuck {
            return Account::refused(error, Some(id.clone()));
        }
        match self.client.receipt(id).await {
            Ok(receipt) if receipt.outcome == "refused" => Account::refused(error, Some(id.clone())),
            // Held up on the host, by a full disk for one; the agent does not give it up.
            Ok(receipt) => Account::held(&receipt.outcome, &error, id),
            Err(_) => Account::unknown(&error, id),
        }
    }
}

/// The request to take it back, which may take its time while news go on.
#[derive(Default)]
struct Abort(Option<tokio::task::JoinHandle<Result<(), ClientError>>>);

impl Abort {
    fn ask(&mut self, conduct: &Conduct<'_>, id: &OperationId) {
        let (client, id, by) = (conduct.client.clone(), id.clone(), conduct.submission.by.clone());
        let ask = async move { client.request(&id, Request::Abort, &by).await };
        self.0.get_or_insert_with(|| tokio::spawn(ask));
    }

    /// Why not, where it was refused; never where nothing was asked.
    async fn answered(&mut self) -> Result<(), String> {
        let Some(asked) = &mut self.0 else {
            return std::future::pending().await;
        };
        let answer = asked.await;
        self.0 = None;
        match answer {
            Ok(answer) => answer.map_err(|error| StepFailed::from(error).to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The runner's two ways to end a step; both have to be heard from the very start.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signalled::Cancel,
            Some(()) = self.terminate.recv() => Signalled::End,
            else => std::future::pending().await,
        }
    }

    async fn ended(&mut self) {
        while self.next().await != Signalled::End {}
    }
}

#[derive(PartialEq)]
enum Signalled {
    /// SIGINT: there are 7.5 s left, and the host may take it back.
    Cancel,
    /// SIGTERM: there are 2.5 s left.
    End,
}
