use std::error::Error;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};

use crate::journal::{Event, Illegal, Next, Outcome, Request, Saga, Step};
use crate::model::{OperationId, Timestamp};
use crate::ports::Clock;
use crate::state::{JournalError, JournalFile};

use super::{News, Progress, Update, UpdateKind, Watch};

/// Carries out the words of one kind of operation.
#[async_trait]
pub trait Perform<S: Step>: Send + Sync {
    /// Doing it twice must have the effect of doing it once; `saga` has the subject and what earlier steps found.
    async fn perform(&self, step: &S, saga: &Saga<S>, progress: &dyn Progress) -> Result<S::Output, StepFailed>;
}

/// Why a step failed, the whole chain of causes in one text.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFailed(String);

impl StepFailed {
    pub fn because(text: impl Into<String>) -> Self {
        StepFailed(text.into())
    }
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: Error> From<E> for StepFailed {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        StepFailed(text)
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
    let teller = Teller { id, clock, watch };
    loop {
        let now = clock.now();
        match journal.saga().next(now) {
            Next::Do(step) => {
                journal.append(now, Event::Began { step: step.clone() })?;
                teller.say(UpdateKind::Began, step.to_string());
                if step.wait().is_some() {
                    continue;
                }
                let before = journal.saga().clone();
                let result = tokio::select! {
                    result = performer.perform(&step, &before, &teller) => result,
                    () = aborted(journal, &teller, petitions) => continue,
                };
                match result {
                    Ok(output) => {
                        teller.say(UpdateKind::Finished, format!("{step}: {output}"));
                        journal.append(clock.now(), Event::Finished { step, output })?;
                    }
                    Err(error) => {
                        teller.say(UpdateKind::Failed, format!("{step}: {error}"));
                        journal.append(
                            clock.now(),
                            Event::Failed {
                                step,
                                error: error.to_string(),
                            },
                        )?;
                    }
                }
            }
            Next::WaitUntil(then, step) => {
                if let Some(step) = step {
                    teller.say(
                        UpdateKind::Waiting,
                        format!("{step}: until {}", then.format("%H:%M:%S")),
                    );
                }
                let left: Duration = (then - now).to_std().unwrap_or_default();
                tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    () = aborted(journal, &teller, petitions) => {}
                }
            }
            Next::Elapsed(step) => {
                teller.say(UpdateKind::Finished, step.to_string());
                journal.append(
                    now,
                    Event::Finished {
                        step,
                        output: S::Output::default(),
                    },
                )?;
            }
            Next::Done(outcome) => return Ok(outcome),
            Next::Stuck { step, error } => match petitions.try_recv() {
                Ok(petition) => {
                    answer(petition, journal, &teller);
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

/// Returns once a request has changed the course; those that do not fit are answered and waiting goes on.
async fn aborted<S: Step>(journal: &mut JournalFile<S>, teller: &Teller<'_>, petitions: &mut mpsc::Receiver<Petition>) {
    loop {
        let Some(petition) = petitions.recv().await else {
            return std::future::pending().await;
        };
        if answer(petition, journal, teller) {
            return;
        }
    }
}

/// Journals a request that fits and tells whoever asked; whether it was taken.
fn answer<S: Step>(petition: Petition, journal: &mut JournalFile<S>, teller: &Teller<'_>) -> bool {
    let Petition { request, by, answer } = petition;
    // It is on its way back already: the step that does that is not begun anew.
    if request == Request::Abort && journal.saga().unwinding() {
        reply(answer, &request, Ok(()));
        return false;
    }
    let event = Event::Requested {
        request: request.clone(),
        by: by.clone(),
    };
    let (result, taken) = match journal.append(teller.clock.now(), event) {
        Ok(_) => {
            teller.say(UpdateKind::Requested, format!("{request:?} by {by}").to_lowercase());
            (Ok(()), true)
        }
        Err(JournalError::Illegal { source, .. }) => (Err(source), false),
        // The disk refused: the next append will say so and end the drive.
        Err(_) => (Err(Illegal::Over), false),
    };
    reply(answer, &request, result);
    taken
}

fn reply(answer: oneshot::Sender<Result<(), Illegal>>, request: &Request, result: Result<(), Illegal>) {
    if answer.send(result).is_err() {
        tracing::debug!("whoever asked for {request:?} is gone");
    }
}

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
}
