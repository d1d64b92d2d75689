use std::collections::BTreeSet;

use clap::Subcommand;

use super::owner::Owner;
use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::app::Project;
use crate::drill::markdown;
use crate::model::OperationId;
use crate::run::drill::{EvidenceError, EvidenceFile, verify_evidence};
use crate::run::{Order, Receipt, keys};

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Restore the newest snapshot into a sealed sandbox, boot it, check it, measure RTO and RPO
    Run {
        /// A key of `drills` [default: the only one]
        name: Option<String>,
    },
    /// What the drills came to
    List,
    /// The evidence of one drill
    Show { operation: OperationId },
    /// Check signatures and chain of all evidence
    Verify,
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    match &args.what {
        What::Run { name } => {
            let name = named(&project, name.as_deref())?;
            let owner = Owner::of(&project).await?;
            let receipt = owner.carry_out(&Order::Drill { name }, &terminal).await?;
            terminal.conclude(&receipt)
        }
        What::List => list(&drills(&project).await?, &terminal),
        What::Show { operation } => show(&project, operation, &terminal),
        What::Verify => verify(&project, &drills(&project).await?, &terminal),
    }
}

fn named(project: &Project, name: Option<&str>) -> Result<String, Failure> {
    let known: Vec<&String> = project.config.drills.keys().collect();
    match (name, known.as_slice()) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok((*only).clone()),
        (None, []) => {
            let none = "arkwright.yaml has no `drills`";
            Err(Failure::new(Kind::Input, none).hinted("add one: of which set, what to boot, what to check"))
        }
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            let which = format!("which drill? There are {}", names.join(", "));
            Err(Failure::new(Kind::Usage, which).hinted(format!("arkwright drill run {}", names[0])))
        }
    }
}

async fn drills(project: &Project) -> Result<Vec<Receipt>, Failure> {
    let mut receipts = Owner::history(project).await?;
    receipts.retain(|receipt| receipt.kind == "drill");
    Ok(receipts)
}

fn list(receipts: &[Receipt], terminal: &Terminal) -> Result<(), Failure> {
    if terminal.json {
        return terminal.print_json(&receipts);
    }
    let line = |receipt: &Receipt, label: &str| {
        let found = receipt.lines.iter().find(|line| line.label == label);
        let value = found.map_or("", |line| line.value.as_str());
        value
            .split([',', ';', '('])
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let rows: Vec<Vec<String>> = receipts
        .iter()
        .map(|receipt| {
            let local = receipt.started.with_timezone(&chrono::Local);
            vec![
                receipt.operation.to_string(),
                local.format("%Y-%m-%d %H:%M:%S").to_string(),
                receipt.subject.clone(),
                receipt.outcome.clone(),
                line(receipt, "RTO"),
                line(receipt, "RPO"),
            ]
        })
        .collect();
    terminal.table(&["OPERATION", "STARTED", "DRILL", "OUTCOME", "RTO", "RPO"], &rows)
}

fn show(project: &Project, operation: &OperationId, terminal: &Terminal) -> Result<(), Failure> {
    let folder = project.folder().or_fail(Kind::Host)?;
    let file = EvidenceFile::of(&folder, operation).map_err(failure)?;
    let evidence = file.parse().or_fail(Kind::Damaged)?;
    match terminal.json {
        true => terminal.print_json(&evidence),
        false => {
            terminal.print(markdown(&evidence).trim_end())?;
            terminal.note(&format!(
                "from {}; `arkwright drill verify` checks its signature",
                file.path.display()
            ));
            Ok(())
        }
    }
}

/// Evidence that was removed together with everything after it leaves a whole chain, but not a whole journal.
fn verify(project: &Project, receipts: &[Receipt], terminal: &Terminal) -> Result<(), Failure> {
    let folder = project.folder().or_fail(Kind::Host)?;
    let backups = project.config.backups.as_ref();
    let signing = &backups
        .ok_or_else(|| {
            Failure::new(
                Kind::Input,
                "arkwright.yaml says nothing of backups, so no key is known",
            )
        })?
        .keys
        .signing;
    let trusted = keys::trusted(&folder.key(signing)).or_fail(Kind::Input)?;
    let (count, breaks) = verify_evidence(&folder, &trusted).map_err(failure)?;
    let there: BTreeSet<OperationId> = EvidenceFile::all(&folder)
        .map_err(failure)?
        .into_iter()
        .map(|file| file.operation)
        .collect();
    let over = |receipt: &&Receipt| !receipt.open();
    let lost: Vec<&OperationId> = receipts
        .iter()
        .filter(over)
        .map(|receipt| &receipt.operation)
        .filter(|id| !there.contains(id))
        .collect();
    if terminal.json {
        let breaks: Vec<_> = breaks
            .iter()
            .map(|found| serde_json::json!({ "object": found.object, "why": found.why }))
            .collect();
        terminal.print_json(&serde_json::json!({ "records": count, "breaks": breaks, "lost": lost }))?;
    } else {
        for found in &breaks {
            terminal.print(&format!(
                "{} {}: {}",
                terminal.paint("31", "✗"),
                found.object,
                found.why
            ))?;
        }
        for id in &lost {
            terminal.print(&format!(
                "{} {id}.json: the drill is over and its evidence is gone",
                terminal.paint("31", "✗")
            ))?;
        }
        if breaks.is_empty() && lost.is_empty() {
            let mark = terminal.paint("32", "✓");
            terminal.print(&format!("{mark} {count} records, every signature and the chain hold"))?;
        }
    }
    match breaks.is_empty() && lost.is_empty() {
        true => Ok(()),
        false => Err(Failure::told(Kind::Damaged)),
    }
}

fn failure(error: EvidenceError) -> Failure {
    match error {
        EvidenceError::None(_) => Failure::new(Kind::NotFound, error),
        other => Failure::new(Kind::Host, other),
    }
}
