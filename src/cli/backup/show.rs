use serde::Serialize;

use super::diff;
use super::place::{Place, set_of, which};
use crate::backup::{Closing, Entry, Kinds, Listing, Node, Snapshot};
use crate::cli::{Failure, Global, Kind, Terminal};
use crate::model::Size;
use crate::run::snapshots::{self, SnapshotError};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// A generation, or a set for its newest snapshot
    #[arg(value_name = "GENERATION|SET", required_unless_present = "diff")]
    snapshot: Option<String>,
    /// What was added, removed and changed from the first to the second; a folder's time is left out
    #[arg(long, num_args = 2, value_names = ["GENERATION|SET", "GENERATION|SET"], conflicts_with_all = ["snapshot", "every"])]
    diff: Vec<String>,
    /// List the entries too
    #[arg(long = "files")]
    every: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct Shown {
    store: String,
    header: Snapshot,
    /// `None` where no identity opens the listing.
    listing: Option<Closing>,
    /// `None` where the listing is not opened.
    kinds: Option<Kinds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry>>,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let snapshot = match (args.diff.as_slice(), &args.snapshot) {
        ([before, after], _) => return diff::run(global, &args.place, before, after).await,
        (_, Some(snapshot)) => snapshot,
        (_, None) => {
            return Err(Failure::new(
                Kind::Usage,
                "name a generation, or a set for its newest snapshot",
            ));
        }
    };
    let which = which(snapshot);
    let reading = args.place.open(global, set_of(&which))?;
    let Some(opened) = reading.stores.first() else {
        return Err(Failure::new(Kind::Input, "there is no store"));
    };
    let header = snapshots::find(opened.store.as_ref(), &opened.trust, &which).await?;
    let listing = match snapshots::listing(opened.store.as_ref(), &header, &reading.identities).await {
        Ok(listing) => Some(listing),
        Err(error @ SnapshotError::Sealed { .. }) if args.every => return Err(error.into()),
        Err(SnapshotError::Sealed { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let kinds = listing.as_ref().map(Listing::kinds);
    let (listing, entries) = match listing {
        Some(listing) => (Some(listing.closing), args.every.then_some(listing.entries)),
        None => (None, None),
    };
    let shown = Shown {
        store: opened.name.clone(),
        header,
        listing,
        kinds,
        entries,
    };
    if terminal.json {
        return terminal.print_json(&shown);
    }
    terminal.print(&format!("snapshot {} in {}", shown.header.generation.0, shown.store))?;
    for line in snapshots::lines(&shown.header) {
        terminal.print(&format!("  {:16}  {}", line.label, line.value))?;
    }
    for image in &shown.header.images {
        let pinned = image
            .digest
            .as_deref()
            .or(image.id.as_deref())
            .unwrap_or("not recorded");
        terminal.print(&format!(
            "  image             {} {} {pinned}",
            image.service, image.reference
        ))?;
    }
    match &shown.listing {
        None => terminal.print("  its listing is not opened by an identity on this host; name one with --identity")?,
        Some(closing) => {
            if let Some(kinds) = &shown.kinds {
                terminal.print(&format!("  {:16}  {kinds}", "entries"))?;
            }
            for source in &closing.sources {
                let newest = source.newest.map_or(String::new(), |at| format!(", newest {at}"));
                let rows: u64 = source.rows.values().sum();
                let rows = match source.rows.len() {
                    0 => String::new(),
                    tables => format!(", {rows} rows in {tables} tables"),
                };
                let (files, size) = (source.files, Size(source.bytes));
                terminal.print(&format!(
                    "  {:16}  {}: {files} files, {size}{rows}{newest}",
                    source.kind, source.path
                ))?;
            }
            for note in &closing.notes {
                terminal.print(&format!("  note              {note}"))?;
            }
        }
    }
    for entry in shown.entries.iter().flatten() {
        terminal.print(&line(entry))?;
    }
    Ok(())
}

fn line(entry: &Entry) -> String {
    let (size, mut what) = match &entry.node {
        Node::File(content) => (content.size.to_string(), String::new()),
        Node::Dir => (String::new(), "/".into()),
        Node::Symlink(target) => (String::new(), format!(" → {}", crate::backup::escape(target))),
        Node::Hardlink(target) => (String::new(), format!(" = {target}")),
        Node::Fifo => (String::new(), " (named pipe)".into()),
        Node::Device { block, major, minor } => {
            let kind = if *block { "block" } else { "character" };
            (String::new(), format!(" ({kind} device {major}:{minor})"))
        }
    };
    let holes: u64 = entry.traits.holes.iter().map(|hole| hole.length).sum();
    if holes > 0 {
        what.push_str(&format!(" ({} in holes)", Size(holes)));
    }
    for name in entry.traits.xattrs.keys() {
        what.push_str(&format!(" +{}", crate::backup::escape(name)));
    }
    format!("{:04o} {size:>12} {}{what}", entry.meta.mode, entry.path)
}
