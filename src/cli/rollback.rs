use std::io::IsTerminal;

use super::owner::{self, Owner};
use super::registry_auth::RegistryAuth;
use super::{Failure, Global, Kind, Terminal, project, steer};
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
    #[command(flatten)]
    registry: RegistryAuth,
}

/// Takes a release under way back, or moves all traffic back to the previous colour; redeploys its image where it is not warm any more.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let logins = args.registry.read()?;
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
    // One that is still under way is taken back; behind it in line there would be nothing left to roll back to.
    if let Some(release) = steer::open_release(&project, Some(&args.service)).await?
        && release.outcome != "stuck"
        && release.detail["goal"] == "deploy"
    {
        let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let by = format!("{}{because}", owner::by());
        if steer::take_back(&project, &release, &by, &terminal).await?.is_ok() {
            return Ok(());
        }
        // It is made by now, or cannot be taken back: what follows goes back from where it ends.
    }
    let order = Order::Rollback {
        service: args.service.clone(),
        reason,
    };
    let owner = Owner::of(&project).await?;
    let receipt = owner.carry_out_with(&order, &logins, &terminal).await?;
    terminal.conclude(&receipt)
}
