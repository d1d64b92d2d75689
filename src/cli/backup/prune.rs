use std::io::IsTerminal;

use chrono_tz::Tz;
use serde::Serialize;

use crate::backup::{Reason, Rules};
use crate::cli::owner::Owner;
use crate::cli::{Failure, Global, Kind, Terminal, project};
use crate::model::Size;
use crate::run::pruning::{self, Pruning};
use crate::run::{OperationError, Order, Receipt};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only snapshots of this set
    #[arg(long)]
    set: Option<String>,
    /// Only this store [default: all]
    #[arg(long, value_name = "NAME")]
    store: Option<String>,
    /// Say what would stay and what would go, and why; change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

#[derive(Serialize)]
struct OfStore {
    store: String,
    #[serde(flatten)]
    pruning: Pruning,
    /// `None` where nothing was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Prunes the stores one after the other; one that fails does not keep the next from being tried.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let room = project.backup_room()?;
    let zone = project.config.timezone;
    let rules = Rules::of(room.backups, args.set.as_deref(), zone).map_err(|error| Failure::new(Kind::Input, error))?;
    let stores: Vec<String> = match &args.store {
        Some(store) => vec![store.clone()],
        None => room.backups.stores.keys().cloned().collect(),
    };
    let mut planned = Vec::new();
    let mut worst = Ok(());
    for store in stores {
        let of = async {
            let trust = room.trust(&store)?;
            let opened = room.store(&store)?;
            let name = &project.stack().name;
            let pruning = pruning::plan(opened.as_ref(), &trust.keys, trust.newest, name, &rules).await;
            Ok(pruning.map_err(OperationError::from)?)
        };
        match of.await {
            Ok(pruning) => {
                if !terminal.json {
                    tell(&terminal, &store, &pruning, zone)?;
                }
                planned.push(OfStore {
                    store,
                    pruning,
                    receipt: None,
                });
            }
            Err(failure) => worst = first(worst, failure, &terminal),
        }
    }
    if args.dry_run {
        if terminal.json {
            terminal.print_json(&planned)?;
        }
        return worst;
    }
    confirm(&terminal, args, &planned)?;
    let owner = Owner::of(&project).await?;
    for of in &mut planned {
        let order = Order::Prune {
            store: of.store.clone(),
            set: args.set.clone(),
        };
        let done = owner.carry_out(&order, &terminal).await;
        let concluded = match done {
            Ok(receipt) => {
                if !terminal.json {
                    terminal.print_receipt(&receipt)?;
                }
                let concluded = match (receipt.ok, receipt.outcome.as_str()) {
                    (true, _) => Ok(()),
                    (false, "stuck") => Err(Failure::told(Kind::Stuck)),
                    (false, _) => Err(Failure::told(Kind::Failed)),
                };
                of.receipt = Some(receipt);
                concluded
            }
            Err(failure) => Err(failure),
        };
        if worst.is_ok() {
            worst = concluded;
        }
    }
    if terminal.json {
        terminal.print_json(&planned)?;
    }
    worst
}

/// The first failure ends the command when all has been tried; the others are told on the way.
fn first(worst: Result<(), Failure>, failure: Failure, terminal: &Terminal) -> Result<(), Failure> {
    match worst {
        Ok(()) => Err(failure),
        Err(first) => {
            terminal.note(&failure.to_string());
            Err(first)
        }
    }
}

fn confirm(terminal: &Terminal, args: &Args, planned: &[OfStore]) -> Result<(), Failure> {
    let going: usize = planned.iter().map(|of| of.pruning.going().count()).sum();
    if args.yes || going == 0 {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let refusal = Failure::new(
            Kind::Usage,
            "removing snapshots is confirmed on a terminal, or with --yes",
        );
        return Err(refusal.hinted("`arkwright backup prune --dry-run` says what would go"));
    }
    let what = if going == 1 {
        "one snapshot"
    } else {
        &format!("{going} snapshots")
    };
    match terminal.confirm(&format!("Remove {what} for good?"))? {
        true => Ok(()),
        false => Err(Failure::new(Kind::Interrupted, "nothing was changed")),
    }
}

fn tell(terminal: &Terminal, store: &str, pruning: &Pruning, zone: Tz) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = pruning
        .snapshots
        .iter()
        .map(|judged| {
            let why: Vec<&str> = judged.stays.iter().map(|reason| Reason::words(*reason)).collect();
            let verdict = match why.is_empty() {
                true => "goes".to_owned(),
                false => format!("stays: {}", why.join(", ")),
            };
            vec![
                judged.generation.0.to_string(),
                judged.set.clone(),
                judged
                    .taken
                    .with_timezone(&zone)
                    .format("%Y-%m-%d %H:%M:%S")
                    .to_string(),
                Size(judged.bytes).to_string(),
                verdict,
            ]
        })
        .collect();
    if rows.is_empty() {
        terminal.print(&format!("{store}: no snapshot"))?;
    } else {
        let taken = format!("TAKEN ({zone})");
        terminal.table(&["GENERATION", "SET", &taken, "SIZE", "WHAT"], &rows)?;
    }
    let bytes = pruning.bytes;
    terminal.print(&format!(
        "{store}: {} of {} snapshots go; {} become free at once, {} after the wait; {} are unused already",
        pruning.going().count(),
        pruning.snapshots.len(),
        Size(bytes.now),
        Size(bytes.later),
        Size(bytes.unused)
    ))
}
