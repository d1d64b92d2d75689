use super::owner::Owner;
use super::{Failure, Global, Terminal, project};
use crate::journal::Request;
use crate::model::OperationId;

#[derive(clap::Args)]
pub struct Args {
    /// The operation; all that are unfinished where none is named
    operation: Option<OperationId>,
    /// End a stuck operation where it stands: nothing more is done, and nothing is taken back
    #[arg(long, requires = "operation")]
    give_up: bool,
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
    let request = if args.give_up { Request::GiveUp } else { Request::Retry };
    let mut worst = Ok(());
    for id in ids {
        let receipt = owner.resume(&id, request.clone(), &terminal).await?;
        if let Err(failure) = terminal.conclude(&receipt) {
            worst = Err(failure);
        }
        if receipt.outcome == "given_up" && receipt.kind == "release" {
            terminal.note(
                "where it left the service between two colours, `arkwright up` gives all traffic to the one that has \
                 more of it",
            );
        }
        if receipt.outcome == "stuck" {
            terminal.note(&format!(
                "mend the cause, then `arkwright resume {id}`; `arkwright resume {id} --give-up` ends it as it stands"
            ));
        }
    }
    worst
}
