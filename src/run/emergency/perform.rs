use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::backup::{BackupStep, SQLITE_SIDES};
use crate::config::Source;
use crate::emergency::{EmergencyStep, Found, Place, Subject, saved_set};
use crate::journal::{Plan, Request, Saga, Step};
use crate::model::{Health, OperationId, ServiceName, Span};
use crate::ports::{Container, Notice, Program, SlotView};
use crate::release::{Permit, ReleaseStep};
use crate::run::release::Reach;
use crate::run::restore::{RestoreOptions, Selection, restore};
use crate::run::snapshots::Which;
use crate::run::{Host, News, Order, Perform, Petition, Progress, Receipt, StepFailed, Watch};

use super::places::Room;

/// When clients are told to come back while the page is on.
const RETRY_AFTER: Span = Span::seconds(60);
/// Between two looks at what should become healthy.
const LOOK: Duration = Duration::from_millis(200);
/// For the program that is told of it.
const NOTIFY: Duration = Duration::from_secs(30);

/// Performs the steps of emergencies.
pub struct EmergencyPerformer {
    host: Host,
}

/// Passes on what an operation on the way says.
struct Relay<'a>(&'a dyn Progress);

impl Watch for Relay<'_> {
    fn hear(&self, news: News) {
        if let News::Update(update) = news {
            self.0.say(&update.text);
        }
    }
}

#[async_trait]
impl Perform<EmergencyStep> for EmergencyPerformer {
    async fn perform(
        &self,
        step: &EmergencyStep,
        saga: &Saga<EmergencyStep>,
        progress: &dyn Progress,
    ) -> Result<Found, StepFailed> {
        let subject = saga.subject();
        match step {
            EmergencyStep::RaisePage => self.page(subject, true).await,
            EmergencyStep::LowerPage => self.page(subject, false).await,
            EmergencyStep::Save { set } => self.save(subject, set, progress).await,
            EmergencyStep::Stage { at, .. } => self.stage(subject, *at, progress).await,
            EmergencyStep::Unstage { at, .. } => {
                let place = place(subject, *at)?.clone();
                let operation = subject.operation.clone();
                on_disk(move || Room::of(&place, &operation).unstage()).await?;
                Ok(Found::Nothing)
            }
            EmergencyStep::Stop => self.stop(subject).await,
            EmergencyStep::StartAgain => {
                self.start(subject, |_| true).await?;
                // The page goes next: what is behind it has to answer.
                let all: BTreeSet<&ServiceName> = subject.pages.iter().collect();
                self.answering(&all).await?;
                Ok(Found::Nothing)
            }
            EmergencyStep::Replace { at, .. } => {
                // The host may have been started again since, and what uses the data with it.
                self.stop(subject).await?;
                let place = place(subject, *at)?.clone();
                let operation = subject.operation.clone();
                let kept = on_disk(move || Room::of(&place, &operation).replace()).await?;
                Ok(Found::Replaced { kept })
            }
            EmergencyStep::PutBack { at, .. } => {
                self.stop(subject).await?;
                let place = place(subject, *at)?.clone();
                let operation = subject.operation.clone();
                on_disk(move || Room::of(&place, &operation).put_back()).await?;
                Ok(Found::Nothing)
            }
            EmergencyStep::Deploy => self.deploy(subject, progress).await,
            EmergencyStep::StartOthers => {
                self.start(subject, |service| *service != subject.service).await?;
                Ok(Found::Nothing)
            }
            EmergencyStep::Prove => self.prove(subject).await,
            EmergencyStep::Notify => Ok(self.notify(saga).await),
        }
    }
}

fn place(subject: &Subject, at: usize) -> Result<&Place, StepFailed> {
    let found = subject.places.get(at);
    found.ok_or_else(|| StepFailed::because("the journal names a place that is not in its plan"))
}

/// Who began what an emergency begins on its way.
fn mark(operation: &OperationId) -> String {
    format!("emergency {operation}")
}

async fn on_disk<T: Send + 'static, E: std::error::Error + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StepFailed> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

impl EmergencyPerformer {
    pub fn new(host: &Host) -> Self {
        EmergencyPerformer { host: host.clone() }
    }

    async fn page(&self, subject: &Subject, on: bool) -> Result<Found, StepFailed> {
        let router = self.host.router()?;
        let notice = on.then_some(Notice {
            retry_after: RETRY_AFTER,
        });
        for service in &subject.pages {
            router.maintenance(service, notice).await?;
        }
        Ok(Found::Nothing)
    }

