use super::owner::Owner;
use super::{Failure, Global, Kind, Terminal, project};
use crate::model::OperationId;

#[derive(clap::Args)]
pub struct Args {
    /// The operation; all that are unfinished where none is named
    operation: Option<OperationId>,
}

/// Takes what a crash or a stuck step left unfinished to its end.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let owner = Owner::of(&project).await?;
    let ids = match &args.operation {
        Some(id) => vec![id.clone()],
        None => owner.unfinished().await?,
    };
    if ids.is_empty() {
        terminal.note("nothing is unfinished");
    }
    let mut worst = Ok(());
    for id in ids {
        let receipt = owner.resume(&id, &terminal).await?;
        if let Err(failure) = terminal.conclude(&receipt) {
            worst = Err(failure);
        }
    }
    worst.map_err(|failure: Failure| {
        if failure.kind() == Kind::Stuck {
            failure.hinted("mend the cause, then resume again")
        } else {
            failure
        }
    })
}
