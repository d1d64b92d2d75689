use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::app::{SystemClock, SystemEntropy};
use crate::cli::{Failure, Global, Kind, Terminal, project};
use crate::engine;
use crate::journal::Request;
use crate::ports::Engine;
use crate::run::backup::plan_backup;
use crate::run::{Ledger, Petition};
use crate::state::HostLock;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Sets to back up [default: all]
    sets: Vec<String>,
    /// Build upon what the stores hold now, although they have lost a snapshot this host published
    #[arg(long)]
    begin_again: bool,
}

/// Backs up in the foreground, under the host lock.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let room = project.backup_room()?;
    let _lock = HostLock::take(&room.folder.lock(), "arkwright backup run").map_err(|e| Failure::new(Kind::Busy, e))?;
    let sets: Vec<String> = match args.sets.is_empty() {
        true => room.backups.sets.keys().cloned().collect(),
        false => args.sets.clone(),
    };
    if let Some(unknown) = sets.iter().find(|set| !room.backups.sets.contains_key(*set)) {
        let known: Vec<&str> = room.backups.sets.keys().map(String::as_str).collect();
        return Err(Failure::new(Kind::Usage, format!("there is no backup set `{unknown}`"))
            .hinted(format!("the sets are {}", known.join(", "))));
    }
    if args.begin_again {
        for store in room.backups.stores.keys() {
            let catalogue = room.catalogue(store)?;
            catalogue.forget_head().map_err(|e| Failure::new(Kind::Host, e))?;
        }
    }
    let scope = room.scope();
    let performer = room.performer(engine_of(global, &terminal).await)?;
    let ledger = Ledger {
        folder: &room.folder,
        clock: &SystemClock,
        entropy: &SystemEntropy,
    };
    let by = std::env::var("USER").unwrap_or_else(|_| "somebody".into());
    let mut worst = Ok(());
    for set in &sets {
        let Some((subject, plan)) = plan_backup(room.backups, set, &scope, &SystemEntropy) else {
            continue;
        };
        let id = ledger.begin(subject, plan, &by)?;
        let (ask, petitions) = mpsc::channel(1);
        let receipt = tokio::select! {
            receipt = ledger.finish(&id, &performer, &terminal, petitions) => receipt?,
            () = interrupted(ask, &by) => return Err(Failure::new(Kind::Interrupted, "interrupted")),
        };
        let concluded = terminal.conclude(&receipt);
        if worst.is_ok() {
            worst = concluded;
        }
    }
    worst
}

/// The engine, where one answers: without it images are named only as the Compose file does.
async fn engine_of(global: &Global, terminal: &Terminal) -> Option<Arc<dyn Engine>> {
    let host = global.host.clone().or_else(|| std::env::var("DOCKER_HOST").ok());
    let candidates = [
        "unix:///var/run/docker.sock".to_owned(),
        "unix:///run/podman/podman.sock".to_owned(),
    ];
    match engine::connect(host.as_deref(), &candidates).await {
        Ok(engine) => Some(Arc::new(engine)),
        Err(error) => {
            terminal.warn(&format!("images are not recorded: {error}"));
            None
        }
    }
}

/// Asks for an abort at the first Ctrl-C, and waits on; returns at the second.
async fn interrupted(ask: mpsc::Sender<Petition>, by: &str) {
    for again in [false, true] {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        if again {
            return;
        }
        let (answer, _answered) = oneshot::channel();
        let petition = Petition {
            request: Request::Abort,
            by: by.to_owned(),
            answer,
        };
        if ask.send(petition).await.is_err() {
            return std::future::pending().await;
        }
    }
}