    /// Operations of a kind that this emergency began, oldest first, each as far as it is.
    fn begun(&self, subject: &Subject, kind: &str) -> Result<Vec<Receipt>, StepFailed> {
        use crate::run::Operator;

        let operations = self.host.ledger().operations()?;
        let mut found = Vec::new();
        for (id, _) in operations.iter().filter(|(_, of)| of == kind) {
            let receipt = self.host.receipt(id)?;
            if receipt.by == mark(&subject.operation) {
                found.push(receipt);
            }
        }
        Ok(found)
    }

    async fn save(&self, subject: &Subject, set: &str, progress: &dyn Progress) -> Result<Found, StepFailed> {
        let (saved, mut raw) = (saved_set(set), None);
        // What an attempt before this one began is not begun again.
        for receipt in self.begun(subject, BackupStep::KIND)? {
            if receipt.detail["set"] != saved.as_str() {
                continue;
            }
            if receipt.ok || receipt.open() {
                let what = self.host.back_up(&receipt.operation, progress).await;
                if let Ok(what) = what {
                    let operation = receipt.operation;
                    return Ok(Found::Saved { operation, what, raw });
                }
            }
            raw = receipt.because.or(raw);
        }
        let first = self.save_as(subject, set, false, progress).await;
        let error = match first {
            Ok((operation, what)) => {
                let raw = None;
                return Ok(Found::Saved { operation, what, raw });
            }
            Err(error) => error,
        };
        progress.say(&format!("{error}; its files are saved as they are"));
        match self.save_as(subject, set, true, progress).await {
            Ok((operation, what)) => {
                let raw = Some(error.to_string());
                Ok(Found::Saved { operation, what, raw })
            }
            Err(second) => Err(StepFailed::because(format!(
                "what {set} holds now could not be saved: {error}; nor byte by byte: {second}; `--without-saving REASON` \
                 goes on all the same, and what is in place is kept beside it"
            ))),
        }
    }

    /// Under a name of its own, so that the newest of the set itself stays what it was.
    async fn save_as(
        &self,
        subject: &Subject,
        set: &str,
        raw: bool,
        progress: &dyn Progress,
    ) -> Result<(OperationId, String), StepFailed> {
        let (mut backup, plan) = self.host.plan_backup(set)?;
        backup.set = saved_set(set);
        if raw {
            let folder = &self.host.config.folder;
            let sources = backup.sources.iter().flat_map(|source| match source {
                Source::Sqlite { sqlite, .. } => as_files(folder, sqlite),
                other => vec![other.clone()],
            });
            backup.sources = sources.collect();
        }
        let id = self.host.ledger().new_id();
        let by = mark(&subject.operation);
        self.host.ledger().begin::<BackupStep>(&id, backup, plan, &by)?;
        let what = self.host.back_up(&id, progress).await?;
        Ok((id, what))
    }

    async fn stage(&self, subject: &Subject, at: usize, progress: &dyn Progress) -> Result<Found, StepFailed> {
        let place = place(subject, at)?;
        let room = Room::of(place, &subject.operation);
        if room.is_staged() {
            return Ok(Found::Nothing);
        }
        let chosen = subject.snapshots.get(place.snapshot);
        let chosen =
            chosen.ok_or_else(|| StepFailed::because("the journal names a snapshot that is not in its plan"))?;
        let (store, trust) = self.host.trusted_store(&chosen.store)?;
        let identities = self.host.opening_key()?;
        room.prepare()?;
        let options = RestoreOptions {
            selection: Selection::Path(place.entry.clone()),
            target: room.target(),
            overwrite: false,
            devices: false,
        };
        let which = Which::Generation(chosen.generation);
        let report = restore(&store, &trust, &identities, &which, &options, progress).await?;
        room.staged()?;
        Ok(Found::Staged {
            files: report.files,
            bytes: report.bytes,
        })
    }

    async fn stop(&self, subject: &Subject) -> Result<Found, StepFailed> {
        let engine = self.host.engine()?;
        let mut running = Vec::new();
        for stopped in &subject.stopped {
            let container = engine.container(&stopped.container).await?;
            running.extend(container.filter(Container::running));
        }
        let all = running
            .iter()
            .map(|container| engine.stop_container(&container.id, None));
        for stopped in futures_util::future::join_all(all).await {
            stopped?;
        }
        Ok(Found::Nothing)
    }

