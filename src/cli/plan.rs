use std::collections::BTreeSet;

use super::stack_view::{self, PlanView};
use super::{Failure, Global, Kind, OrFail, Terminal, owner, project};
use crate::app::Project;
use crate::model::ServiceName;
use crate::plan::Wishes;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only these services and what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    /// Only the services named, without what they depend on
    #[arg(long, requires = "services")]
    no_deps: bool,
    /// Run this many replicas of a service, whatever the Compose file says
    #[arg(long, value_name = "SERVICE=N", value_parser = scale)]
    scale: Vec<(ServiceName, u32)>,
    /// Recreate containers although nothing of them changed: of the services named, else of all that are not released
    #[arg(long)]
    force_recreate: bool,
    /// Also remove containers whose service the Compose file does not have
    #[arg(long)]
    remove_orphans: bool,
    /// Also put one container in the place of all those of the router, which cuts the connections they have
    #[arg(long)]
    recreate_router: bool,
    /// Also put the router in front of released services that run as plain containers: one short interruption of them
    #[arg(long, conflicts_with = "services")]
    adopt: bool,
}

fn scale(text: &str) -> Result<(ServiceName, u32), String> {
    let (service, replicas) = text.split_once('=').ok_or("write SERVICE=N, as in web=3")?;
    let service = service.parse().map_err(|e| format!("`{service}`: {e}"))?;
    let replicas = replicas
        .parse()
        .map_err(|_| format!("`{replicas}` is no number of replicas"))?;
    Ok((service, replicas))
}

impl Args {
    /// The project as these arguments want it.
    pub fn project(&self, global: &Global) -> Result<Project, Failure> {
        let mut project = project::project(global)?;
        for (service, replicas) in &self.scale {
            project.scale(service, *replicas).or_fail(Kind::Usage)?;
        }
        Ok(project)
    }

    pub fn wishes(&self, project: &Project) -> Result<Wishes, Failure> {
        Ok(Wishes {
            only: match self.services.as_slice() {
                [] => None,
                names => Some(project.selected(names, !self.no_deps).or_fail(Kind::Usage)?),
            },
            recreate: match (self.force_recreate, self.services.as_slice()) {
                (false, _) => BTreeSet::new(),
                (true, []) => project.plain(),
                (true, names) => project.replaceable(names).or_fail(Kind::Usage)?,
            },
            remove_orphans: self.remove_orphans,
            recreate_router: self.recreate_router,
            adopt: self.adopt,
        })
    }
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = args.project(global)?;
    let wishes = args.wishes(&project)?;
    stack_view::warnings(&terminal, &project);
    let failure = |error| stack_view::failure(&project, error);
    let site = project.site().await.map_err(failure)?;
    if let Err(busy) = owner::no_release_under_way(&project).await {
        terminal.warn(&busy.to_string());
    }
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.plan(&observed, wishes).await.map_err(failure)?;
    if terminal.json {
        terminal.print_json(&PlanView::shown(&plan))?;
    } else {
        stack_view::changes(&terminal, &plan)?;
        stack_view::notices(&terminal, &plan);
    }
    stack_view::blocked(&plan)
}
