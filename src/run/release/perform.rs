use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::config::Swap;
use crate::journal::{Saga, Step};
use crate::model::{Colour, Span, Timestamp};
use crate::plan::desired::HostFolders;
use crate::ports::{Clock, Container, Engine, EngineError, ImageInfo, Router, Web};
use crate::release::{Finding, Goal, Image, ReleaseStep, Subject, finished_of};
use crate::run::{Judgement, Perform, Progress, StepFailed, pull};
use crate::stack::Secrets;
use crate::state::ProjectFolder;

use super::colour::containers_of;
use super::data;
use super::order::digest_of;
use super::together::Watches;
use super::watch::Gauges;

/// The grace of a colour that is taken back: it has answered nobody, or was let finish before.
const HASTE: Duration = Duration::from_secs(2);
/// How long a colour that was healthy may take to show that it still is.
const STILL: Duration = Duration::from_secs(5);
/// Between two looks at the router while something drains.
const LOOK: Duration = Duration::from_millis(20);

/// Takes the backups that have to be there before a release touches anything.
#[async_trait]
pub trait BeforeRelease: Send + Sync {
    /// Backs the set up; what it came to, for a person. May be asked again for what it has done already.
    async fn backup(&self, set: &str, progress: &dyn Progress) -> Result<String, StepFailed>;
}

/// Performs the steps of releases.
pub struct ReleasePerformer {
    pub engine: Arc<dyn Engine>,
    pub router: Arc<dyn Router>,
    pub clock: Arc<dyn Clock>,
    pub before: Arc<dyn BeforeRelease>,
    pub gauges: Arc<dyn Gauges>,
    /// Of the release that is being performed.
    pub watch: Mutex<Watches>,
    pub state: ProjectFolder,
    /// Asks a colour's containers to take jobs or none.
    pub web: Arc<dyn Web>,
    /// What a container's log may hold and nobody is told.
    pub secrets: Secrets,
    /// Registries whose logins were given with the order and went with the process that had them.
    pub lost: BTreeSet<String>,
}

/// What one step is performed with.
pub(super) struct Work<'a> {
    pub engine: &'a dyn Engine,
    pub router: &'a dyn Router,
    pub web: &'a dyn Web,
    /// Where the marks of colours are that stand by.
    pub folders: HostFolders,
    pub subject: &'a Subject,
    pub saga: &'a Saga<ReleaseStep>,
    pub progress: &'a dyn Progress,
    pub secrets: &'a Secrets,
    pub lost: &'a BTreeSet<String>,
}

