use serde::Serialize;

use super::{Failure, Global, Kind, Terminal, project};
use crate::run::check::{Finding, Severity, Summary};

/// Shown by `check --help`.
pub const MEANING: &str = "\
Each finding says what is wrong, why it matters, and what to do. Its severity is one of
  error    `up`, `deploy`, a backup or a drill will fail
  warning  works now, and will bite
  note     works, and not in every way one might expect
What could not be looked at is a finding too, and begins with `could not be checked`.

Exit code: 1 with an error, else 0; with --strict 1 with a warning too. A Compose file or
arkwright.yaml that cannot be read is 3, as everywhere.
With --json: { summary: { errors, warnings, notes, unchecked },
findings: [{ code, severity, subject: { kind, name }, what, reason, remedy, unchecked }] };
a code keeps its meaning from version to version.";

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    summary: Summary,
    findings: &'a [Finding],
}

pub async fn run(global: &Global, args: Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let findings = project::project(global)?.check().await;
    let summary = Summary::of(&findings);
    if terminal.json {
        terminal.print_json(&Report {
            summary,
            findings: &findings,
        })?;
    } else {
        show(&terminal, &findings, summary)?;
    }
    match summary.failed(args.strict) {
        true => Err(Failure::told(Kind::Failed)),
        false => Ok(()),
    }
}

/// Findings of one kind that say the same share their reason and remedy.
fn show(terminal: &Terminal, findings: &[Finding], summary: Summary) -> Result<(), Failure> {
    for alike in findings.chunk_by(alike) {
        for finding in alike {
            let mark = match finding.severity {
                Severity::Error => terminal.paint("31", "error  "),
                Severity::Warning => terminal.paint("33", "warning"),
                Severity::Note => terminal.paint("2", "note   "),
            };
            terminal.print(&format!("{mark}  {}", finding.what))?;
        }
        if let [first, ..] = alike {
            terminal.print(&format!("         why  {}", first.reason))?;
            terminal.print(&format!("         do   {}", first.remedy))?;
        }
    }
    let (code, text) = match summary {
        Summary { errors: 1.., .. } => ("31", summary.to_string()),
        Summary { warnings: 1.., .. } => ("33", summary.to_string()),
        Summary { notes: 1.., .. } => ("32", summary.to_string()),
        _ => ("32", "nothing found".to_owned()),
    };
    terminal.print(&terminal.paint(code, &text))
}

fn alike(one: &Finding, other: &Finding) -> bool {
    (one.code, one.severity, &one.reason, &one.remedy) == (other.code, other.severity, &other.reason, &other.remedy)
}