    async fn start(&self, subject: &Subject, wanted: impl Fn(&ServiceName) -> bool + Send) -> Result<(), StepFailed> {
        let engine = self.host.engine()?;
        for stopped in subject.stopped.iter().filter(|stopped| wanted(&stopped.service)) {
            // One that is gone was removed on purpose: by the deployment, or by hand.
            if let Some(container) = engine.container(&stopped.container).await?
                && !container.running()
            {
                engine.start_container(&container.id).await?;
            }
        }
        // Started anew they may have other addresses.
        self.host.repoint(Reach::All).await?;
        Ok(())
    }

    /// A release without its steps and backups: nobody is there to be counted, and the data was just restored.
    async fn deploy(&self, subject: &Subject, progress: &dyn Progress) -> Result<Found, StepFailed> {
        let begun = self.begun(subject, ReleaseStep::KIND)?;
        let known = begun.into_iter().find(|receipt| receipt.ok || receipt.open());
        let (ask, petitions) = mpsc::channel(1);
        if known.as_ref().is_some_and(|receipt| receipt.outcome == "stuck") {
            let petition = Petition {
                request: Request::Retry,
                by: mark(&subject.operation),
                answer: oneshot::channel().0,
            };
            ask.send(petition).await?;
        }
        let id = match known {
            Some(receipt) => receipt.operation,
            None => {
                let order = Order::Deploy {
                    service: subject.service.clone(),
                    image: Some(subject.image.clone()),
                    no_canary: true,
                    overriding: None,
                };
                let (mut release, plan) = self.host.plan_release(&order).await?;
                release.permit = Permit {
                    notes: vec![format!(
                        "part of the emergency {}: {}",
                        subject.operation, subject.reason
                    )],
                    overridden: None,
                };
                let id = self.host.ledger().new_id();
                let by = mark(&subject.operation);
                self.host
                    .ledger()
                    .begin::<ReleaseStep>(&id, release, hurried(plan), &by)?;
                id
            }
        };
        let performer = self.host.release_performer(&id)?;
        let receipt = self
            .host
            .ledger()
            .finish::<ReleaseStep>(&id, &performer, &Relay(progress), petitions)
            .await?;
        match receipt.ok {
            true => Ok(Found::Released {
                what: format!("{} {}, operation {id}", receipt.outcome, receipt.subject),
                operation: id,
            }),
            false => Err(StepFailed::because(format!(
                "the release {id} is {}: {}",
                receipt.outcome,
                receipt.because.unwrap_or_default()
            ))),
        }
    }

