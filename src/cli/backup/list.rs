use serde::Serialize;

use super::place::Place;
use crate::cli::{Failure, Global, Terminal};
use crate::model::Size;
use crate::run::snapshots::{self, SnapshotSummary};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only of this set
    set: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct OfStore {
    store: String,
    snapshots: Vec<SnapshotSummary>,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let reading = args.place.open(global, args.set.as_deref())?;
    let mut found = Vec::new();
    for opened in &reading.stores {
        let mut snapshots = snapshots::list(opened.store.as_ref(), &opened.trust.keys).await?;
        snapshots.retain(|line| args.set.is_none() || line.set == args.set || line.damaged.is_some());
        found.push(OfStore {
            store: opened.name.clone(),
            snapshots,
        });
    }
    if terminal.json {
        return terminal.print_json(&found);
    }
    let mut rows = Vec::new();
    for of in &found {
        for line in &of.snapshots {
            let text = |value: Option<String>| value.unwrap_or_default();
            rows.push(vec![
                line.generation.0.to_string(),
                of.store.clone(),
                text(line.set.clone()),
                text(line.taken.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string())),
                text(line.totals.map(|totals| totals.files.to_string())),
                text(line.totals.map(|totals| Size(totals.bytes).to_string())),
                text(line.totals.map(|totals| Size(totals.added).to_string())),
                line.damaged.clone().unwrap_or_else(|| line.kind.to_owned()),
            ]);
        }
    }
    if rows.is_empty() {
        return terminal.print("no snapshot yet; `arkwright backup run` takes one");
    }
    terminal.table(
        &[
            "GENERATION",
            "STORE",
            "SET",
            "TAKEN (UTC)",
            "FILES",
            "SIZE",
            "NEW",
            "WHAT",
        ],
        &rows,
    )
}
