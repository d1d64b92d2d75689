use super::owner::Owner;
use super::{Failure, Global, Kind, Terminal, project};
use crate::model::OperationId;

#[derive(clap::Args)]
pub struct Args {
    /// One operation, whole
    operation: Option<OperationId>,
    /// Only releases, backups, drills or emergencies
    #[arg(long, value_parser = ["release", "backup", "prune", "drill", "emergency"])]
    kind: Option<String>,
    /// The newest N
    #[arg(long, default_value_t = 20)]
    last: usize,
}

/// Lists what releases, backups and drills came to, oldest first.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let receipts = Owner::history(&project::configured(global)?).await?;
    if let Some(id) = &args.operation {
        let found = receipts.into_iter().find(|receipt| receipt.operation == *id);
        let receipt = found.ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no operation {id}")))?;
        return if global.json {
            terminal.print_json(&receipt)
        } else {
            terminal.print_receipt(&receipt)
        };
    }
    let mut receipts: Vec<_> = receipts
        .into_iter()
        .filter(|receipt| args.kind.as_ref().is_none_or(|kind| receipt.kind == *kind))
        .collect();
    receipts.drain(..receipts.len().saturating_sub(args.last));
    if global.json {
        return terminal.print_json(&receipts);
    }
    let rows: Vec<Vec<String>> = receipts
        .iter()
        .map(|receipt| {
            let local = receipt.started.with_timezone(&chrono::Local);
            vec![
                receipt.operation.to_string(),
                local.format("%Y-%m-%d %H:%M:%S").to_string(),
                receipt.kind.clone(),
                receipt.outcome.clone(),
                receipt.subject.clone(),
                receipt.by.clone(),
            ]
        })
        .collect();
    terminal.table(&["OPERATION", "STARTED", "KIND", "OUTCOME", "SUBJECT", "BY"], &rows)
}
