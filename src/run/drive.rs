use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Event, Illegal, Next, Outcome, Patience, Request, Saga, Step};
use crate::model::{OperationId, Timestamp, chain};
use crate::ports::{Clock, RouterError};
use crate::state::{JournalError, JournalFile};

use super::{News, Progress, Update, UpdateKind, Watch};

/// Carries out the words of one kind of operation.
#[async_trait]
pub trait Perform<S: Step>: Send + Sync {
    /// Doing it twice must have the effect of doing it once; `saga` has the subject and what earlier steps found.
    async fn perform(&self, step: &S, saga: &Saga<S>, progress: &dyn Progress) -> Result<S::Output, StepFailed>;

    /// How often a wait is judged while it lasts; `None`: not before its end.
    fn look_every(&self, _: &S, _: &Saga<S>) -> Option<Duration> {
        None
    }

    /// Judges an open wait. Before it is `over` only a failure has consequences.
    async fn judge(&self, _: &S, _: &Saga<S>, _over: bool, _: &dyn Progress) -> Judgement<S::Output> {
        Judgement::Passed(S::Output::default())
    }
}

/// What can be said of a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement<T> {
    Passed(T),
    Failed(String),
    /// Nothing, and why.
    Undecided(String),
}

/// Why a step failed, the whole chain of causes in one text.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFailed {
    text: String,
    /// Our own state has no room.
    no_room: bool,
}

impl StepFailed {
    pub fn because(text: impl Into<String>) -> Self {
        StepFailed {
            text: text.into(),
            no_room: false,
        }
    }
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Error + 'static> From<E> for StepFailed {
    fn from(error: E) -> Self {
        let no_room = matches!(
            (&error as &(dyn Error + 'static)).downcast_ref(),
            Some(RouterError::Write(source)) if source.kind() == ErrorKind::StorageFull
        );
        StepFailed {
            text: chain(&error),
            no_room,
        }
    }
}

/// A request from outside, such as an abort; the answer says whether it was taken.
pub struct Petition {
    pub request: Request,
    pub by: String,
    pub answer: oneshot::Sender<Result<(), Illegal>>,
}

#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("`{step}` failed again and again: {error}; mend the cause, then run `arkwright resume`")]
    Stuck { step: String, error: String },
    #[error(
        "{step}: {error}; free space, and it goes on: the agent tries again by itself, without one `arkwright resume` does"
    )]
    NoRoom { step: String, error: String },
}

/// Takes an operation from where its journal stands to its end.
pub async fn drive<S: Step>(
    id: &OperationId,
    journal: &mut JournalFile<S>,
    performer: &dyn Perform<S>,
    clock: &dyn Clock,
    watch: &dyn Watch,
    petitions: &mut mpsc::Receiver<Petition>,
) -> Result<Outcome, DriveError> {
    let mut drive = Drive {
        journal,
        performer,
        clock,
        teller: Teller { id, clock, watch },
        petitions,
        told: String::new(),
    };
    loop {
        let now = clock.now();
        match drive.journal.saga().next(now) {
            Next::Do(step) => drive.perform(step).await?,
            Next::WaitUntil(then, step) => {
                if let Some(step) = &step {
                    drive.tell_once(format!("{step}: until {}", then.format("%H:%M:%S")));
                }
                drive.stand(step.as_ref(), Some(then), false).await?;
            }
            Next::Elapsed(step) => drive.end_wait(step).await?,
            Next::Undecided { step, until, why } => {
                drive.tell_once(format!(
                    "{step}: inconclusive, {why}; asked until {}",
                    until.format("%H:%M:%S")
                ));
                drive.stand(Some(&step), Some(until), true).await?;
            }
            Next::Exhausted { step, why, patience } => drive.lose_patience(step, &why, patience)?,
            Next::Paused { step, by } => {
                drive.tell_once(format!(
                    "paused by {by}: `arkwright resume`, `promote` or `abort` takes it on"
                ));
                drive.stand(step.as_ref(), None, false).await?;
            }
            Next::Done(outcome) => return Ok(outcome),
            Next::Stuck { step, error } => match drive.petitions.try_recv() {
                Ok(petition) => {
                    drive.answer(petition);
                }
                Err(_) => {
                    return Err(DriveError::Stuck {
                        step: step.to_string(),
                        error,
                    });
                }
            },
        }
    }
}

