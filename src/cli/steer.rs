use super::owner::{Owner, by};
use super::{Failure, Global, Kind, Terminal, project};
use crate::app::Project;
use crate::journal::Request;
use crate::model::ServiceName;
use crate::run::Receipt;

/// The release that has no end yet, of this service (and others, maybe) or the only one.
pub async fn open_release(project: &Project, service: Option<&ServiceName>) -> Result<Option<Receipt>, Failure> {
    let of = |receipt: &Receipt, service: &ServiceName| receipt.services().contains(&service.as_str());
    let mut open: Vec<Receipt> = Owner::open(project)
        .await?
        .into_iter()
        .filter(|receipt| receipt.kind == "release")
        .filter(|receipt| service.is_none_or(|service| of(receipt, service)))
        .collect();
    if open.len() > 1 {
        let names: Vec<&str> = open.iter().flat_map(Receipt::services).collect();
        let what = format!("several releases are under way: name one of {}", names.join(", "));
        return Err(Failure::new(Kind::Usage, what));
    }
    Ok(open.pop())
}

/// The same, where there has to be one.
async fn the_release(project: &Project, service: Option<&ServiceName>) -> Result<Receipt, Failure> {
    let found = open_release(project, service).await?;
    found.ok_or_else(|| {
        let of = service.map(|service| format!(" of {service}")).unwrap_or_default();
        Failure::new(Kind::NotFound, format!("no release{of} is under way")).hinted("`arkwright history` lists them")
    })
}

/// Who can be asked to steer: the agent, or this process where nobody drives.
async fn owner(project: &Project) -> Result<Owner, Failure> {
    Owner::of(project).await.map_err(|failure| match failure.kind() {
        Kind::Busy => failure.hinted(
            "a release in the foreground is steered from its own terminal (Ctrl-C aborts it); under `arkwright agent` \
             it can be steered from anywhere",
        ),
        _ => failure,
    })
}

/// Asks for something that takes effect where the release stands; does not wait for its end.
pub async fn ask(global: &Global, service: Option<&ServiceName>, request: Request, said: &str) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let release = the_release(&project, service).await?;
    let id = &release.operation;
    match owner(&project).await? {
        // Nobody else takes on what goes on now.
        owner @ Owner::Foreground { .. } if request != Request::Pause => {
            owner.request(id, request, &by()).await?;
            let receipt = owner.steer(id, None, &terminal).await?;
            terminal.conclude(&receipt)
        }
        owner => {
            owner.request(id, request, &by()).await?;
            terminal.note(&format!(
                "{} is {said}; `arkwright history {id}` tells what becomes of it",
                release.subject
            ));
            Ok(())
        }
    }
}

/// Has the open release taken back, and follows that to its end. The inner error is a refusal before anything was
/// driven: the release is behind its point of no return, or over.
pub async fn take_back(
    project: &Project,
    release: &Receipt,
    by: &str,
    terminal: &Terminal,
) -> Result<Result<(), Failure>, Failure> {
    let owner = owner(project).await?;
    match owner.request(&release.operation, Request::Abort, by).await {
        Err(refusal) if refusal.kind() == Kind::Failed => return Ok(Err(refusal)),
        other => other?,
    }
    let receipt = owner.steer(&release.operation, None, terminal).await?;
    match receipt.outcome.as_str() {
        // What was asked for: the word of the release itself is that it did not get there.
        "aborted" | "rolled_back" if terminal.json => terminal.print_json(&receipt)?,
        "aborted" | "rolled_back" => terminal.print_receipt(&receipt)?,
        outcome => {
            terminal.conclude(&receipt)?;
            return Err(Failure::new(
                Kind::Failed,
                format!("it was not taken back: it is {outcome}"),
            ));
        }
    }
    Ok(Ok(()))
}

/// `abort`: the release under way, or a clear word that there is none.
pub async fn abort(global: &Global, service: Option<&ServiceName>, reason: Option<&str>) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::configured(global)?;
    let release = the_release(&project, service).await?;
    let by = reason.map_or_else(by, |reason| format!("{}: {reason}", by()));
    take_back(&project, &release, &by, &terminal).await?
}
