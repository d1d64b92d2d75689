use std::io::IsTerminal;

use super::owner::{self, Owner};
use super::registry_auth::RegistryAuth;
use super::{Failure, Global, Kind, OrFail, Terminal, project, steer};
use crate::app::Project;
use crate::config::Swap;
use crate::model::ServiceName;
use crate::run::{Order, Receipt};

#[derive(clap::Args)]
pub struct Args {
    /// Services; several go back together or not at all
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<ServiceName>,
    /// Also every service that was released together with one of these
    #[arg(long)]
    group: bool,
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
    let names: Vec<&str> = args.services.iter().map(ServiceName::as_str).collect();
    let mut reason = args.reason.clone();
    for service in &args.services {
        if let Some(said) = data_stays(&project, service) {
            terminal.note(&said);
        }
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let refusal = Failure::new(Kind::Usage, "a rollback is confirmed on a terminal, or with --yes");
            let command = format!("arkwright rollback {} --yes --reason \"…\"", names.join(" "));
            return Err(refusal.hinted(command));
        }
        tell_what_stays(&project, args, &terminal).await?;
        if reason.is_none() {
            reason = terminal.ask("Why is it rolled back? ")?;
        }
        if !terminal.confirm(&format!("Roll {} back?", names.join(" and ")))? {
            return Err(Failure::new(Kind::Interrupted, "nothing was changed"));
        }
    }
    let mut left = args.services.clone();
    while let Some(release) = under_way(&project, &left).await? {
        let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let by = format!("{}{because}", owner::by());
        if steer::take_back(&project, &release, &by, &terminal).await?.is_err() {
            // It is made by now, or cannot be taken back: what follows goes back from where it ends.
            break;
        }
        left.retain(|service| !release.services().contains(&service.as_str()));
    }
    if left.is_empty() {
        return Ok(());
    }
    let owner = Owner::of(&project).await?;
    let order = Order::rollback(left, args.group, reason);
    let receipt = owner.carry_out_with(&order, &logins, &terminal).await?;
    terminal.conclude(&receipt)
}

/// Going back swaps programs and not data: which of a held service's is left as the newer version has it.
fn data_stays(project: &Project, service: &ServiceName) -> Option<String> {
    let release = &project.config.services.get(service)?.release;
    if release.swap != Swap::Hold {
        return None;
    }
    let databases = project.config.databases_of(release);
    let databases: Vec<String> = databases
        .iter()
        .map(|path| path.strip_prefix(&project.config.folder).unwrap_or(path))
        .map(|path| path.display().to_string())
        .collect();
    let what = match databases.is_empty() {
        true => "its data".to_owned(),
        false => databases.join(", "),
    };
    Some(format!(
        "{service}: {what} stays as it is by now, what was written since the release included; nothing is put back \
         (`arkwright emergency {service}` puts an earlier state in place)"
    ))
}

/// A release of one of these that can still be taken back; behind it in line there would be nothing left to roll back to.
async fn under_way(project: &Project, services: &[ServiceName]) -> Result<Option<Receipt>, Failure> {
    for service in services {
        if let Some(release) = steer::open_release(project, Some(service)).await?
            && release.outcome != "stuck"
            && release.detail["goal"] == "deploy"
        {
            return Ok(Some(release));
        }
    }
    Ok(None)
}

/// What was released together with these and is not meant: whoever confirms should know before.
async fn tell_what_stays(project: &Project, args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    let host = project.host().await.or_fail(Kind::Host)?;
    // Nothing can be planned while a release is under way; that one is taken back whole.
    if let Ok(left) = host
        .left_by(&Order::rollback(args.services.clone(), args.group, None))
        .await
        && let Some(left) = left
    {
        terminal.note(&left);
    }
    Ok(())
}