struct Drive<'a, S: Step> {
    journal: &'a mut JournalFile<S>,
    performer: &'a dyn Perform<S>,
    clock: &'a dyn Clock,
    teller: Teller<'a>,
    petitions: &'a mut mpsc::Receiver<Petition>,
    /// What was last said of standing still: it is looked at often, and said once.
    told: String,
}

impl<S: Step> Drive<'_, S> {
    async fn perform(&mut self, step: S) -> Result<(), DriveError> {
        self.append(Event::Began { step: step.clone() })?;
        self.teller.say(UpdateKind::Began, step.to_string());
        if step.wait().is_some() {
            return Ok(());
        }
        let before = self.journal.saga().clone();
        let (performer, teller) = (self.performer, self.teller);
        let result = {
            let performing = performer.perform(&step, &before, &teller);
            tokio::pin!(performing);
            loop {
                tokio::select! {
                    result = &mut performing => break result,
                    // A step that is to be taken back is left where it is; any other request waits for its turn.
                    aborted = self.asked() => if aborted { return Ok(()) },
                }
            }
        };
        match result {
            Ok(output) => Ok(self.finish(step, output)?),
            // Going on it is taken back, which moves traffic without a disk; there is no way but this one later.
            Err(error) if error.no_room && (before.unwinding() || before.committed()) => Err(DriveError::NoRoom {
                step: step.to_string(),
                error: error.text,
            }),
            Err(error) => Ok(self.fail(step, error.to_string())?),
        }
    }

    /// Lets time pass until the next look, and looks; `None`: until someone asks for something.
    async fn stand(&mut self, step: Option<&S>, until: Option<Timestamp>, over: bool) -> Result<(), JournalError> {
        let every = step.and_then(|step| self.performer.look_every(step, self.journal.saga()));
        let left = until.map(|until| (until - self.clock.now()).to_std().unwrap_or_default());
        let pause = match (every, left) {
            (Some(every), Some(left)) => every.min(left),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => {
                self.asked().await;
                return Ok(());
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.asked() => return Ok(()),
        }
        match step {
            Some(step) if every.is_some() && until.is_none_or(|until| self.clock.now() < until) => {
                self.look(step.clone(), over).await
            }
            _ => Ok(()),
        }
    }

    async fn end_wait(&mut self, step: S) -> Result<(), JournalError> {
        match self.journal.saga().promoted() {
            true => self.finish(step, S::Output::default()),
            false => self.look(step, true).await,
        }
    }

    async fn look(&mut self, step: S, over: bool) -> Result<(), JournalError> {
        let saga = self.journal.saga().clone();
        let (performer, teller) = (self.performer, self.teller);
        let judgement = tokio::select! {
            judgement = performer.judge(&step, &saga, over, &teller) => judgement,
            _ = self.asked() => return Ok(()),
        };
        match judgement {
            Judgement::Failed(error) => self.fail(step, error),
            Judgement::Passed(output) if over => self.finish(step, output),
            Judgement::Undecided(why) if over => match saga.undecided() {
                Some(known) if plain(known) == plain(&why) => Ok(()),
                _ => self.append(Event::Undecided { step, why }),
            },
            Judgement::Passed(_) | Judgement::Undecided(_) => Ok(()),
        }
    }

    fn lose_patience(&mut self, step: S, why: &str, patience: Patience) -> Result<(), JournalError> {
        let why = format!("inconclusive for {}: {why}", patience.span.human());
        // Behind the point of no return there is no pausing: it is stuck, and someone has to look.
        if patience.fails || self.journal.saga().committed() {
            return self.fail(step, why);
        }
        self.teller.say(UpdateKind::Waiting, format!("{step}: {why}"));
        self.append(Event::Requested {
            request: Request::Pause,
            by: format!("arkwright ({why})"),
        })
    }

    fn finish(&mut self, step: S, output: S::Output) -> Result<(), JournalError> {
        self.teller.say(UpdateKind::Finished, format!("{step}: {output}"));
        self.append(Event::Finished { step, output })
    }

    fn fail(&mut self, step: S, error: String) -> Result<(), JournalError> {
        self.teller.say(UpdateKind::Failed, format!("{step}: {error}"));
        self.append(Event::Failed { step, error })
    }

    fn append(&mut self, event: Event<S>) -> Result<(), JournalError> {
        self.told.clear();
        self.journal.append(self.clock.now(), event)?;
        Ok(())
    }

    fn tell_once(&mut self, text: String) {
        if plain(&self.told) != plain(&text) {
            self.teller.say(UpdateKind::Waiting, text.clone());
            self.told = text;
        }
    }

    /// Returns once a request was taken; whether the open step is to be left for it.
    async fn asked(&mut self) -> bool {
        loop {
            let Some(petition) = self.petitions.recv().await else {
                return std::future::pending().await;
            };
            let aborts = petition.request == Request::Abort;
            if self.answer(petition) {
                return aborts;
            }
        }
    }

    /// Journals a request that fits and tells whoever asked; whether it was taken.
    fn answer(&mut self, petition: Petition) -> bool {
        let Petition { request, by, answer } = petition;
        // It is on its way back already: the step that does that is not begun anew.
        if request == Request::Abort && self.journal.saga().unwinding() {
            reply(answer, &request, Ok(()));
            return false;
        }
        let event = Event::Requested {
            request: request.clone(),
            by: by.clone(),
        };
        let (result, taken) = match self.append(event) {
            Ok(()) => {
                self.teller
                    .say(UpdateKind::Requested, format!("{request:?} by {by}").to_lowercase());
                (Ok(()), true)
            }
            Err(JournalError::Illegal { source, .. }) => (Err(source), false),
            // The disk refused: the next append will say so and end the drive.
            Err(_) => (Err(Illegal::Over), false),
        };
        reply(answer, &request, result);
        taken
    }
}

