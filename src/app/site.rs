use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Swap;
use crate::model::{Colour, ServiceName};
use crate::plan::desired::{DesiredError, HostFolders};
use crate::plan::{Container, Desired, Notice, Observed, Plan, TearDown, Wishes, diff, eject, labels, teardown};
use crate::ports::{Clock, Engine, EngineError, Router};
use crate::release;
use crate::router::{HaProxy, Inside};
use crate::run::release::standing;
use crate::run::{Converge, ConvergeError, FactsError, OperationError, Patience, Progress, facts, pull};
use crate::state::ProjectFolder;

use super::pinned::Pinned;
use super::{Project, SystemClock};

/// A project on its engine: what should be and what is.
pub struct Site<'a> {
    pub project: &'a Project,
    pub engine: Arc<dyn Engine>,
    pub router: Option<Box<dyn Router>>,
    pub desired: Desired,
    pub folders: HostFolders,
    /// Services with a release that has no end yet.
    pub moving: BTreeSet<ServiceName>,
    pinned: Pinned,
}

#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Desired(#[from] DesiredError),
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error(transparent)]
    Journals(#[from] OperationError),
    #[error(transparent)]
    Converge(#[from] ConvergeError),
    #[error(
        "{service} serves {image}, which is not on this host any more and in no registry; `arkwright deploy {service}=IMAGE` releases another"
    )]
    Lost { service: String, image: String },
    #[error(
        "both colours of {service} are here, of different images, and nothing says which serves; remove the one that does \
         not, then run this again"
    )]
    Undecided { service: ServiceName },
}

impl Project {
    /// The router; a project that releases nothing has none.
    pub fn router(&self) -> Option<HaProxy> {
        let folders = ProjectFolder::named(&self.config.state, &self.stack().name).host_folders();
        let released = !self.config.services.is_empty();
        released.then(|| HaProxy::new(folders.router_config, folders.router_run, Inside::container()))
    }

    /// One that arkwright.yaml asks for no more and that nobody has taken away: it knows which colours serve.
    fn left_router(&self) -> Option<HaProxy> {
        let folders = ProjectFolder::named(&self.config.state, &self.stack().name).host_folders();
        let there = folders.router_config.join("haproxy.cfg").exists();
        there.then(|| HaProxy::new(folders.router_config, folders.router_run, Inside::container()))
    }

    pub async fn site(&self) -> Result<Site<'_>, SiteError> {
        self.site_on(self.engine().await?).await
    }

    /// The same on an engine that is connected already.
    pub async fn site_on(&self, engine: Arc<dyn Engine>) -> Result<Site<'_>, SiteError> {
        let state = ProjectFolder::named(&self.config.state, &self.stack().name);
        let folders = state.host_folders();
        let router = self.router().or_else(|| self.left_router());
        let router = router.map(|router| Box::new(router) as Box<dyn Router>);
        // What a released service runs is what was released, whatever the Compose file names by now.
        let (mut serving, mut moving, mut pinned) = (BTreeMap::new(), BTreeSet::new(), Pinned::default());
        if let Some(router) = &router {
            let routes = router.routes().await.map_err(FactsError::from)?;
            let observed = engine.observe(&self.stack().name).await?;
            let now = SystemClock.now();
            let releases = standing(&state, &[], now)?;
            let past = release::past(&releases, now);
            moving = release::moving(&releases, now);
            serving = release::serving(&routes, &observed, &past);
            let all = self.config.services.iter();
            let in_place = all.filter(|(_, config)| config.release.swap == Swap::Recreate);
            serving.extend(release::in_place(in_place.map(|(name, _)| name), &observed, &past));
            pinned = Pinned::of(&serving, &observed, &past);
        }
        let desired = Desired::of(self.stack(), Some(&self.config), &serving, &folders)?;
        Ok(Site {
            project: self,
            engine,
            router,
            desired,
            folders,
            moving,
            pinned,
        })
    }
}

