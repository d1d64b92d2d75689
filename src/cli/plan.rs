use super::stack_view::{self, PlanView};
use super::{Failure, Global, Terminal, owner, project};
use crate::plan::Wishes;

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// Also remove containers whose service the Compose file does not have
    #[arg(long)]
    remove_orphans: bool,
    /// Also take a change of the router's own container, which cuts the connections it has
    #[arg(long)]
    recreate_router: bool,
    /// Also put the router in front of released services that run as plain containers: one short interruption of them
    #[arg(long)]
    adopt: bool,
}

impl From<Args> for Wishes {
    fn from(args: Args) -> Wishes {
        Wishes {
            remove_orphans: args.remove_orphans,
            recreate_router: args.recreate_router,
            adopt: args.adopt,
        }
    }
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    stack_view::warnings(&terminal, &project);
    let failure = |error| stack_view::failure(&project, error);
    let site = project.site().await.map_err(failure)?;
    if let Err(busy) = owner::no_release_under_way(&project).await {
        terminal.warn(&busy.to_string());
    }
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.plan(&observed, args.into()).await.map_err(failure)?;
    if terminal.json {
        terminal.print_json(&PlanView::of(&plan, false))?;
    } else {
        stack_view::changes(&terminal, &plan)?;
        stack_view::notices(&terminal, &plan);
    }
    stack_view::blocked(&plan)
}
