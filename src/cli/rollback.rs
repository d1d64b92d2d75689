use std::io::IsTerminal;

use super::owner::Owner;
use super::{Failure, Global, Kind, Terminal, project};
use crate::model::ServiceName;
use crate::run::Order;

#[derive(clap::Args)]
pub struct Args {
    service: ServiceName,
    /// Why; goes into the records
    #[arg(long)]
    reason: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Moves all traffic back to the previous colour; redeploys its image where it is not warm any more.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let mut reason = args.reason.clone();
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let refusal = Failure::new(Kind::Usage, "a rollback is confirmed on a terminal, or with --yes");
            return Err(refusal.hinted(format!("arkwright rollback {} --yes --reason \"…\"", args.service)));
        }
        if reason.is_none() {
            reason = terminal.ask("Why is it rolled back? ")?;
        }
        if !terminal.confirm(&format!("Roll {} back?", args.service))? {
            return Err(Failure::new(Kind::Interrupted, "nothing was changed"));
        }
    }
    let order = Order::Rollback {
        service: args.service.clone(),
        reason,
    };
    let receipt = Owner::of(&project).await?.carry_out(&order, &terminal).await?;
    terminal.conclude(&receipt)
}
