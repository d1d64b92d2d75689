use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;

use super::owner::Owner;
use super::registry_auth::RegistryAuth;
use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::run::{Order, Outlook, Target};

#[derive(clap::Args)]
pub struct Args {
    /// Services, each with the image it moves to [default: the Compose file's]
    #[arg(required = true, value_name = "SERVICE[=IMAGE]")]
    targets: Vec<Target>,
    /// One release for each service after the other, instead of one for all that succeeds or is taken back as a whole
    #[arg(long)]
    one_by_one: bool,
    /// Print the steps and do nothing
    #[arg(long)]
    plan: bool,
    /// Straight to all traffic, without the steps
    #[arg(long)]
    no_canary: bool,
    /// Go on outside a release window, in a freeze, or where the host has no room for it; the reason is recorded
    #[arg(long = "override", value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    overriding: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    registry: RegistryAuth,
}

/// Moves a service to a new image; several together, in one release that gets all of them there or takes all back.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let logins = args.registry.read()?;
    let project = project::configured(global)?;
    let orders = orders(args);
    if args.plan || (!args.yes && std::io::stdin().is_terminal()) {
        let host = project.host().await.or_fail(Kind::Host)?;
        let mut planned = Vec::new();
        for order in &orders {
            planned.push((order, host.outlook(order).await?));
        }
        show(&planned, args, &terminal)?;
        if args.plan {
            return Ok(());
        }
        if !terminal.confirm("Do it?")? {
            return Err(Failure::new(Kind::Interrupted, "nothing was changed"));
        }
    }
    let owner = Owner::of(&project).await?;
    for order in &orders {
        let receipt = owner.carry_out_with(order, &logins, &terminal).await?;
        terminal.conclude(&receipt)?;
    }
    Ok(())
}

/// What each order would do and meets; a refusal that nobody overrides is the failure it would be.
fn show(planned: &[(&Order, Outlook)], args: &Args, terminal: &Terminal) -> Result<(), Failure> {
    if args.plan && terminal.json {
        let rows: Vec<_> = planned
            .iter()
            .map(|(order, outlook)| {
                let mut row = serde_json::json!(outlook);
                row["order"] = serde_json::json!(order);
                row
            })
            .collect();
        terminal.print_json(&rows)?;
    } else {
        for (order, outlook) in planned {
            terminal.print(&format!("{order}:"))?;
            for line in outlook.lines() {
                terminal.print(&format!("  {line}"))?;
            }
        }
    }
    let refused: Vec<&str> = planned
        .iter()
        .flat_map(|(_, outlook)| outlook.refusals.iter().map(String::as_str))
        .collect();
    match &args.overriding {
        None if !refused.is_empty() => {
            let refusal = Failure::new(Kind::Refused, refused.join("; and "));
            Err(refusal.hinted("`--override REASON` goes on all the same, and the reason is recorded"))
        }
        _ => Ok(()),
    }
}

fn orders(args: &Args) -> Vec<Order> {
    match args.one_by_one {
        true => args
            .targets
            .iter()
            .map(|target| Order::deploy(vec![target.clone()], args.no_canary, args.overriding.clone()))
            .collect(),
        false => vec![Order::deploy(
            args.targets.clone(),
            args.no_canary,
            args.overriding.clone(),
        )],
    }
}