#[async_trait]
impl Perform<ReleaseStep> for ReleasePerformer {
    async fn perform(
        &self,
        step: &ReleaseStep,
        saga: &Saga<ReleaseStep>,
        progress: &dyn Progress,
    ) -> Result<Finding, StepFailed> {
        if let ReleaseStep::ShiftTogether { to, weight } = step {
            return self.shift_together(to, *weight, saga, progress).await;
        }
        // The passing of time, which the driver sees to and the gates judge.
        if let ReleaseStep::Hold { .. } = step {
            return Ok(Finding::Nothing);
        }
        let unknown = || StepFailed::because("the journal names a service that the release does not move");
        let subject = saga.subject().of(step).ok_or_else(unknown)?;
        let work = self.work(subject, saga, progress);
        // One folder a service: two releases of one service are never under way at once.
        let copy = self.state.scratch().join(format!("release-{}", subject.service));
        match step.plain() {
            ReleaseStep::Check => work.check().await,
            ReleaseStep::Fetch => work.fetch().await,
            ReleaseStep::Backup { set } => {
                let snapshot = self.before.backup(set, progress).await?;
                Ok(Finding::Backup { snapshot })
            }
            ReleaseStep::Clear { colour } => work.clear(*colour).await,
            ReleaseStep::Create { colour } => work.create(*colour).await,
            ReleaseStep::Start { colour } => work.start(*colour).await,
            ReleaseStep::Stop { colour } => work.stop(*colour, Some(HASTE)).await,
            ReleaseStep::Point { colour } => work.point(*colour).await,
            ReleaseStep::Unpoint { colour } => work.unpoint(*colour).await,
            ReleaseStep::AwaitHealthy { colour } => work.await_healthy(*colour, self.clock.now()).await,
            ReleaseStep::RunHook { at, timeout, .. } => {
                work.run_hook(*at, work.in_time(timeout.std(), self.clock.now())).await
            }
            ReleaseStep::EndHook { at, .. } => work.end_hook(*at).await,
            ReleaseStep::Shift { colour, weight } => {
                work.may_shift(*colour, *weight).await?;
                let took = work.shift(*colour, *weight).await?;
                Ok(Finding::Shifted { took })
            }
            ReleaseStep::CloseGate => {
                work.close_gate().await?;
                Ok(Finding::Closed { at: self.clock.now() })
            }
            ReleaseStep::OpenGate => {
                self.router.gate(&subject.service, None).await?;
                let (_, longest) = self.router.waiting(&subject.service).await?;
                Ok(Finding::Opened { longest })
            }
            ReleaseStep::Drain { colour } => {
                work.close_gate().await?;
                work.drained(*colour).await?;
                Ok(Finding::Nothing)
            }
            ReleaseStep::StopServing { colour } => work.stop_serving(*colour).await,
            ReleaseStep::StartAgain { colour } => work.start_again(*colour).await,
            ReleaseStep::CopyData => {
                let files = subject.data.clone();
                let (files, bytes) = on_disk(move || data::copy(&files, &copy)).await?;
                Ok(Finding::Copied { files, bytes })
            }
            ReleaseStep::RestoreData => {
                on_disk(move || data::restore(&copy)).await?;
                Ok(Finding::Nothing)
            }
            ReleaseStep::DropCopy => {
                on_disk(move || data::discard(&copy)).await?;
                Ok(Finding::Nothing)
            }
            ReleaseStep::Prove { colour } => work.prove(*colour).await,
            ReleaseStep::StandBy { colour } => work.stand_by(*colour).await,
            ReleaseStep::TakeJobs { colour } => work.take_jobs(*colour).await,
            ReleaseStep::KeepWarm { span, .. } => Ok(Finding::Warm {
                until: self.clock.now() + span.chrono(),
            }),
            ReleaseStep::TakeDown { version } => work.take_down(*version).await,
            ReleaseStep::PutUp { version } => work.put_up(*version).await,
            ReleaseStep::AwaitUp { version } => work.await_up(*version).await,
            // For the receipt only: a router that does not answer now is no reason to be stuck.
            ReleaseStep::Count => Ok(work.counters().await.unwrap_or_default()),
            ReleaseStep::Hold { .. } | ReleaseStep::Of { .. } | ReleaseStep::ShiftTogether { .. } => {
                Err(StepFailed::because(format!(
                    "the journal says `{step}` of one service, which no release does"
                )))
            }
        }
    }

    fn look_every(&self, step: &ReleaseStep, saga: &Saga<ReleaseStep>) -> Option<Duration> {
        step.wait().map(|_| Watches::every(saga))
    }

    async fn judge(
        &self,
        _: &ReleaseStep,
        saga: &Saga<ReleaseStep>,
        over: bool,
        _: &dyn Progress,
    ) -> Judgement<Finding> {
        let mut watches = self.watch.lock().await;
        watches.judge(&self.gauges, saga, self.clock.now(), over).await
    }
}

impl ReleasePerformer {
    pub(super) fn work<'a>(
        &'a self,
        subject: &'a Subject,
        saga: &'a Saga<ReleaseStep>,
        progress: &'a dyn Progress,
    ) -> Work<'a> {
        Work {
            engine: self.engine.as_ref(),
            router: self.router.as_ref(),
            web: self.web.as_ref(),
            folders: self.state.host_folders(),
            subject,
            saga,
            progress,
            secrets: &self.secrets,
            lost: &self.lost,
        }
    }
}

