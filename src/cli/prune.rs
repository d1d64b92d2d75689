use serde::Serialize;

use super::{Failure, Global, Kind, OrFail, Terminal, owner, project, stack_view};
use crate::app::SystemClock;
use crate::model::Size;
use crate::ports::Clock;
use crate::release::{Pruning, short_id};
use crate::run::release::releases;
use crate::run::{PruneScope, plan_prune, prune};

#[derive(clap::Args)]
pub struct Args {
    /// Images of the project's own that nothing needs: no container of this host, no service, no rollback
    #[arg(long, required = true)]
    images: bool,
    /// Remove them; without it they are only listed
    #[arg(long, short)]
    yes: bool,
}

#[derive(Serialize)]
struct View<'a> {
    project: &'a str,
    /// Whether it has been done.
    performed: bool,
    #[serde(flatten)]
    pruning: &'a Pruning,
    /// Bytes of the images that are gone.
    freed: u64,
}

/// Lists the project's images that nothing needs any more, and with `--yes` removes them.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    stack_view::warnings(&terminal, &project);
    let engine = project.engine().await.or_fail(Kind::Engine)?;
    let _lock = match args.yes {
        true => Some(owner::stack_lock(&project, "arkwright prune").await?),
        false => {
            if let Err(busy) = owner::no_release_under_way(&project).await {
                terminal.warn(&busy.to_string());
            }
            None
        }
    };
    let folder = project.folder().or_fail(Kind::Host)?;
    let past = releases(&folder)?;
    let scope = PruneScope {
        stack: project.stack(),
        images: std::slice::from_ref(&project.config.router.image),
        releases: &past,
        engine: engine.as_ref(),
        now: SystemClock.now(),
    };
    let pruning = plan_prune(&scope).await.or_fail(Kind::Engine)?;
    let freed = match args.yes {
        true => prune(&pruning, engine.as_ref(), &terminal)
            .await
            .or_fail(Kind::Engine)?,
        false => 0,
    };
    if terminal.json {
        return terminal.print_json(&View {
            project: project.stack().name.as_str(),
            performed: args.yes,
            pruning: &pruning,
            freed,
        });
    }
    told(&terminal, &pruning, args.yes.then_some(freed))
}

fn told(terminal: &Terminal, pruning: &Pruning, freed: Option<u64>) -> Result<(), Failure> {
    if pruning.remove.is_empty() {
        return terminal.print("every image of the project is needed");
    }
    if let Some(freed) = freed {
        return terminal.print(&format!("{} removed", Size(freed)));
    }
    let rows = pruning.remove.iter().flat_map(|removal| {
        removal.names.iter().enumerate().map(|(at, name)| {
            let size = if at == 0 { removal.size } else { 0 };
            vec![
                short_id(&removal.id).to_owned(),
                name.clone(),
                if size > 0 {
                    Size(size).to_string()
                } else {
                    "-".to_owned()
                },
                removal.reason.clone(),
            ]
        })
    });
    terminal.table(&["IMAGE", "NAME", "SIZE", "WHY"], &rows.collect::<Vec<_>>())?;
    terminal.print(&format!(
        "{} at most (layers that images have in common are counted with each); `arkwright prune --images --yes` removes them",
        Size(pruning.bytes)
    ))
}
