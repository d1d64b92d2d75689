use std::path::{Path, PathBuf};

use super::stack_view::{self, PlanView};
use super::{Failure, Global, Kind, OrFail, Terminal, owner, project};
use crate::plan::Plan;

/// Each released service runs on as a plain container under its own name and ports, from the image that serves; the
/// router and its colours go. This is one interruption, so it needs --yes; without it only the plan is shown.
///
/// Networks, volumes and their data stay. The Compose file is not changed: where it names another image than the one that
/// serves, the line to write is printed; until it is written, Compose's own `up` would take what the file says.
/// Images of earlier releases and the names that keep them (`localhost/arkwright-keep/…`) stay too, and so do backups and the history.
/// Cut off in the middle, it is finished by running it again. `arkwright up --adopt` is the way back.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// Yes, with one interruption
    #[arg(long, short)]
    yes: bool,
    /// Also rename arkwright.yaml to arkwright.yaml.ejected
    #[arg(long)]
    set_config_aside: bool,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    stack_view::warnings(&terminal, &project);
    let failure = |error| stack_view::failure(&project, error);
    let engine = project.engine().await.map_err(|error| failure(error.into()))?;
    if !args.yes {
        let site = project.site_on(engine).await.map_err(failure)?;
        let observed = site.observe().await.map_err(failure)?;
        let plan = site.ejection(&observed).await.map_err(failure)?;
        return show(&terminal, &plan);
    }
    let aside = match (&project.config_file, args.set_config_aside) {
        (Some(file), true) => Some((file, free_name(file).or_fail(Kind::Host)?)),
        _ => None,
    };
    let _lock = owner::stack_lock(&project, "arkwright eject").await?;
    // Looked at under the lock: what serves may have changed until then.
    let site = project.site_on(engine).await.map_err(failure)?;
    let observed = site.observe().await.map_err(failure)?;
    let plan = site.ejection(&observed).await.map_err(failure)?;
    stack_view::blocked(&plan)?;
    stack_view::perform(&site, &plan, &terminal).await.map_err(failure)?;
    if let Some((file, aside)) = aside {
        std::fs::rename(file, &aside).or_fail(Kind::Host)?;
        terminal.note(&format!("{} is now {}", file.display(), aside.display()));
    }
    if terminal.json {
        return terminal.print_json(&PlanView::performed(&plan, site.engine.writes()));
    }
    stack_view::notices(&terminal, &plan);
    match plan.changes.is_empty() {
        true => terminal.print(&format!("{}: nothing to do", plan.project)),
        false => terminal.print(&format!("{}: plain Compose again", plan.project)),
    }
}

fn show(terminal: &Terminal, plan: &Plan) -> Result<(), Failure> {
    if terminal.json {
        terminal.print_json(&PlanView::shown(plan))?;
    } else {
        stack_view::changes(terminal, plan)?;
        stack_view::notices(terminal, plan);
    }
    stack_view::blocked(plan)?;
    if !plan.changes.is_empty() {
        terminal.note("nothing was changed; --yes does it, with one interruption of the released services");
    }
    Ok(())
}

/// Nobody's file is written over.
fn free_name(file: &Path) -> std::io::Result<PathBuf> {
    let mut name = file.as_os_str().to_owned();
    name.push(".ejected");
    let aside = PathBuf::from(name);
    match aside.exists() {
        true => {
            let what = format!("{} is there already; move it away", aside.display());
            Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, what))
        }
        false => Ok(aside),
    }
}
