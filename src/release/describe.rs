use crate::config::Swap;
use crate::journal::Plan;
use crate::model::ServiceName;

use super::{Goal, ReleaseStep, Subject, Subjects};

/// The plan for a person, one line a step.
pub fn describe(subjects: &Subjects, plan: &Plan<ReleaseStep>) -> Vec<String> {
    let members = subjects.members();
    let still = |service: &ServiceName, image: &str| format!("{service} runs {image} already: nothing to do");
    if plan.forward.is_empty() {
        let still = |member: &Subject| still(&member.service, &member.image.short());
        return members.iter().map(still).collect();
    }
    let mut lines: Vec<String> = members.iter().map(headline).collect();
    for (at, step) in plan.forward.iter().enumerate() {
        if at == plan.commit && at > 0 {
            lines.push("  — from here only forward —".into());
        }
        lines.push(format!("  {}. {step}", at + 1));
    }
    if members.iter().any(Subject::keeps_data) {
        lines.push("  data stays as it is: what was written since is kept, nothing is put back".into());
    }
    lines.extend(subjects.unchanged.iter().map(|one| still(&one.service, &one.image)));
    lines.extend(subjects.left_behind());
    lines
}

/// `web: blue web:1 → green web:2`
fn headline(subject: &Subject) -> String {
    match subject.goal {
        Goal::Retire => format!("{}: {} is removed", subject.service, subject.to),
        _ if subject.swap == Swap::Recreate => format!(
            "{}: {} → {}, in its place",
            subject.service,
            subject.previous.short(),
            subject.image.short()
        ),
        _ => format!(
            "{}: {} {} → {} {}",
            subject.service,
            subject.from,
            subject.previous.short(),
            subject.to,
            subject.image.short()
        ),
    }
}
