use std::io;

use crate::config::{Config, Swap};
use crate::journal::{Plan, Saga, Step};
use crate::model::{Reference, Timestamp};
use crate::plan::desired::HostFolders;
use crate::ports::{Engine, ImageInfo, Router, RouterError};
use crate::release::{self, Ask, Image, PlanError, ReleaseStep, Subject};
use crate::run::converge::with_volumes;
use crate::run::{Blame, OperationError, Order};
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

/// Decides everything about a deploy, a rollback or a retirement; changes nothing.
pub async fn plan_release(
    scope: &ReleaseScope<'_>,
    order: &Order,
) -> Result<(Subject, Plan<ReleaseStep>), OperationError> {
    let (Order::Deploy { service, .. } | Order::Rollback { service, .. } | Order::Retire { service }) = order else {
        return Err(OperationError::because(
            Blame::Input,
            format!("to {order} is no release"),
        ));
    };
    let engine_error = |error| OperationError::new(Blame::Engine, error);
    let routes = scope.router.routes().await.map_err(router_error)?;
    let observed = scope.engine.observe(&scope.stack.name).await.map_err(engine_error)?;
    let ask = Ask {
        stack: scope.stack,
        config: scope.config,
        folders: scope.folders,
        service,
        routes: &routes,
        observed: &observed,
    };
    let planned = match order {
        Order::Deploy { image, no_canary, .. } => {
            let composed = || scope.stack.services.get(service).and_then(|s| s.image.clone());
            let reference = image
                .clone()
                .or_else(composed)
                .ok_or_else(|| input_error(PlanError::NoImage(service.clone())))?;
            let asks = scope.stack.services.get(service).is_some_and(release::always);
            let found = match asks {
                // What the name means is known once it is pulled.
                true => None,
                false => scope.engine.image(&reference).await.map_err(engine_error)?,
            };
            let image = Image {
                digest: found.as_ref().and_then(|image| digest_of(image, &reference)),
                id: found.map(|image| image.id),
                reference,
            };
            release::deploy(ask, image, *no_canary)
        }
        Order::Rollback { reason, .. } => {
            // Its name may mean another image by now; its id does not.
            let previous = release::past(scope.releases, scope.now)
                .remove(service)
                .map(|past| past.previous);
            release::rollback(ask, previous, reason.clone())
        }
        _ => release::retire(ask),
    };
    let (mut subject, plan) = planned.map_err(input_error)?;
    if subject.swap == Swap::Recreate {
        for container in release::plain_of(&observed, service) {
            let kept = scope
                .engine
                .anonymous_volumes(&container.id)
                .await
                .map_err(engine_error)?;
            let specs = subject.containers.iter_mut().chain(&mut subject.replaced);
            for spec in specs.filter(|spec| spec.name == container.name) {
                *spec = with_volumes(spec, kept.clone());
            }
        }
    }
    // A container says which image it was made from, and not what a registry calls that.
    for image in [&mut subject.image, &mut subject.previous] {
        if image.digest.is_none() {
            image.digest = release::digest_fetched(scope.releases, image);
        }
        if let (None, Some(id)) = (&image.digest, &image.id) {
            let found = scope.engine.image(id).await.map_err(engine_error)?;
            image.digest = found.and_then(|found| digest_of(&found, &image.reference));
        }
    }
    Ok((subject, plan))
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

fn router_error(error: RouterError) -> OperationError {
    OperationError::new(Blame::Host, error)
}
