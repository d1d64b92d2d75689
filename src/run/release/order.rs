use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::config::{Config, Swap};
use crate::journal::{Plan, Saga};
use crate::model::{Reference, ServiceName, Timestamp};
use crate::plan::desired::{self, HostFolders};
use crate::plan::labels;
use crate::ports::{Container, Engine, EngineError, ImageInfo, Observed, Route, Router, RouterError};
use crate::release::{self, Ask, Image, Past, PlanError, ReleaseStep, Subject, Subjects};
use crate::run::converge::with_volumes;
use crate::run::{Blame, OperationError, Order, Target};
use crate::stack::Stack;

/// How long whoever goes back at once waits for the engine.
const GLANCE: Duration = Duration::from_millis(100);

/// What releases of a project are planned from.
pub struct ReleaseScope<'a> {
    pub stack: &'a Stack,
    pub config: &'a Config,
    pub folders: &'a HostFolders,
    pub engine: &'a dyn Engine,
    pub router: &'a dyn Router,
    /// Those that tell how the services stand, oldest first.
    pub releases: &'a [Saga<ReleaseStep>],
    pub now: Timestamp,
}

/// Decides everything about a deploy, a rollback or a retirement, of one service or several; changes nothing.
pub async fn plan_release(
    scope: &ReleaseScope<'_>,
    order: &Order,
) -> Result<(Subjects, Plan<ReleaseStep>), OperationError> {
    let routes = scope.router.routes().await.map_err(router_error)?;
    let past = release::past(scope.releases, scope.now);
    let back = Back::of(order, &past);
    let unseen = Observed::default();
    let mut ground = Ground {
        scope,
        past: &past,
        routes: &routes,
        observed: &unseen,
    };
    let mut plans = Vec::new();
    if let Some(back) = &back {
        plans = ground.back_at_once(back).await;
    }
    let observed = match plans.is_empty() {
        true => scope.engine.observe(&scope.stack.name).await.map_err(engine_error)?,
        false => Observed::default(),
    };
    ground.observed = &observed;
    match order {
        Order::Deploy {
            service,
            image,
            no_canary,
            ..
        } => {
            let image = scope.image(service, image.as_ref()).await?;
            plans.push(release::deploy(ground.ask(service), image, *no_canary));
        }
        Order::DeployTogether {
            services, no_canary, ..
        } => {
            for Target { service, image } in services {
                let image = scope.image(service, image.as_ref()).await?;
                plans.push(release::deploy(ground.ask(service), image, *no_canary));
            }
        }
        Order::Rollback { .. } | Order::RollbackTogether { .. } => {
            if let Some(back) = back.as_ref().filter(|_| plans.is_empty()) {
                plans = back.services.iter().map(|service| ground.back(service, back)).collect();
            }
        }
        Order::Retire { service } => plans.push(release::retire(ground.ask(service))),
        Order::Backup { .. } | Order::Prune { .. } | Order::Drill { .. } | Order::Emergency(_) => {
            return Err(OperationError::because(
                Blame::Input,
                format!("to {order} is no release"),
            ));
        }
    }
    let plans = plans.into_iter().collect::<Result<_, _>>().map_err(input_error)?;
    let (mut subjects, plan) = release::together(plans).map_err(input_error)?;
    subjects.left = back.map(|back| back.left).unwrap_or_default();
    for subject in subjects.members_mut().iter_mut().filter(|s| s.swap == Swap::Recreate) {
        for container in release::plain_of(&observed, &subject.service) {
            let kept = scope.engine.anonymous_volumes(&container.id).await;
            let kept = kept.map_err(engine_error)?;
            let specs = subject.containers.iter_mut().chain(&mut subject.replaced);
            for spec in specs.filter(|spec| spec.name == container.name) {
                *spec = with_volumes(spec, kept.clone());
            }
        }
    }
    // A container says which image it was made from, and not what a registry calls that.
    let same =
        |told: &Image, image: &Image| told.id.is_some() && (&told.id, &told.reference) == (&image.id, &image.reference);
    for subject in subjects.members_mut() {
        let known = past.get(&subject.service);
        for image in [&mut subject.image, &mut subject.previous] {
            let told = known.and_then(|past| {
                [&past.serving, &past.previous]
                    .into_iter()
                    .find(|told| same(told, image))
            });
            // One name of an image says nothing of another's digest.
            if let Some(told) = told {
                image.digest = image.digest.take().or_else(|| told.digest.clone());
                continue;
            }
            if image.digest.is_none() {
                image.digest = release::digest_fetched(scope.releases, image);
            }
            if let (None, Some(id)) = (&image.digest, &image.id) {
                let found = scope.engine.image(id).await.map_err(engine_error)?;
                image.digest = found.and_then(|found| digest_of(&found, &image.reference));
            }
        }
    }
    Ok((subjects, plan))
}

type Planned = Result<(Subject, Plan<ReleaseStep>), PlanError>;

/// Which services go back, and which were released with them and stay.
struct Back {
    services: Vec<ServiceName>,
    left: Vec<ServiceName>,
    reason: Option<String>,
}

