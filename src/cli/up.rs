use super::registry_auth::RegistryAuth;
use super::stack_view::{self, PlanView};
use super::{Failure, Global, Terminal, owner, plan};

#[derive(clap::Args, Clone, Debug)]
#[group(id = "up")]
pub struct Args {
    #[command(flatten)]
    plan: plan::Args,
    #[command(flatten)]
    registry: RegistryAuth,
    /// Only show what would be changed, as `plan` does
    #[arg(long)]
    dry_run: bool,
    /// As habit has it: containers always run in the background
    #[arg(short, long, hide = true)]
    detach: bool,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    if args.dry_run {
        return plan::run(global, &args.plan).await;
    }
    let global = &Global {
        logins: args.registry.read()?,
        ..global.clone()
    };
    let terminal = Terminal::of(global);
    let project = args.plan.project(global)?;
    let wishes = args.plan.wishes(&project)?;
    stack_view::warnings(&terminal, &project);
    let failure = |error| stack_view::failure(&project, error);
    let engine = project.engine().await.map_err(|error| failure(error.into()))?;
    let _lock = owner::stack_lock(&project, "arkwright up").await?;
    // Looked at under the lock: a release that ended meanwhile has moved what serves.
    let site = project.site_on(engine).await.map_err(failure)?;
    site.pull(&terminal).await.map_err(failure)?;
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.plan(&observed, wishes).await.map_err(failure)?;
    if !terminal.json {
        stack_view::notices(&terminal, &plan);
    }
    stack_view::blocked(&plan)?;
    stack_view::perform(&site, &plan, &terminal).await.map_err(failure)?;
    match (terminal.json, plan.changes.is_empty()) {
        (true, _) => terminal.print_json(&PlanView::performed(&plan, site.engine.writes())),
        (false, true) => terminal.print(&format!("{}: nothing to do", plan.project)),
        (false, false) => terminal.print(&format!("{}: up ({} changes)", plan.project, plan.changes.len())),
    }
}
