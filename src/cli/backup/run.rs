use std::collections::BTreeSet;
use std::io;

use crate::app::{BackupRoom, BackupRoomError};
use crate::backup::ManifestPart;
use crate::cli::owner::{Owner, lock};
use crate::cli::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::ports::StoreError;
use crate::run::Order;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Sets to back up [default: all]
    sets: Vec<String>,
    /// Build upon what the stores hold now, although they have lost a snapshot this host published
    #[arg(long)]
    begin_again: bool,
    /// Let the next snapshot hold far less than the last, below the set's `floor`
    #[arg(long)]
    accept_less: bool,
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
    if let Some(unknown) = sets.iter().find(|set| !room.backups.sets.contains_key(*set)) {
        let known: Vec<&str> = room.backups.sets.keys().map(String::as_str).collect();
        let failure = Failure::new(Kind::Input, format!("there is no backup set `{unknown}`"));
        return Err(failure.hinted(format!("arkwright.yaml has {}", known.join(", "))));
    }
    if args.begin_again {
        begin_again(&room, &sets, &terminal).await?;
    }
    if args.accept_less {
        accept_less(&room, &sets, &terminal)?;
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

/// Accepts what the stores of these sets have lost: the last snapshot this host published there is no longer expected.
async fn begin_again(room: &BackupRoom<'_>, sets: &[String], terminal: &Terminal) -> Result<(), Failure> {
    let _lock = lock(&room.folder, "arkwright backup run --begin-again")
        .await
        .map_err(|failure| failure.hinted("stop the agent for it, where one runs"))?;
    let stores: BTreeSet<&str> = sets.iter().flat_map(|set| room.backups.stores_of(set)).collect();
    for store in stores {
        let catalogue = room.catalogue(store)?;
        let Some(head) = catalogue.head().or_fail(Kind::Host)? else {
            continue;
        };
        let header = ManifestPart::Header.name(head.generation);
        let generation = head.generation.0;
        if holds(room, store, &header).await? {
            terminal.note(&format!(
                "{store} has snapshot {generation} still: nothing is lost there"
            ));
            continue;
        }
        catalogue.forget_head().or_fail(Kind::Host)?;
        terminal.warn(&format!(
            "{store} has lost {header}; snapshot {generation} and those before it are no longer missed there"
        ));
    }
    Ok(())
}

/// Once: what is published next is what the floors stand on.
fn accept_less(room: &BackupRoom<'_>, sets: &[String], terminal: &Terminal) -> Result<(), Failure> {
    for set in sets {
        for store in room.backups.stores_of(set) {
            if !room.catalogue(store)?.accept_less(set).or_fail(Kind::Host)? {
                terminal.note(&format!(
                    "{store} got no snapshot of {set} from this host: there is no floor"
                ));
            }
        }
    }
    Ok(())
}

/// A store whose folder is gone holds nothing; one that cannot be read is an error.
async fn holds(room: &BackupRoom<'_>, store: &str, object: &str) -> Result<bool, Failure> {
    let gone = |error: &StoreError| {
        let StoreError::Failed { source, .. } = error else {
            return false;
        };
        let source = source.downcast_ref::<io::Error>();
        source.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let opened = match room.store(store) {
        Err(BackupRoomError::Store(error)) if gone(&error) => return Ok(false),
        other => other?,
    };
    let found = opened.list(object).await.or_fail(Kind::Host)?;
    Ok(found.iter().any(|found| found.name == object))
}
