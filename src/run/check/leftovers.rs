use crate::plan::Plan;

use super::scene::{Scene, list};
use super::{Finding, Severity, Subject};

/// What the plan of `up` says beside its changes: what keeps it from starting, and what does not fit the files.
pub fn check(scene: &Scene<'_>, told: &[Finding]) -> Vec<Finding> {
    let Some(plan) = scene.plan else { return Vec::new() };
    let mut found = blocked(plan, told);
    found.extend(plan.strays.iter().map(|stray| {
        Finding::new(
            Severity::Warning,
            "stray-container",
            Subject::Container(stray.container.clone()),
            format!("{}: {}", stray.container, stray.what),
            "requests for the service reach it past the router, whatever version it is",
            format!(
                "`docker rm -f {0}` or `podman rm -f {0}`, once you know who started it",
                stray.container
            ),
        )
    }));
    found.extend(plan.orphans.iter().map(|orphan| {
        Finding::new(
            Severity::Note,
            "orphan-container",
            Subject::Container(orphan.container.clone()),
            format!("{}: {}", orphan.container, orphan.what),
            "it keeps running, and nothing in the Compose file asks for it",
            "`arkwright up --remove-orphans` removes it",
        )
    }));
    found.extend(plan.drift.iter().map(|notice| {
        let network = notice.subject.strip_prefix("network ");
        Finding::new(
            Severity::Note,
            "drift",
            network.map_or_else(
                || Subject::service(&notice.subject),
                |network| Subject::Network(network.to_owned()),
            ),
            format!("{}: {}", notice.subject, notice.what),
            "what runs is not what the files say, and `up` leaves it",
            match network {
                Some(_) => "`arkwright down` and `up` make the network anew, with an interruption",
                None => "`arkwright plan` shows it; a released service changes by `arkwright deploy`",
            },
        )
    }));
    let awaited: Vec<&str> = plan.adoption.iter().map(|adoption| adoption.service.as_str()).collect();
    if !awaited.is_empty() {
        found.push(Finding::new(
            Severity::Note,
            "adoption-awaited",
            Subject::Project,
            format!("{} still run without the router", list(&awaited)),
            "they cannot be released before it stands in front of them",
            "`arkwright up --adopt`, with one short interruption",
        ));
    }
    found
}

/// Reasons that a check of its own has not told already, by the path or image they name.
fn blocked(plan: &Plan, told: &[Finding]) -> Vec<Finding> {
    let known = |why: &str| {
        told.iter().any(|finding| match (&finding.subject, finding.severity) {
            (Subject::Path(path), Severity::Error) => why.contains(&*path.to_string_lossy()),
            _ => false,
        })
    };
    let news = plan.blocked.iter().filter(|why| !known(why));
    news.map(|why| {
        Finding::new(
            Severity::Error,
            "up-blocked",
            Subject::Project,
            why.clone(),
            "`up` refuses until this is mended, and changes nothing before",
            "mend it, then look at `arkwright plan`",
        )
    })
    .collect()
}
