use super::stack_view::{self, PlanView};
use super::{Failure, Global, Kind, Terminal, owner, project};
use crate::plan::{Action, TearDown};

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// Also remove the project's volumes, with the data in them; needs --yes
    #[arg(long)]
    volumes: bool,
    /// Also remove containers whose service the Compose file does not have
    #[arg(long)]
    remove_orphans: bool,
    /// Yes, remove the data
    #[arg(long)]
    yes: bool,
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let failure = |error| stack_view::failure(&project, error);
    let engine = project.engine().await.map_err(|error| failure(error.into()))?;
    let _lock = owner::stack_lock(&project, "arkwright down").await?;
    // Looked at under the lock: a release that ended meanwhile has moved what serves.
    let site = project.site_on(engine).await.map_err(failure)?;
    let what = TearDown {
        volumes: args.volumes,
        orphans: args.remove_orphans,
    };
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.teardown(observed, what).await.map_err(failure)?;
    let volumes: Vec<String> = plan
        .changes
        .iter()
        .filter(|change| matches!(change.action, Action::RemoveVolume { .. }))
        .map(|change| change.action.subject())
        .collect();
    if !volumes.is_empty() && !args.yes {
        let what = format!("--volumes would remove {} and the data in it", volumes.join(", "));
        return Err(Failure::new(Kind::Usage, what).hinted("add --yes if that is meant; nothing was changed"));
    }
    if !terminal.json {
        stack_view::notices(&terminal, &plan);
    }
    stack_view::perform(&site, &plan, &terminal).await.map_err(failure)?;
    match (terminal.json, plan.changes.is_empty()) {
        (true, _) => terminal.print_json(&PlanView::performed(&plan, site.engine.writes())),
        (false, true) => terminal.print(&format!("{}: nothing to do", plan.project)),
        (false, false) => terminal.print(&format!("{}: down", plan.project)),
    }
}
