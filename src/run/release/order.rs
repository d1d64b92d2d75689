use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::config::{Config, Swap};
use crate::journal::{Plan, Saga, Step};
use crate::model::{Reference, ServiceName, Timestamp};
use crate::plan::desired::HostFolders;
use crate::ports::{Engine, EngineError, ImageInfo, Observed, Route, Router, RouterError};
use crate::release::{self, Ask, Image, Past, PlanError, ReleaseStep, Subject, Subjects};
use crate::run::converge::with_volumes;
use crate::run::{Blame, OperationError, Order, Target};
use crate::stack::Stack;
use crate::state::{ProjectFolder, read_journal};

/// What releases of a project are planned from.
pub struct ReleaseScope<'a> {
    pub stack: &'a Stack,
    pub config: &'a Config,
    pub folders: &'a HostFolders,
    pub engine: &'a dyn Engine,
    pub router: &'a dyn Router,
    /// Every release there is a journal of, oldest first.
    pub releases: &'a [Saga<ReleaseStep>],
    pub now: Timestamp,
}

/// Decides everything about a deploy, a rollback or a retirement, of one service or several; changes nothing.
pub async fn plan_release(
    scope: &ReleaseScope<'_>,
    order: &Order,
) -> Result<(Subjects, Plan<ReleaseStep>), OperationError> {
    let routes = scope.router.routes().await.map_err(router_error)?;
    let observed = scope.engine.observe(&scope.stack.name).await.map_err(engine_error)?;
    let past = release::past(scope.releases, scope.now);
    let ground = Ground {
        scope,
        past: &past,
        routes: &routes,
        observed: &observed,
    };
    let mut plans = Vec::new();
    let mut left = Vec::new();
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
        Order::Rollback { service, reason } => {
            plans.push(ground.back(service, reason.clone()));
            left = beside(&past, std::slice::from_ref(service));
        }
        Order::RollbackTogether {
            services,
            group,
            reason,
        } => {
            let others = beside(&past, services);
            plans.extend(services.iter().map(|service| ground.back(service, reason.clone())));
            match group {
                true => plans.extend(others.iter().map(|service| ground.back(service, reason.clone()))),
                false => left = others,
            }
        }
        Order::Retire { service } => plans.push(release::retire(ground.ask(service))),
        Order::Backup { .. } | Order::Drill { .. } | Order::Emergency(_) => {
            return Err(OperationError::because(
                Blame::Input,
                format!("to {order} is no release"),
            ));
        }
    }
    let plans = plans.into_iter().collect::<Result<_, _>>().map_err(input_error)?;
    let (mut subjects, plan) = release::together(plans).map_err(input_error)?;
    subjects.left = left;
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
    for subject in subjects.members_mut() {
        for image in [&mut subject.image, &mut subject.previous] {
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

    fn back(&self, service: &ServiceName, reason: Option<String>) -> Result<(Subject, Plan<ReleaseStep>), PlanError> {
        // Its name may mean another image by now; its id does not.
        let previous = self.past.get(service).map(|past| past.previous.clone());
        release::rollback(self.ask(service), previous, reason)
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

/// Every release there is a journal of, oldest first.
pub fn releases(folder: &ProjectFolder) -> Result<Vec<Saga<ReleaseStep>>, OperationError> {
    let operations = match folder.operations() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| OperationError::new(Blame::Host, error))?,
    };
    let releases = operations.iter().filter(|(_, kind)| kind == ReleaseStep::KIND);
    releases
        .map(|(id, kind)| Ok(read_journal(&folder.journal(kind, id))?.1))
        .collect()
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
