use clap::ValueEnum;

use super::place::Place;
use crate::app::{Project, SystemClock};
use crate::backup::Portion;
use crate::cli::{Failure, Global, Kind, OrFail, Terminal};
use crate::model::{Generation, Size};
use crate::ports::Clock;
use crate::run::Progress;
use crate::run::verify::{Level, Verdict, VerifyOptions, VerifyReport, verify};
use crate::state::Rounds;

#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only this generation, and the chain
    generation: Option<Generation>,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Depth::Files)]
    level: Depth,
    /// Read so much of what is stored, and the next time what comes after it: with 1/30 every night, all within 30 days
    #[arg(long, value_name = "K/N", conflicts_with_all = ["generation", "from", "at"])]
    share: Option<Portion>,
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

impl Depth {
    fn word(self) -> &'static str {
        match self {
            Depth::Objects => "objects",
            Depth::Segments => "segments",
            Depth::Files => "files",
        }
    }
}

fn rounds(project: &Project) -> Result<Rounds, Failure> {
    Rounds::read(&project.backup_room()?.folder.rounds()).or_fail(Kind::Host)
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
    let mut reports = Vec::new();
    for opened in &reading.stores {
        let round = format!("{} {}", opened.name, args.level.word());
        let mut rounds = match &reading.project {
            Some(project) if args.share.is_some() => Some(rounds(project)?),
            _ => None,
        };
        let next = |portion| rounds.as_ref().map(|rounds| rounds.next(&round, portion));
        let options = VerifyOptions {
            only: args.generation,
            share: args.share.and_then(next),
        };
        let report = verify(
            &opened.store,
            &opened.trust,
            &reading.identities,
            args.level.into(),
            &options,
            &Spoken(&terminal),
        )
        .await?;
        if let Some(project) = &reading.project
            && !args.place.is_past()
        {
            // What is damaged is not built upon: the next backup stores its contents again.
            let catalogue = project.backup_room()?.catalogue(&opened.name)?;
            for segment in report.damaged_segments() {
                if let Err(error) = catalogue.forget_segment(&segment) {
                    let why = crate::model::chain(&error);
                    terminal.note(&format!(
                        "{segment}: the next backup may build upon it: {why}; verify again after it"
                    ));
                }
            }
        }
        // What was not looked at is no part of a round.
        if let (Some(share), Some(rounds)) = (options.share, &mut rounds)
            && report.verdict() != Verdict::NotRun
            && !report.checks.iter().any(|check| check.verdict == Verdict::NotRun)
        {
            rounds.done(&round, share, SystemClock.now()).or_fail(Kind::Host)?;
            if let Some((began, ended)) = rounds.whole(&round) {
                let (began, ended) = (began.format("%Y-%m-%d"), ended.format("%Y-%m-%d"));
                terminal.note(&format!("{}: all of it was read from {began} to {ended}", opened.name));
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
