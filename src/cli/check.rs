use super::{Failure, Global, Kind, Terminal, project, stack_view};
use crate::app::{Project, SiteError};
use crate::plan::Wishes;
use crate::run::{Finding, Severity, check_host, check_stack};

pub async fn run(global: &Global) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let mut found: Vec<Finding> = project
        .loaded
        .warnings
        .iter()
        .map(|warning| Finding {
            severity: Severity::Warning,
            what: project.loaded.secrets.redact(&warning.to_string()),
            remedy: "correct the Compose file, or the variables it reads".into(),
        })
        .collect();
    found.extend(check_stack(project.stack(), Some(&project.config)));
    // What the files say wrong is told also where no engine answers.
    let engine = host(&project, &mut found).await;
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    show(&terminal, &found)?;
    engine.map_err(|error| stack_view::failure(&project, error))?;
    match found.iter().any(|finding| finding.severity == Severity::Error) {
        true => Err(Failure::told(Kind::Failed)),
        false => Ok(()),
    }
}

async fn host(project: &Project, found: &mut Vec<Finding>) -> Result<(), SiteError> {
    let site = match project.site().await {
        Err(SiteError::Desired(error)) => {
            // `check_stack` may have said it already, of every service it is true of.
            if found.iter().all(|finding| finding.severity != Severity::Error) {
                found.push(Finding {
                    severity: Severity::Error,
                    what: error.to_string(),
                    remedy: "correct the Compose file".into(),
                });
            }
            return Ok(());
        }
        site => site?,
    };
    let observed = site.observe().await?;
    let plan = site.plan(&observed, Wishes::default()).await?;
    found.extend(check_host(
        site.engine.as_ref(),
        project.stack(),
        Some(&project.config),
        &observed,
        &plan,
    ));
    Ok(())
}

fn show(terminal: &Terminal, found: &[Finding]) -> Result<(), Failure> {
    if terminal.json {
        return terminal.print_json(&found);
    }
    for finding in found {
        let mark = match finding.severity {
            Severity::Error => terminal.paint("31", "error:"),
            Severity::Warning => terminal.paint("33", "warning:"),
            Severity::Note => terminal.paint("2", "note:"),
        };
        terminal.print(&format!("{mark} {}\n  {}", finding.what, finding.remedy))?;
    }
    match found.is_empty() {
        true => terminal.print("nothing found"),
        false => Ok(()),
    }
}
