use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;

use super::owner::Owner;
use super::registry_auth::RegistryAuth;
use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::model::ServiceName;
use crate::run::{Order, Outlook};

#[derive(clap::Args)]
pub struct Args {
    /// Services, each with the image it moves to [default: the Compose file's]
    #[arg(required = true, value_name = "SERVICE[=IMAGE]", value_parser = target)]
    targets: Vec<Target>,
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

#[derive(Clone, Debug)]
struct Target {
    service: ServiceName,
    image: Option<String>,
}

fn target(text: &str) -> Result<Target, String> {
    let (service, image) = match text.split_once('=') {
        Some((_, "")) => return Err("no image after `=`".into()),
        Some((service, image)) => (service, Some(image.to_owned())),
        None => (text, None),
    };
    Ok(Target {
        service: service.parse().map_err(|e| format!("{e}"))?,
        image,
    })
}

/// Moves services to new images, one after the other; the first that does not get there ends it.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let logins = args.registry.read()?;
    let project = project::configured(global)?;
    let orders: Vec<Order> = args
        .targets
        .iter()
        .map(|target| Order::Deploy {
            service: target.service.clone(),
            image: target.image.clone(),
            no_canary: args.no_canary,
            overriding: args.overriding.clone(),
        })
        .collect();
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
