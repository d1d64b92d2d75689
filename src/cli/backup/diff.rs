use serde::Serialize;

use super::place::{Place, set_of, which};
use crate::backup::{Change, Difference, diff};
use crate::cli::{Failure, Global, Kind, Terminal};
use crate::model::{Generation, Size};
use crate::run::snapshots;

#[derive(Serialize)]
struct Compared {
    store: String,
    before: Generation,
    after: Generation,
    differences: Vec<Difference>,
}

/// What became of the files between two snapshots of a store.
pub(super) async fn run(global: &Global, place: &Place, before: &str, after: &str) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let both = [which(before), which(after)];
    let reading = place.open(global, both.iter().find_map(set_of))?;
    let Some(opened) = reading.stores.first() else {
        return Err(Failure::new(Kind::Input, "there is no store"));
    };
    let mut listings = Vec::new();
    for which in &both {
        let header = snapshots::find(opened.store.as_ref(), &opened.trust, which).await?;
        let listing = snapshots::listing(opened.store.as_ref(), &header, &reading.identities).await?;
        listings.push((header.generation, listing));
    }
    let [(before, old), (after, new)] = listings.as_slice() else {
        return Err(Failure::new(Kind::Usage, "name two snapshots"));
    };
    let compared = Compared {
        store: opened.name.clone(),
        before: *before,
        after: *after,
        differences: diff(old, new),
    };
    if terminal.json {
        return terminal.print_json(&compared);
    }
    print(&terminal, &compared)
}

fn print(terminal: &Terminal, compared: &Compared) -> Result<(), Failure> {
    let (mut added, mut removed, mut changed) = (Sum::default(), Sum::default(), Sum::default());
    let size = |bytes: Option<u64>| bytes.map_or(String::new(), |bytes| bytes.to_string());
    for Difference { path, change } in &compared.differences {
        let line = match change {
            Change::Added { bytes } => {
                added.count(*bytes);
                format!("{} {:>12}  {path}", terminal.paint("32", "+"), size(*bytes))
            }
            Change::Removed { bytes } => {
                removed.count(*bytes);
                format!("{} {:>12}  {path}", terminal.paint("31", "-"), size(*bytes))
            }
            Change::Changed { what, before, after } => {
                changed.count(*after);
                let what: Vec<&str> = what.iter().map(|aspect| aspect.word()).collect();
                let from = match before == after {
                    true => String::new(),
                    false => format!(", {} before", size(*before)),
                };
                let mark = terminal.paint("33", "~");
                format!("{mark} {:>12}  {path} ({}{from})", size(*after), what.join(", "))
            }
        };
        terminal.print(&line)?;
    }
    terminal.print(&format!(
        "from {} to {} in {}: {added} added, {removed} removed, {changed} changed",
        compared.before.0, compared.after.0, compared.store
    ))
}

#[derive(Default)]
struct Sum {
    entries: u64,
    bytes: u64,
}

impl Sum {
    fn count(&mut self, bytes: Option<u64>) {
        self.entries += 1;
        self.bytes += bytes.unwrap_or_default();
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.entries, Size(self.bytes))
    }
}
