use std::path::PathBuf;

use serde_json::json;

use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::app::SystemEntropy;
use crate::config::{Choices, Keys, propose};
use crate::run::keys::{self, KeyError, KeyFiles};
use crate::stack::Stack;
use crate::state::write_atomic;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Write over an arkwright.yaml that is there
    #[arg(long)]
    force: bool,
    /// Where the recovery identity is written: the one file to take off this host
    #[arg(long, value_name = "FILE", default_value = "arkwright-recovery.key")]
    recovery: PathBuf,
    /// The zone schedules are read in
    #[arg(long, value_name = "ZONE", env = "TZ", default_value = "UTC")]
    timezone: chrono_tz::Tz,
}

/// Writes arkwright.yaml for a Compose project, and the keys.
pub fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let loaded = project::stack(global)?;
    let stack = &loaded.stack;
    let file = global
        .config
        .clone()
        .unwrap_or_else(|| stack.folder.join("arkwright.yaml"));
    if file.exists() && !args.force {
        let there = format!("{} is there already; nothing was changed", file.display());
        return Err(Failure::new(Kind::Input, there).hinted("edit it, or write over it with --force"));
    }
    let proposal = propose(stack);
    let state = global.state.clone().unwrap_or_else(|| "/var/lib/arkwright".into());
    let state = std::path::absolute(state).or_fail(Kind::Host)?;
    let folder = crate::state::ProjectFolder::open(&state, &stack.name)
        .map_err(|e| Failure::new(Kind::Host, e).hinted("--state names another folder"))?;
    let names = Keys::default();
    let files = KeyFiles {
        signing: folder.key(&names.signing),
        drill: folder.key(&names.drill_identity),
    };
    // Written over, the file keeps its recipients: their keys are there, and what was backed up is read with them.
    let known = match file.exists() && files.signing.exists() {
        true => project::configured(global)?
            .config
            .backups
            .map(|backups| backups.recipients),
        false => None,
    };
    let made_recovery = known.is_none();
    let recipients = match known {
        Some(recipients) => recipients,
        None => new_recipients(&files, args, stack)?,
    };
    let choices = Choices {
        state,
        recipients,
        timezone: args.timezone.name().to_owned(),
    };
    let text = proposal.render(stack, &choices);
    write_atomic(&file, text.as_bytes(), 0o644).or_fail(Kind::Host)?;
    if terminal.json {
        let released: Vec<&str> = proposal
            .releases
            .iter()
            .map(|release| release.service.as_str())
            .collect();
        return terminal.print_json(&json!({
            "file": file, "recovery_file": made_recovery.then_some(&args.recovery), "signing": files.signing,
            "released": released, "left_alone": proposal.left_alone,
            "databases": proposal.databases, "folders": proposal.folders, "volumes_not_backed_up": proposal.volumes,
        }));
    }
    terminal.print(&format!("wrote {}", file.display()))?;
    for release in &proposal.releases {
        let way = if release.hold {
            "swapped in place, requests held"
        } else {
            "blue and green, by weights"
        };
        terminal.print(&format!(
            "  released    {} (port {}, {}): {way}",
            release.service, release.port, release.path
        ))?;
    }
    for (service, reason) in &proposal.left_alone {
        terminal.print(&format!("  left alone  {service}: {reason}"))?;
    }
    for source in proposal.databases.iter().chain(&proposal.folders) {
        terminal.print(&format!("  backed up   {}", source.display()))?;
    }
    for volume in &proposal.volumes {
        terminal.print(&format!(
            "  not backed up  the named volume {volume}: add it as a source, or the server whose data it is"
        ))?;
    }
    if made_recovery {
        terminal.print(&format!(
            "\nThe recovery identity is in {}: it reads every backup. Take it off this host, keep it in two places \
             together with\n{}.pub, and remove the file here.",
            args.recovery.display(),
            files.signing.display()
        ))?;
    }
    terminal.print("\nNext: arkwright check")
}

fn new_recipients(files: &KeyFiles, args: &Args, stack: &Stack) -> Result<Vec<String>, Failure> {
    let made =
        keys::make(files, Some(&args.recovery), stack.name.as_str(), &SystemEntropy).map_err(|error| match error {
            KeyError::Exists { .. } => Failure::new(Kind::Input, error),
            _ => Failure::new(Kind::Host, error),
        })?;
    Ok(vec![made.recipients.recovery, made.recipients.drill])
}
