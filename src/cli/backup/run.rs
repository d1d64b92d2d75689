use crate::cli::owner::Owner;
use crate::cli::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::run::Order;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Sets to back up [default: all]
    sets: Vec<String>,
    /// Build upon what the stores hold now, although they have lost a snapshot this host published
    #[arg(long)]
    begin_again: bool,
}

/// Backs sets up one after the other; a set that fails does not keep the next from being tried.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let room = project.backup_room()?;
    let sets: Vec<String> = match args.sets.is_empty() {
        true => room.backups.sets.keys().cloned().collect(),
        false => args.sets.clone(),
    };
    if args.begin_again {
        for store in room.backups.stores.keys() {
            room.catalogue(store)?.forget_head().or_fail(Kind::Host)?;
        }
    }
    let owner = Owner::of(&project).await?;
    let mut worst = Ok(());
    for set in sets {
        let receipt = owner.carry_out(&Order::Backup { set }, &terminal).await?;
        let concluded = terminal.conclude(&receipt);
        if worst.is_ok() {
            worst = concluded;
        }
    }
    worst
}
