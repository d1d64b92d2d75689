use clap::ValueEnum;

use super::place::Place;
use crate::cli::{Failure, Global, Kind, Terminal};
use crate::model::{Generation, Size};
use crate::run::Progress;
use crate::run::verify::{Level, Verdict, VerifyOptions, VerifyReport, verify};

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only this generation, and the chain
    generation: Option<Generation>,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Files)]
    level: Depth,
    #[command(flatten)]
    place: Place,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq)]
enum Depth {
    /// Signatures, chain, size and hash of every object; needs no identity
    Objects,
    /// Every segment opens
    Segments,
    /// Every file has its SHA-256
    Files,
}

impl From<Depth> for Level {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Objects => Level::Objects,
            Depth::Segments => Level::Segments,
            Depth::Files => Level::Files,
        }
    }
}

pub(super) struct Spoken<'a>(pub &'a Terminal);

impl Progress for Spoken<'_> {
    fn say(&self, text: &str) {
        self.0.note(text);
    }
}

pub async fn run(global: &Global, args: &Args) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let reading = args.place.open(global, None)?;
    let options = VerifyOptions { only: args.generation };
    let mut reports = Vec::new();
    for opened in &reading.stores {
        let report = verify(
            &opened.store,
            &opened.trust,
            &reading.identities,
            args.level.into(),
            &options,
            &Spoken(&terminal),
        )
        .await?;
        if let Some(project) = &reading.project {
            // What is damaged is not built upon: the next backup stores its contents again.
            let catalogue = project.backup_room()?.catalogue(&opened.name)?;
            for segment in report.damaged_segments() {
                catalogue
                    .forget_segment(&segment)
                    .map_err(|e| Failure::new(Kind::Host, e))?;
            }
        }
        reports.push(report);
    }
    if terminal.json {
        terminal.print_json(&reports)?;
    } else {
        reports.iter().try_for_each(|report| print(&terminal, report))?;
    }
    let has = |verdict| reports.iter().any(|report| report.verdict() == verdict);
    if has(Verdict::Failed) {
        Err(Failure::told(Kind::Damaged))
    } else if has(Verdict::NotRun) {
        Err(Failure::told(Kind::Inconclusive))
    } else {
        Ok(())
    }
}

fn print(terminal: &Terminal, report: &VerifyReport) -> Result<(), Failure> {
    terminal.print(&format!(
        "{}: {} snapshots, {} objects, {}",
        report.store,
        report.snapshots,
        report.objects,
        Size(report.bytes)
    ))?;
    for check in &report.checks {
        let word = match check.verdict {
            Verdict::Passed => terminal.paint("32", "passed "),
            Verdict::Failed => terminal.paint("31", "FAILED "),
            Verdict::NotRun => terminal.paint("33", "NOT RUN"),
        };
        terminal.print(&format!("  {word}  {:14}  {}", check.name, check.detail))?;
    }
    for damage in &report.damaged {
        terminal.print(&format!(
            "  {} {}: {}",
            terminal.paint("31", "damaged"),
            damage.object,
            damage.why
        ))?;
    }
    if !report.affected.is_empty() {
        let affected: Vec<String> = report
            .affected
            .iter()
            .map(|generation| generation.0.to_string())
            .collect();
        terminal.print(&format!("  not whole: snapshots {}", affected.join(", ")))?;
    }
    Ok(())
}
