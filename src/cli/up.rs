use super::stack_view::{self, PlanView};
use super::{Failure, Global, Kind, OrFail, Terminal, owner, project};
use crate::state::HostLock;

pub async fn run(global: &Global, wishes: super::plan::Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    stack_view::warnings(&terminal, &project);
    let failure = |error| stack_view::failure(&project, error);
    let site = project.site().await.map_err(failure)?;
    owner::no_release_under_way(&project).await?;
    let folder = project.folder().or_fail(Kind::Host)?;
    let _lock = HostLock::take(&folder.stack_lock(), "arkwright up").or_fail(Kind::Busy)?;
    site.pull(&terminal).await.map_err(failure)?;
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.plan(&observed, wishes.into()).await.map_err(failure)?;
    if !terminal.json {
        stack_view::notices(&terminal, &plan);
    }
    stack_view::blocked(&plan)?;
    site.perform(&plan, &terminal).await.map_err(failure)?;
    match (terminal.json, plan.changes.is_empty()) {
        (true, _) => terminal.print_json(&PlanView::of(&plan, true)),
        (false, true) => terminal.print(&format!("{}: nothing to do", plan.project)),
        (false, false) => terminal.print(&format!("{}: up ({} changes)", plan.project, plan.changes.len())),
    }
}