impl Work<'_> {
    async fn check(&self) -> Result<Finding, StepFailed> {
        let route = self.route().await?;
        let weight = |colour| route.slots.iter().find(|s| s.colour == colour).map(|s| s.weight);
        if weight(self.subject.from) != Some(100) {
            return Err(StepFailed::because(format!(
                "{} does not have all traffic any more: something else moved it; plan the release again",
                self.subject.from
            )));
        }
        self.counters().await
    }

    async fn counters(&self) -> Result<Finding, StepFailed> {
        let [(_, a), (other, b)] = self.router.figures(&self.subject.service).await?;
        let (blue, green) = if other == Colour::Green { (a, b) } else { (b, a) };
        Ok(Finding::Counters { blue, green })
    }

    async fn fetch(&self) -> Result<Finding, StepFailed> {
        let Image { reference, id, .. } = &self.subject.image;
        let image = match id {
            // Whatever the name means by now, this is the image the release was planned with.
            Some(id) => match self.engine.image(id).await? {
                Some(image) => image,
                None => {
                    self.pulled(&self.subject.image.pinned().unwrap_or_else(|| reference.clone()))
                        .await?
                }
            },
            None if self.subject.pull => self.pulled(reference).await?,
            None => match self.engine.image(reference).await? {
                Some(image) => image,
                None => self.pulled(reference).await?,
            },
        };
        if id.as_ref().is_some_and(|planned| *planned != image.id) {
            return Err(StepFailed::because(format!(
                "{reference} is not the image any more that the release was planned with; deploy it again"
            )));
        }
        let tag = crate::release::short_id(&image.id).to_owned();
        self.engine
            .tag(&image.id, &self.subject.keep_repository(), &tag)
            .await?;
        let digest = digest_of(&image, reference).or_else(|| self.subject.image.digest.clone());
        let pinned = Image {
            digest,
            ..self.subject.image.clone()
        };
        Ok(Finding::Image {
            digest: pinned.pinned(),
            id: image.id,
        })
    }

    async fn pulled(&self, reference: &str) -> Result<ImageInfo, StepFailed> {
        if let Err(error) = pull(self.engine, reference, self.progress).await {
            let lost = matches!(&error, EngineError::Pull(pull) if self.lost.contains(&pull.registry));
            let told = StepFailed::from(error);
            return Err(match lost {
                true => StepFailed::because(format!(
                    "{told}; the login that came with the order was in the memory of a process that is gone: deploy \
                     again with it"
                )),
                false => told,
            });
        }
        let pulled = self.engine.image(reference).await?;
        pulled.ok_or_else(|| StepFailed::because(format!("{reference} was pulled and is not there")))
    }

    /// What the finished steps of this service found, one release being of several services or not.
    pub fn finished(&self) -> impl Iterator<Item = (&ReleaseStep, &Finding, Span)> {
        finished_of(self.saga, &self.subject.service)
    }

    /// Whether the colour may be given this share.
    pub async fn may_shift(&self, colour: Colour, weight: u8) -> Result<(), StepFailed> {
        // Behind a gate the other colour is gone: there is no way but on.
        if self.subject.swap != Swap::Overlap {
            return Ok(());
        }
        match weight {
            0 => self.can_answer(colour.other()).await,
            _ if self.goes_back_to_warm() => self.can_answer(colour).await,
            _ => self.healthy_within(colour, STILL).await.map(|_| ()),
        }
    }

    /// How long the router's command took.
    pub async fn shift(&self, colour: Colour, weight: u8) -> Result<Span, StepFailed> {
        let weights = [(colour, weight), (colour.other(), 100u8.saturating_sub(weight))];
        let took = self.router.steer(&self.subject.service, weights).await?;
        // There is no other version any more that everybody else is on.
        if weight == 100 && self.subject.swap == Swap::Overlap {
            self.router.preview(&self.subject.service, None).await?;
        }
        Ok(took)
    }

    /// The id of the image that is to serve, as fetched or as planned.
    pub fn image_id(&self) -> Option<&str> {
        let fetched = self.finished().find_map(|(_, finding, _)| match finding {
            Finding::Image { id, .. } => Some(id.as_str()),
            _ => None,
        });
        fetched.or(self.subject.image.id.as_deref())
    }

    async fn prove(&self, colour: Colour) -> Result<Finding, StepFailed> {
        self.healthy_within(colour, STILL).await?;
        let containers = self.containers(colour).await?;
        let slots = self.router.slots(&self.subject.service).await?;
        for slot in &slots {
            if (slot.weight > 0) != (slot.colour == colour) {
                return Err(StepFailed::because(format!("{colour} does not have all traffic")));
            }
            let known = |c: &Container| c.networks.values().any(|endpoint| endpoint.ip == slot.address);
            if slot.colour == colour && !containers.iter().any(known) {
                return Err(StepFailed::because(format!(
                    "the router asks {colour} at an address that is none of its containers'"
                )));
            }
        }
        let wanted = self.image_id().unwrap_or_default();
        match containers.iter().find(|c| c.image_id != wanted) {
            Some(other) => Err(StepFailed::because(format!(
                "{} runs {} and not {wanted}",
                other.name, other.image_id
            ))),
            None => Ok(Finding::Proven {
                image_id: wanted.to_owned(),
            }),
        }
    }

    /// Closing a closed gate changes nothing; one that has opened by itself meanwhile closes again.
    pub async fn close_gate(&self) -> Result<(), StepFailed> {
        Ok(self
            .router
            .gate(&self.subject.service, Some(self.subject.limits.hold))
            .await?)
    }

    /// Waits until the colour answers no request; upgraded sessions do not count.
    pub async fn drained(&self, colour: Colour) -> Result<(), StepFailed> {
        let begun = Instant::now();
        let mut quiet = 0;
        loop {
            let slots = self.router.slots(&self.subject.service).await?;
            let busy: u64 = slots.iter().filter(|s| s.colour == colour).map(|s| s.in_flight).sum();
            // Twice, for a request that was being handed over while the counters were read.
            quiet = if busy == 0 { quiet + 1 } else { 0 };
            if quiet == 2 {
                return Ok(());
            }
            if begun.elapsed() > self.subject.limits.drain.std() {
                return Err(StepFailed::because(format!(
                    "{busy} requests to {colour} were still running after {}, the drain_limit; try again later or raise it",
                    self.subject.limits.drain
                )));
            }
            sleep(LOOK).await;
        }
    }

    /// Whoever goes back is in a hurry, and the router has looked at the warm colour all along: the engine is asked
    /// when the traffic is there.
    fn goes_back_to_warm(&self) -> bool {
        self.subject.goal == Goal::Rollback && self.subject.containers.is_empty()
    }

    /// Whether the router's own checks pass for one of the colour's replicas at least: an engine that is away must not
    /// keep traffic from being moved back.
    async fn can_answer(&self, colour: Colour) -> Result<(), StepFailed> {
        loop {
            let slots = self.router.slots(&self.subject.service).await?;
            let ours = || {
                slots
                    .iter()
                    .filter(|slot| slot.colour == colour && slot.address.is_some())
            };
            if ours().any(|slot| slot.up) {
                return Ok(());
            }
            // One bad check may be chance: the next ones tell.
            if ours().all(|slot| slot.down) {
                return Err(StepFailed::because(format!(
                    "{colour} does not answer any more either, by the router's checks; the other one keeps its traffic"
                )));
            }
            sleep(LOOK).await;
        }
    }

    async fn stop_serving(&self, colour: Colour) -> Result<Finding, StepFailed> {
        // Also when this is done a second time, and the gate has opened in between.
        self.close_gate().await?;
        self.drained(colour).await?;
        let shut = self.router.shut_sessions(&self.subject.service, colour, Span::ZERO);
        let sessions = shut.await?;
        self.router.point(&self.subject.service, colour, &[]).await?;
        self.stop(colour, None).await?;
        Ok(Finding::Cut { sessions })
    }

    async fn start_again(&self, colour: Colour) -> Result<Finding, StepFailed> {
        self.close_gate().await?;
        self.start(colour).await?;
        self.point(colour).await?;
        self.healthy_within(colour, self.subject.limits.healthy.std()).await
    }

    async fn await_healthy(&self, colour: Colour, now: Timestamp) -> Result<Finding, StepFailed> {
        let limit = self.subject.limits.healthy.std();
        self.healthy_within(colour, self.in_time(limit, now)).await
    }

    /// How long something may take that requests may be waiting for: a third of what they may wait is kept for the way
    /// back.
    fn in_time(&self, limit: Duration, now: Timestamp) -> Duration {
        let closed = self.finished().filter_map(|(_, finding, _)| match finding {
            Finding::Closed { at } => Some(*at),
            _ => None,
        });
        match closed.last() {
            Some(closed) => {
                let hold = self.subject.limits.hold.std() * 2 / 3;
                limit.min(hold.saturating_sub((now - closed).to_std().unwrap_or_default()))
            }
            None => limit,
        }
    }

    pub async fn route(&self) -> Result<crate::ports::Route, StepFailed> {
        let routes = self.router.routes().await?;
        let found = routes.into_iter().find(|route| route.service == self.subject.service);
        found.ok_or_else(|| crate::ports::RouterError::UnknownService(self.subject.service.clone()).into())
    }

    pub async fn containers(&self, colour: Colour) -> Result<Vec<Container>, StepFailed> {
        Ok(containers_of(self.engine, self.subject, colour).await?)
    }
}

pub(super) fn elapsed(since: Instant) -> Span {
    since.elapsed().into()
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, data::DataError> + Send + 'static,
) -> Result<T, StepFailed> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
