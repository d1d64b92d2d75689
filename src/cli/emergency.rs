use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;

use super::owner::{self, Owner};
use super::{Failure, Global, Kind, OrFail, Terminal, project, steer};
use crate::app::Project;
use crate::github::GitHub;
use crate::model::{Generation, ServiceName};
use crate::run::{Emergency, Order, Receipt};

#[derive(clap::Args)]
pub struct Args {
    /// The service whose data is put back
    service: ServiceName,
    /// A snapshot's number, or `latest` of each set
    #[arg(long, value_name = "ID|latest", value_parser = snapshot)]
    snapshot: Snapshot,
    /// The sets [default: those that are backed up before a release of the service, or the only one]
    #[arg(long, value_name = "SET", value_delimiter = ',')]
    sets: Vec<String>,
    /// The image to deploy [default: what served when the snapshot was taken]
    #[arg(long, value_name = "IMAGE")]
    to: Option<String>,
    /// What happened; goes into the records
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reason: String,
    /// Go on without saving what is there in a store; it is kept beside all the same
    #[arg(long, value_name = "REASON", value_parser = NonEmptyStringValueParser::new())]
    without_saving: Option<String>,
    /// Leave the maintenance page on
    #[arg(long)]
    keep_maintenance: bool,
    /// Print what would be done and do nothing
    #[arg(long)]
    plan: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Snapshot {
    Latest,
    Number(Generation),
}

fn snapshot(text: &str) -> Result<Snapshot, String> {
    match text {
        "latest" => Ok(Snapshot::Latest),
        number => {
            let wrong = "it is neither `latest` nor a number of `arkwright backup list`".to_owned();
            number.parse().map(Snapshot::Number).map_err(|_| wrong)
        }
    }
}

/// Puts an earlier state of the data in place with a version that worked; a release under way is taken back first.
pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let wanted = Emergency {
        service: args.service.clone(),
        snapshot: match args.snapshot {
            Snapshot::Latest => None,
            Snapshot::Number(generation) => Some(generation),
        },
        sets: args.sets.clone(),
        image: args.to.clone(),
        reason: args.reason.clone(),
        without_saving: args.without_saving.clone(),
        keep_maintenance: args.keep_maintenance,
    };
    let release = steer::open_release(&project, Some(&args.service)).await?;
    let release = release.filter(|release| release.outcome != "stuck");
    if let (Some(release), true) = (&release, args.plan) {
        // Between two colours nothing can be planned.
        let first = format!(
            "{} is under way and taken back first; run this again then",
            release.operation
        );
        return match terminal.json {
            true => terminal.print_json(&serde_json::json!({ "taken_back_first": release.operation })),
            false => terminal.print(&first),
        };
    }
    if args.plan || !args.yes {
        if !args.plan && !std::io::stdin().is_terminal() {
            let refusal = Failure::new(Kind::Usage, "an emergency is confirmed on a terminal, or with --yes");
            return Err(refusal.hinted("`--plan` prints what it would do"));
        }
        if let Some(release) = &release {
            terminal.print(&format!("{} is under way: {}", release.operation, release.subject))?;
            if !terminal.confirm("Take it back first?")? {
                return Err(Failure::new(Kind::Interrupted, "nothing was changed"));
            }
            take_back(&project, release, &terminal).await?;
        }
        show(&project, &wanted, args.plan, &terminal).await?;
        if args.plan {
            return Ok(());
        }
        if !terminal.confirm("Do it?")? {
            return Err(Failure::new(Kind::Interrupted, "nothing was changed"));
        }
    }
    if let Some(release) = release.filter(|_| args.yes) {
        take_back(&project, &release, &terminal).await?;
    }
    let owner = Owner::of(&project).await?;
    let receipt = owner.carry_out(&Order::Emergency(wanted), &terminal).await?;
    let told = terminal.conclude(&receipt);
    incident(&receipt, &terminal).await;
    told
}

/// One that cannot be taken back any more is waited for.
async fn take_back(project: &Project, release: &Receipt, terminal: &Terminal) -> Result<(), Failure> {
    let by = format!("{}: an emergency", owner::by());
    if let Err(refusal) = steer::take_back(project, release, &by, terminal).await? {
        terminal.note(&refusal.to_string());
    }
    Ok(())
}

async fn show(project: &Project, wanted: &Emergency, only: bool, terminal: &Terminal) -> Result<(), Failure> {
    let host = project.host().await.or_fail(Kind::Host)?;
    let subject = host.plan_emergency(&host.ledger().new_id(), wanted).await?;
    let plan = subject.plan();
    if only && terminal.json {
        return terminal.print_json(&serde_json::json!({ "subject": subject, "plan": plan }));
    }
    terminal.print(&format!("{}:", Order::Emergency(wanted.clone())))?;
    let mut lines = subject.told(&plan).into_iter();
    lines.try_for_each(|line| terminal.print(&format!("  {line}")))
}

/// An issue, where this process may open one; the record of it is in the history either way.
async fn incident(receipt: &Receipt, terminal: &Terminal) {
    let id = &receipt.operation;
    let said = format!("`arkwright history {id}` is the record of the incident");
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(token), Some(repository)) = (var("GITHUB_TOKEN"), var("GITHUB_REPOSITORY")) else {
        terminal.note(&format!(
            "{said}; an issue on GitHub: NOT DONE, GITHUB_TOKEN and GITHUB_REPOSITORY are not both set"
        ));
        return;
    };
    let title = format!("Emergency: {} {}", receipt.subject, receipt.outcome);
    let lines: Vec<String> = receipt
        .lines
        .iter()
        .map(|l| format!("- {}: {}", l.label, l.value))
        .collect();
    let body = format!("Operation `{id}`, by {}.\n\n{}", receipt.by, lines.join("\n"));
    let opened = match GitHub::new(var("GITHUB_API_URL").as_deref(), &repository, &token) {
        Ok(github) => github.open_issue(&title, &body).await.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match opened {
        Ok(number) => terminal.note(&format!("{said}, and issue {number} of {repository}")),
        Err(error) => terminal.note(&format!("{said}; an issue on GitHub: NOT DONE, {error}")),
    }
}