impl Back {
    fn of(order: &Order, past: &BTreeMap<ServiceName, Past>) -> Option<Self> {
        let (mut services, group, reason) = match order {
            Order::Rollback { service, reason } => (vec![service.clone()], false, reason.clone()),
            Order::RollbackTogether {
                services,
                group,
                reason,
            } => (services.clone(), *group, reason.clone()),
            _ => return None,
        };
        let mut left = beside(past, &services);
        if group {
            services.append(&mut left);
        }
        Some(Back { services, left, reason })
    }
}

/// What every service's plan is made from.
struct Ground<'a> {
    scope: &'a ReleaseScope<'a>,
    past: &'a BTreeMap<ServiceName, Past>,
    routes: &'a [Route],
    observed: &'a Observed,
}

impl Ground<'_> {
    fn ask<'b>(&'b self, service: &'b ServiceName) -> Ask<'b> {
        Ask {
            stack: self.scope.stack,
            config: self.scope.config,
            folders: self.scope.folders,
            service,
            routes: self.routes,
            observed: self.observed,
        }
    }

    fn back(&self, service: &ServiceName, back: &Back) -> Planned {
        // Its name may mean another image by now; its id does not.
        let previous = self.past.get(service).map(|past| past.previous.clone());
        release::rollback(self.ask(service), previous, back.reason.clone())
    }

    /// Whether the router's checks of the colour it goes to pass.
    async fn answers(&self, subject: &Subject) -> bool {
        let Ok(slots) = self.scope.router.slots(&subject.service).await else {
            return false;
        };
        let warm = slots.iter().filter(|slot| slot.colour == subject.to);
        warm.filter(|slot| slot.up && slot.address.is_some()).count() == subject.replicas as usize
    }

    /// Whether its containers are what the journals say. An engine that takes its time to tell is not waited for: the
    /// router has looked at them all along.
    async fn as_remembered(&self, subject: &Subject) -> bool {
        let stack = self.scope.stack;
        let names =
            (1..=subject.replicas).map(|replica| desired::colour_name(stack, &subject.service, subject.to, replica));
        let looking = names.map(|name| async move { self.scope.engine.container(&name).await });
        let Ok(found) = tokio::time::timeout(GLANCE, try_join_all(looking)).await else {
            return true;
        };
        let as_told = |container: &Container| {
            container.running()
                && subject.image.id.as_ref() == Some(&container.image_id)
                && container.label(labels::STANDBY).is_none()
        };
        found.is_ok_and(|found| found.iter().all(|container| container.as_ref().is_some_and(as_told)))
    }

    /// Where the journals and the router tell enough of all of them; empty where the engine has to be asked.
    async fn back_at_once(&self, back: &Back) -> Vec<Planned> {
        let mut plans = Vec::new();
        for service in &back.services {
            let Some(past) = self.past.get(service) else {
                return Vec::new();
            };
            let planned = release::rollback_at_once(self.ask(service), past, self.scope.now, back.reason.clone());
            let Some((subject, plan)) = planned else {
                return Vec::new();
            };
            if !self.answers(&subject).await || !self.as_remembered(&subject).await {
                return Vec::new();
            }
            plans.push(Ok((subject, plan)));
        }
        plans
    }
}

impl ReleaseScope<'_> {
    /// The image that is asked for, else the Compose file's, as it is on this host.
    async fn image(&self, service: &ServiceName, asked: Option<&String>) -> Result<Image, OperationError> {
        let composed = self.stack.services.get(service);
        let reference = asked.or(composed.and_then(|service| service.image.as_ref())).cloned();
        let reference = reference.ok_or_else(|| input_error(PlanError::NoImage(service.clone())))?;
        let found = match composed.is_some_and(release::always) {
            // What the name means is known once it is pulled.
            true => None,
            false => self.engine.image(&reference).await.map_err(engine_error)?,
        };
        Ok(Image {
            digest: found.as_ref().and_then(|image| digest_of(image, &reference)),
            id: found.map(|image| image.id),
            reference,
        })
    }
}

/// What was released together with these and is not among them.
fn beside(past: &BTreeMap<ServiceName, Past>, services: &[ServiceName]) -> Vec<ServiceName> {
    let known = services.iter().filter_map(|service| past.get(service));
    let others: BTreeSet<&ServiceName> = known.flat_map(|past| &past.together).collect();
    let others = others.into_iter().filter(|other| !services.contains(other));
    others.cloned().collect()
}

/// What the registry of `reference` calls this image.
pub(super) fn digest_of(image: &ImageInfo, reference: &str) -> Option<String> {
    let reference: Reference = reference.parse().ok()?;
    image.digest_of(&reference).map(str::to_owned)
}

fn input_error(error: PlanError) -> OperationError {
    let blame = match error {
        PlanError::NoService(_) | PlanError::NothingBefore(_) => Blame::NotFound,
        PlanError::NotRouted { .. } | PlanError::NotThere(_) | PlanError::Unsettled { .. } => Blame::Host,
        _ => Blame::Input,
    };
    OperationError::new(blame, error)
}

fn engine_error(error: EngineError) -> OperationError {
    OperationError::new(Blame::Engine, error)
}

fn router_error(error: RouterError) -> OperationError {
    OperationError::new(Blame::Host, error)
}