impl Site<'_> {
    pub async fn observe(&self) -> Result<Observed, SiteError> {
        Ok(self.engine.observe(&self.desired.project).await?)
    }

    /// What `up` would do; changes nothing.
    pub async fn plan(&self, observed: &Observed, wishes: Wishes) -> Result<Plan, SiteError> {
        let variables = self.project.loaded.variables.all();
        let mut facts = facts(&self.desired, self.engine.as_ref(), self.router.as_deref(), variables).await?;
        facts.moving = self.moving.clone();
        self.pinned.correct(&mut facts, self.engine.as_ref()).await?;
        Ok(diff(&self.desired, observed, &facts, wishes))
    }

    /// Images whose `pull_policy` is `always`, so that the plan sees what they are now.
    pub async fn pull(&self, progress: &dyn Progress) -> Result<(), SiteError> {
        let always = |policy: &Option<String>| policy.as_deref() == Some("always");
        let services = self
            .desired
            .services
            .iter()
            .filter(|service| always(&service.pull_policy));
        let mut images: Vec<&String> = services.flat_map(|s| &s.containers).map(|spec| &spec.image).collect();
        images.sort();
        images.dedup();
        for image in images {
            progress.say(&format!("pull image {image}: its pull_policy is always"));
            pull(self.engine.as_ref(), image, progress).await?;
        }
        Ok(())
    }

    pub async fn perform(&self, plan: &Plan, progress: &dyn Progress) -> Result<(), SiteError> {
        self.perform_until(plan, progress, &CancellationToken::new()).await
    }

    /// Once `over` is cancelled nothing new is begun.
    pub async fn perform_until(
        &self,
        plan: &Plan,
        progress: &dyn Progress,
        over: &CancellationToken,
    ) -> Result<(), SiteError> {
        let converge = Converge {
            engine: self.engine.as_ref(),
            router: self.router.as_deref(),
            folders: &self.folders,
            environment: self.project.loaded.variables.all(),
            progress,
            patience: Patience::default(),
        };
        let plan = self.pinned.apply(plan, self.engine.as_ref(), progress).await?;
        Ok(converge.perform_until(&plan, over).await?)
    }

    /// What gives the project back to plain Compose; changes nothing. What the Compose file has to say so that Compose
    /// leaves it so is among the plan's notices.
    pub async fn ejection(&self, observed: &Observed) -> Result<Plan, SiteError> {
        let routes = match &self.router {
            Some(router) => router.routes().await.map_err(FactsError::from)?,
            None => Vec::new(),
        };
        let mut stack = self.project.stack().clone();
        let mut notices = Vec::new();
        for (name, service) in &mut stack.services {
            if self.pinned.image(name).is_none() && colours_differ(observed, name) {
                return Err(SiteError::Undecided { service: name.clone() });
            }
            let Some(image) = self.serves(name, observed).await? else {
                continue;
            };
            if service.image.as_ref() != Some(&image) {
                let what = format!(
                    "it serves {image}; write `image: {image}` into the Compose file, or Compose's next `up` takes it from there"
                );
                notices.push(Notice {
                    subject: name.to_string(),
                    what,
                });
            }
            service.image = Some(image);
        }
        let plain = Desired::of(&stack, None, &BTreeMap::new(), &self.folders)?;
        let mut plan = eject(&plain, observed, &routes);
        plan.drift = notices;
        Ok(plan)
    }

    /// The image that serves: by the name it was released under while that still means the same, else by its id. `None`
    /// for a service that no colour runs of.
    async fn serves(&self, service: &ServiceName, observed: &Observed) -> Result<Option<String>, EngineError> {
        // One that arkwright.yaml does not release any more may still have its colours.
        let left = Colour::BOTH
            .iter()
            .flat_map(|colour| release::of_colour(observed, service, *colour));
        let left = left.map(release::image_of).next();
        let Some(image) = self.pinned.image(service).cloned().or(left) else {
            return Ok(None);
        };
        let named = self.engine.image(&image.reference).await?.map(|found| found.id);
        Ok(Some(match image.id {
            Some(id) if named.as_ref() != Some(&id) => id,
            _ => image.reference,
        }))
    }

    /// What takes the project down; asks for what only a teardown is interested in.
    pub async fn teardown(&self, mut observed: Observed, what: TearDown) -> Result<Plan, SiteError> {
        let of_project = format!("{}/", self.desired.project);
        let programs = self.engine.containers_labelled(labels::HOOK).await?;
        let ours = |c: &Container| c.label(labels::HOOK).is_some_and(|of| of.starts_with(&of_project));
        observed.containers.extend(programs.into_iter().filter(ours));
        Ok(teardown(&self.desired, &observed, what))
    }
}

fn colours_differ(observed: &Observed, service: &ServiceName) -> bool {
    let ids = Colour::BOTH
        .iter()
        .flat_map(|colour| release::of_colour(observed, service, *colour))
        .map(|container| container.image_id.as_str());
    ids.collect::<BTreeSet<_>>().len() > 1
}
