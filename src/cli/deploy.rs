use std::io::IsTerminal;

use super::owner::Owner;
use super::registry_auth::RegistryAuth;
use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::run::{Order, Target};

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
            planned.push(serde_json::json!({ "order": order, "steps": host.steps_of(order).await? }));
        }
        if args.plan && terminal.json {
            return terminal.print_json(&planned);
        }
        for (order, plan) in orders.iter().zip(&planned) {
            terminal.print(&format!("{order}:"))?;
            for step in plan["steps"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|step| step.as_str())
            {
                terminal.print(&format!("  {step}"))?;
            }
        }
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

fn orders(args: &Args) -> Vec<Order> {
    match args.one_by_one {
        true => args
            .targets
            .iter()
            .map(|target| Order::deploy(vec![target.clone()], args.no_canary))
            .collect(),
        false => vec![Order::deploy(args.targets.clone(), args.no_canary)],
    }
}