/// Without its figures: what only counts on is no news.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn reply(answer: oneshot::Sender<Result<(), Illegal>>, request: &Request, result: Result<(), Illegal>) {
    if answer.send(result).is_err() {
        tracing::debug!("whoever asked for {request:?} is gone");
    }
}

#[derive(Clone, Copy)]
struct Teller<'a> {
    id: &'a OperationId,
    clock: &'a dyn Clock,
    watch: &'a dyn Watch,
}

impl Teller<'_> {
    fn say(&self, kind: UpdateKind, text: String) {
        let at: Timestamp = self.clock.now();
        self.watch.hear(News::Update(Update {
            operation: self.id.clone(),
            at,
            kind,
            text,
        }));
    }
}

impl Progress for Teller<'_> {
    fn say(&self, text: &str) {
        Teller::say(self, UpdateKind::Progress, text.to_owned());
    }

    fn keeps_lines(&self) -> bool {
        self.watch.keeps_lines()
    }

    fn keep(&self, what: &str, text: Option<&str>) {
        self.watch.keep(what, text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde::{Deserialize, Serialize};
    use tokio::time::Instant;

    use super::*;
    use crate::journal::Plan;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Press;

    #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Nothing;

    impl fmt::Display for Press {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("press")
        }
    }

    impl fmt::Display for Nothing {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("nothing")
        }
    }

    impl Step for Press {
        const KIND: &'static str = "test";
        type Subject = String;
        type Output = Nothing;

        fn undo(&self) -> Option<Self> {
            Some(Press)
        }
    }

    /// Fails so many times, then does it.
    struct Jammed(AtomicU32);

    #[async_trait]
    impl Perform<Press> for Jammed {
        async fn perform(&self, _: &Press, _: &Saga<Press>, _: &dyn Progress) -> Result<Nothing, StepFailed> {
            let left = self.0.load(Ordering::SeqCst);
            self.0.store(left.saturating_sub(1), Ordering::SeqCst);
            match left {
                0 => Ok(Nothing),
                _ => Err(StepFailed::because("it is jammed")),
            }
        }
    }

    /// Its disk has no room so many times.
    struct Cramped(AtomicU32);

    #[async_trait]
    impl Perform<Press> for Cramped {
        async fn perform(&self, _: &Press, _: &Saga<Press>, _: &dyn Progress) -> Result<Nothing, StepFailed> {
            let left = self.0.load(Ordering::SeqCst);
            self.0.store(left.saturating_sub(1), Ordering::SeqCst);
            match left {
                0 => Ok(Nothing),
                _ => Err(RouterError::Write(ErrorKind::StorageFull.into()).into()),
            }
        }
    }

    /// Takes ten seconds each time; how often it was begun.
    struct Slow(AtomicU32);

    #[async_trait]
    impl Perform<Press> for Slow {
        async fn perform(&self, _: &Press, _: &Saga<Press>, _: &dyn Progress) -> Result<Nothing, StepFailed> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(Nothing)
        }
    }

    struct Deaf;

    impl Watch for Deaf {
        fn hear(&self, _: News) {}
    }

    struct Passing(Instant);

    impl Clock for Passing {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH + self.0.elapsed()
        }
    }

    fn journal(folder: &tempfile::TempDir, commit: usize) -> JournalFile<Press> {
        let planned = Event::Planned {
            subject: "a button".into(),
            plan: Plan {
                forward: vec![Press],
                commit,
                finally: Vec::new(),
            },
            by: "a test".into(),
        };
        JournalFile::create(&folder.path().join("journal"), Timestamp::UNIX_EPOCH, planned).expect("a journal")
    }

    fn ask(sender: &mpsc::Sender<Petition>, request: Request) -> oneshot::Receiver<Result<(), Illegal>> {
        let (answer, answered) = oneshot::channel();
        let by = "someone".into();
        let petition = Petition { request, by, answer };
        sender.try_send(petition).unwrap_or_else(|_| panic!("there is room"));
        answered
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_abort_does_not_begin_the_way_back_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = journal(&folder, 1);
        let (clock, slow) = (Passing(Instant::now()), Slow(AtomicU32::new(0)));
        let id = OperationId::new(Timestamp::UNIX_EPOCH, [0; 2]);
        let (sender, mut petitions) = mpsc::channel(4);
        let driving = drive(&id, &mut journal, &slow, &clock, &Deaf, &mut petitions);
        let aborting = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(3)).await;
                assert_eq!(ask(&sender, Request::Abort).await, Ok(Ok(())));
            }
        };
        let (end, ()) = tokio::join!(driving, aborting);
        assert_eq!(end.expect("an end"), Outcome::Aborted { by: "someone".into() });
        assert_eq!(slow.0.load(Ordering::SeqCst), 2, "once forward and once back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_step_waits_for_someone_to_say_try_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = journal(&folder, 0);
        let (clock, jammed) = (Passing(Instant::now()), Jammed(AtomicU32::new(5)));
        let id = OperationId::new(Timestamp::UNIX_EPOCH, [0; 2]);
        let (sender, mut petitions) = mpsc::channel(1);
        for _ in 0..2 {
            let stuck = drive(&id, &mut journal, &jammed, &clock, &Deaf, &mut petitions).await;
            assert!(
                matches!(stuck, Err(DriveError::Stuck { .. })),
                "also when it is driven again: {stuck:?}"
            );
        }
        let answered = ask(&sender, Request::Retry);
        let end = drive(&id, &mut journal, &jammed, &clock, &Deaf, &mut petitions).await;
        assert_eq!(end.expect("an end"), Outcome::Succeeded);
        assert_eq!(answered.await, Ok(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_no_way_back_a_full_disk_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = journal(&folder, 0);
        let (clock, cramped) = (Passing(Instant::now()), Cramped(AtomicU32::new(2)));
        let id = OperationId::new(Timestamp::UNIX_EPOCH, [0; 2]);
        let (_sender, mut petitions) = mpsc::channel(1);
        for _ in 0..2 {
            let stopped = drive(&id, &mut journal, &cramped, &clock, &Deaf, &mut petitions).await;
            assert!(matches!(stopped, Err(DriveError::NoRoom { .. })), "{stopped:?}");
        }
        let end = drive(&id, &mut journal, &cramped, &clock, &Deaf, &mut petitions).await;
        assert_eq!(end.expect("an end"), Outcome::Succeeded);
    }
}
