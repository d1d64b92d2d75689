use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Global, Kind, Terminal, project};
use crate::app::SystemEntropy;
use crate::config::Keys;
use crate::run::keys::{self, KeyError, KeyFiles};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Make the signing key, the drill identity and the recovery identity of this project
    New(New),
}

#[derive(clap::Args, Clone, Debug)]
struct New {
    /// Write the recovery identity to this file instead of printing it once
    #[arg(long, value_name = "FILE")]
    recovery: Option<PathBuf>,
}

pub fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let Verb::New(new) = &args.verb;
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let folder = project.folder().map_err(|e| Failure::new(Kind::Host, e))?;
    let names = project
        .config
        .backups
        .as_ref()
        .map_or_else(Keys::default, |b| b.keys.clone());
    let files = KeyFiles {
        signing: folder.key(&names.signing),
        drill: folder.key(&names.drill_identity),
    };
    let owner = project.stack().name.to_string();
    let made = keys::make(&files, new.recovery.as_deref(), &owner, &SystemEntropy).map_err(|error| {
        let kind = match &error {
            KeyError::Exists { .. } => Kind::Input,
            _ => Kind::Host,
        };
        Failure::new(kind, error)
    })?;
    if terminal.json {
        return terminal.print_json(&made);
    }
    terminal.print(&format!(
        "signing key     {} ({})\ndrill identity  {}\n\nIn arkwright.yaml:\n\nbackups:\n  recipients:\n    - {} # recovery\n    - {} # drill",
        made.signing.display(),
        made.fingerprint,
        made.drill.display(),
        made.recipients.recovery,
        made.recipients.drill,
    ))?;
    match (&made.recovery_file, &made.recovery_identity) {
        (Some(file), _) => terminal.print(&format!(
            "\nThe recovery identity is in {}. It reads every backup: take it off this host, keep it in two places, and\n\
             remove the file here. Keep a copy of {}.pub with it.",
            file.display(),
            made.signing.display()
        )),
        (None, Some(identity)) => terminal.print(&format!(
            "\nThe recovery identity, shown this once and kept nowhere. It reads every backup: keep it off this host, in two\n\
             places, with a copy of {}.pub.\n\n{identity}",
            made.signing.display()
        )),
        (None, None) => Ok(()),
    }
}