    /// Waits until the router's own checks pass for the colour that serves each of these.
    async fn answering(&self, services: &BTreeSet<&ServiceName>) -> Result<(), StepFailed> {
        let router = self.host.router()?;
        for service in services {
            let config = self.host.config.services.get(*service);
            let Some((_, health)) = config.and_then(|config| config.release.routed()) else {
                continue;
            };
            let limit = health.within.std();
            let begun = Instant::now();
            loop {
                let slots = router.slots(service).await?;
                if served(&slots) {
                    break;
                }
                if begun.elapsed() > limit {
                    return Err(StepFailed::because(format!(
                        "{service} does not answer the router's checks; look at its log: `arkwright logs {service}`"
                    )));
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn prove(&self, subject: &Subject) -> Result<Found, StepFailed> {
        let mut released: BTreeSet<&ServiceName> = subject.pages.iter().collect();
        released.insert(&subject.service);
        self.answering(&released).await?;
        let engine = self.host.engine()?;
        let mut running = 0;
        for stopped in subject.stopped.iter().filter(|s| !released.contains(&s.service)) {
            let container = engine.container(&stopped.container).await?;
            match container {
                Some(container) if container.running() && container.health != Health::Unhealthy => running += 1,
                _ => {
                    return Err(StepFailed::because(format!(
                        "{} does not run, or is not healthy; look at `arkwright logs {}`",
                        stopped.container, stopped.service
                    )));
                }
            }
        }
        let names: Vec<&str> = released.iter().map(|service| service.as_str()).collect();
        Ok(Found::Proven {
            what: format!(
                "the router's checks pass for {}; {running} other containers run",
                names.join(", ")
            ),
        })
    }

    /// Tells the program how it ended; whatever that comes to, the emergency is over.
    async fn notify(&self, saga: &Saga<EmergencyStep>) -> Found {
        let subject = saga.subject();
        let told = json!({
            "event": "emergency",
            "operation": subject.operation,
            "project": subject.project,
            "service": subject.service,
            "reason": subject.reason,
            "by": saga.by(),
            "image": subject.image,
            "snapshots": subject.snapshots,
            "end": saga.heading(),
        });
        let program = Program {
            words: subject.notify.clone(),
            folder: self.host.config.folder.clone(),
            environment: vec![("ARKWRIGHT_PROJECT".into(), subject.project.to_string())],
            input: told.to_string().into_bytes(),
        };
        let why = match tokio::time::timeout(NOTIFY, self.host.programs.run(&program)).await {
            Ok(Ok(ran)) if ran.code == Some(0) => return Found::Nothing,
            Ok(Ok(ran)) => match ran.code {
                Some(code) => format!("`{}` ended with {code}", program.words[0]),
                None => format!("`{}` was ended by a signal", program.words[0]),
            },
            Ok(Err(error)) => format!("`{}` could not be run: {error}", program.words[0]),
            Err(_) => format!("`{}` took longer than {}", program.words[0], Span::from(NOTIFY).human()),
        };
        Found::NotDone { why }
    }
}

/// Whether there are slots with traffic, and the router's checks pass for all of them.
fn served(slots: &[SlotView]) -> bool {
    let mut serving = slots.iter().filter(|slot| slot.weight > 0).peekable();
    serving.peek().is_some() && serving.all(|slot| slot.up)
}

/// A database as plain files, with what is beside it now.
fn as_files(folder: &std::path::Path, sqlite: &std::path::Path) -> Vec<Source> {
    let beside = SQLITE_SIDES.iter().map(|suffix| {
        let mut side = sqlite.as_os_str().to_owned();
        side.push(suffix);
        side.into()
    });
    let all = std::iter::once(sqlite.to_path_buf()).chain(beside);
    let there = all.filter(|path: &std::path::PathBuf| folder.join(path).exists());
    let source = |path| Source::Path {
        path,
        include: Vec::new(),
        exclude: Vec::new(),
    };
    there.map(source).collect()
}

/// Without what only passes time, and without backups of what was just restored.
fn hurried(plan: Plan<ReleaseStep>) -> Plan<ReleaseStep> {
    let left_out = |step: &ReleaseStep| matches!(step.plain(), ReleaseStep::Hold { .. } | ReleaseStep::Backup { .. });
    // The version that ruined the data is not started again on what was restored: once it is to be stopped there is no
    // way back to it.
    let ends_it = |step: &ReleaseStep| matches!(step.plain(), ReleaseStep::CloseGate | ReleaseStep::TakeDown { .. });
    let last = plan.forward.iter().position(ends_it).unwrap_or(plan.forward.len());
    let commit = plan.commit.min(last);
    let before = plan.forward[..commit.min(plan.forward.len())].iter();
    Plan {
        commit: commit - before.filter(|step| left_out(step)).count(),
        forward: plan.forward.into_iter().filter(|step| !left_out(step)).collect(),
        finally: plan.finally,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Patience;
    use crate::model::Colour;

    #[test]
    fn what_only_passes_time_is_left_out_and_the_point_of_no_return_stays_where_it_was() {
        let (colour, hold) = (
            Colour::Green,
            ReleaseStep::Hold {
                weight: 100,
                span: Span::seconds(600),
                patience: Patience {
                    span: Span::seconds(1),
                    fails: false,
                },
            },
        );
        let backup = ReleaseStep::Backup { set: "database".into() };
        let prove = ReleaseStep::Prove { colour };
        let keep = ReleaseStep::KeepWarm {
            colour,
            span: Span::seconds(1),
        };
        let plan = Plan {
            forward: vec![ReleaseStep::Check, backup, prove.clone(), hold, keep.clone()],
            commit: 4,
            finally: vec![ReleaseStep::Count],
        };
        let hurried = super::hurried(plan);
        assert_eq!(hurried.forward, [ReleaseStep::Check, prove.clone(), keep]);
        assert_eq!((hurried.commit, hurried.finally), (2, vec![ReleaseStep::Count]));

        let held = Plan {
            forward: vec![
                ReleaseStep::Check,
                ReleaseStep::Backup { set: "database".into() },
                ReleaseStep::CloseGate,
                ReleaseStep::StopServing { colour },
                prove,
            ],
            commit: 4,
            finally: Vec::new(),
        };
        let hurried = super::hurried(held);
        assert_eq!(
            hurried.forward[hurried.commit],
            ReleaseStep::CloseGate,
            "no way back from here"
        );
    }
}
