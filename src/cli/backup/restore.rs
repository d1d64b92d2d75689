use std::path::PathBuf;

use super::back;
use super::place::{Place, set_of, which};
use super::verify::Spoken;
use crate::backup::EntryPath;
use crate::cli::{Failure, Global, Kind, Terminal};
use crate::model::Size;
use crate::run::restore::{RestoreError, RestoreOptions, Selection, restore};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// A generation, or a set for its newest snapshot
    #[arg(value_name = "GENERATION|SET")]
    snapshot: String,
    /// The folder to restore to; made where it is missing
    #[arg(long, value_name = "DIR", required_unless_present_any = ["database", "source"])]
    to: Option<PathBuf>,
    /// Only this file, or this folder and everything below it, as `show --files` spells it
    #[arg(long, value_name = "PATH", conflicts_with = "data")]
    path: Option<String>,
    /// Only what the sources held, without the stack's own files (@stack) and images (@images)
    #[arg(long)]
    data: bool,
    /// Replace files that are there, with the log SQLite keeps beside a database
    #[arg(long)]
    overwrite: bool,
    /// Make device nodes too, as root
    #[arg(long)]
    devices: bool,
    #[command(flatten)]
    running: back::Running,
    #[command(flatten)]
    place: Place,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let selection = match &args.path {
        Some(text) => Selection::Path(path(text)?),
        None if args.data => Selection::Data,
        None => Selection::Everything,
    };
    let which = which(&args.snapshot);
    let Some(to) = &args.to else {
        return back::run(global, &args.running, &which, &args.place).await;
    };
    let reading = args.place.open(global, set_of(&which))?;
    let Some(opened) = reading.stores.first() else {
        return Err(Failure::new(Kind::Input, "there is no store"));
    };
    let options = RestoreOptions {
        selection,
        target: to.clone(),
        overwrite: args.overwrite,
        devices: args.devices,
    };
    let (store, trust) = (&opened.store, &opened.trust);
    let done = restore(store, trust, &reading.identities, &which, &options, &Spoken(&terminal)).await?;
    if terminal.json {
        return terminal.print_json(&done);
    }
    terminal.print(&format!(
        "{} restored {} files, {}, to {}\n  snapshot {} of {}, taken {}",
        terminal.paint("32", "✓"),
        done.files,
        Size(done.bytes),
        done.target.display(),
        done.generation.0,
        done.set,
        done.taken.format("%Y-%m-%d %H:%M:%S UTC")
    ))?;
    if done.hardlinks + done.specials > 0 {
        terminal.print(&format!(
            "  and {} hard links, {} named pipes and devices",
            done.hardlinks, done.specials
        ))?;
    }
    done.notes
        .iter()
        .try_for_each(|note| terminal.print(&format!("  note: {note}")))
}

/// As `show` spells it, or as a file system does where that is not a spelling of ours.
fn path(text: &str) -> Result<EntryPath, Failure> {
    let trimmed = text.trim_start_matches("./").trim_end_matches('/');
    let parsed = trimmed.parse().or_else(|_| EntryPath::from_bytes(trimmed.as_bytes()));
    parsed.map_err(|source| {
        let text = text.to_owned();
        RestoreError::BadPath { text, source }.into()
    })
}
