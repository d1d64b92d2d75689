use serde_json::json;

use crate::config::Swap;
use crate::journal::{Outcome, Request, Saga};
use crate::model::{Colour, Span};
use crate::plan::Figures;
use crate::release::{Finding, Goal, ReleaseStep, Subject, finished_of};
use crate::run::{Line, Receipted};

type Release = Saga<ReleaseStep>;

impl Receipted for ReleaseStep {
    fn subject(saga: &Release) -> String {
        let one = |subject: &Subject| match subject.goal {
            Goal::Deploy => format!("{} → {}", subject.service, subject.image.reference),
            Goal::Rollback => format!("{} back to {}", subject.service, subject.image.reference),
            Goal::Retire => format!("{} {}", subject.service, subject.to),
        };
        saga.subject().members().iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// `deployed` and a successful `rolled_back` were proven by asking the serving colour; a failed release that had
    /// given the new colour traffic was rolled back too, but that is not what was asked.
    fn outcome(saga: &Release, end: &Outcome) -> (String, bool) {
        let shifted = saga.finished().any(|(step, ..)| {
            matches!(
                step.plain(),
                ReleaseStep::Shift { weight: 1.., .. } | ReleaseStep::ShiftTogether { weight: 1.., .. }
            )
        });
        let (word, ok) = match (end, saga.subject().goal()) {
            (Outcome::Succeeded, _) if saga.plan().forward.is_empty() => ("unchanged", true),
            (Outcome::Succeeded, Goal::Deploy) => ("deployed", true),
            (Outcome::Succeeded, Goal::Rollback) => ("rolled_back", true),
            (Outcome::Succeeded, Goal::Retire) => ("retired", true),
            (Outcome::Unwound { .. }, Goal::Deploy) if shifted => ("rolled_back", false),
            (Outcome::Unwound { .. } | Outcome::Aborted { .. }, _) => ("aborted", false),
            (Outcome::GivenUp { .. }, _) => ("given_up", false),
        };
        (word.to_owned(), ok)
    }

    /// A part for each service, each beginning with its name, then what is the release's own.
    fn lines(saga: &Release) -> Vec<Line> {
        let subjects = saga.subject();
        let mut lines: Vec<Line> = subjects
            .members()
            .iter()
            .flat_map(|member| part(saga, member))
            .collect();
        let mut say = |label: &str, value: String| lines.push(Line::new(label, value));
        for one in &subjects.unchanged {
            say("unchanged", format!("{} runs {} already", one.service, one.image));
        }
        if let Some(left) = subjects.left_behind() {
            say("alone", left);
        }
        if let Some(reason) = subjects.reason() {
            say("reason", reason.to_owned());
        }
        let permit = &subjects.permit;
        if let Some(overridden) = &permit.overridden {
            say("override", overridden.reason.clone());
            for refusal in &overridden.refusals {
                say("overridden", refusal.clone());
            }
        }
        for note in &permit.notes {
            say("note", note.clone());
        }
        for (step, finding, _) in saga.finished() {
            let (ReleaseStep::Hold { weight, .. }, Finding::Judged { gates }) = (step, finding) else {
                continue;
            };
            let at = match weight {
                100 => "settled".to_owned(),
                _ => format!("gates at {weight} %"),
            };
            for gate in gates {
                say(&at, gate.to_string());
            }
        }
        for asked in saga.asked() {
            let word = match asked.request {
                Request::Pause => "paused by",
                Request::Resume => "resumed by",
                Request::Promote | Request::PromoteFully => "promoted by",
                Request::Abort => "aborted by",
                Request::Retry => "tried again by",
                Request::GiveUp => "given up by",
            };
            say(
                word,
                format!("{}, {}", asked.by, asked.at.format("%Y-%m-%d %H:%M:%S UTC")),
            );
        }
        say(
            "took",
            Span::from((saga.ended() - saga.started()).to_std().unwrap_or_default()).human(),
        );
        lines
    }

    /// What a program may want; the containers' environment is not in it. Of one service its figures stand by
    /// themselves, of several below `members`.
    fn detail(saga: &Release) -> serde_json::Value {
        let subjects = saga.subject();
        let steps: Vec<_> = saga
            .finished()
            .map(|(step, finding, took)| json!({ "step": step, "found": finding, "took_ms": took.std().as_millis() as u64 }))
            .collect();
        let mut detail = match subjects.members() {
            [only] => figures(saga, only),
            members => {
                let members: Vec<_> = members.iter().map(|member| figures(saga, member)).collect();
                let proven = members.iter().all(|member| member["proven"] == true);
                json!({ "members": members, "proven": proven })
            }
        };
        detail["goal"] = json!(subjects.goal());
        detail["services"] = json!(subjects.services().collect::<Vec<_>>());
        detail["unchanged"] = json!(subjects.unchanged);
        detail["left"] = json!(subjects.left);
        detail["override"] = json!(subjects.permit.overridden);
        detail["notes"] = json!(subjects.permit.notes);
        detail["reason"] = json!(subjects.reason());
        detail["requests"] = json!(saga.asked());
        detail["steps"] = json!(steps);
        detail
    }
}

/// What is said of one service.
fn part(saga: &Release, subject: &Subject) -> Vec<Line> {
    let facts = Facts::of(saga, subject);
    let mut lines = Vec::new();
    let mut say = |label: &str, value: String| lines.push(Line::new(label, value));
    say("service", subject.service.to_string());
    say("image", subject.image.reference.clone());
    say("digest", facts.image_id.clone().unwrap_or_else(|| "not known".into()));
    if let Some(digest) = &facts.registry_digest {
        say("in the registry", digest.clone());
    }
    if subject.goal != Goal::Retire {
        let previous = subject.previous.id.as_deref().unwrap_or("not known");
        say("previous", format!("{} {previous}", subject.previous.reference));
        if let Some(digest) = subject.previous.pinned() {
            say("previous, in the registry", digest);
        }
        if subject.swap != Swap::Recreate {
            say("colour", format!("{} → {}", subject.from, subject.to));
        }
    }
    for snapshot in &facts.snapshots {
        say("backup", snapshot.clone());
    }
    if let Some(after) = facts.healthy {
        say("healthy after", after.human());
    }
    if let Some(took) = facts.shift {
        say("shift", took.human());
    }
    if let Some(colour) = facts.worker {
        say("jobs", format!("taken by {colour} from here on"));
    }
    if let Some(longest) = facts.gate {
        say("longest wait at the gate", longest.human());
    }
    if let Some(sessions) = facts.cut.filter(|sessions| *sessions > 0) {
        say("WebSockets closed", sessions.to_string());
    }
    if let Some([from, to]) = facts.counted(subject) {
        let told = |figures: Figures| {
            let broken = match figures.response_errors {
                0 => String::new(),
                count => format!(", {count} broken off"),
            };
            format!(
                "{} requests, {} answered 5xx, {} not connected{broken}",
                figures.requests, figures.responses_5xx, figures.connection_failures
            )
        };
        say(&format!("{} meanwhile", subject.from), told(from));
        say(&format!("{} meanwhile", subject.to), told(to));
    }
    if subject.keeps_data() {
        say(
            "data",
            "left as it is; what was written since the release is kept".into(),
        );
    } else if subject.swap == Swap::Hold && subject.goal == Goal::Deploy && subject.data.is_empty() {
        say("data", "no file was copied: no set in `before` holds a database".into());
    }
    if let Some(until) = &facts.warm {
        say("rollback ready until", until.clone());
    }
    lines
}

/// The same for a program.
fn figures(saga: &Release, subject: &Subject) -> serde_json::Value {
    let facts = Facts::of(saga, subject);
    let coloured = subject.swap != Swap::Recreate;
    json!({
        "service": subject.service,
        "swap": subject.swap,
        "image": subject.image.reference,
        "digest": facts.image_id,
        "registry_digest": facts.registry_digest,
        "previous_image": subject.previous.reference,
        "previous_digest": subject.previous.id,
        "previous_registry_digest": subject.previous.pinned(),
        "from": coloured.then_some(subject.from),
        "to": coloured.then_some(subject.to),
        "proven": facts.proven,
        "shift_us": facts.shift.map(|s| s.std().as_micros() as u64),
        "gate_wait_ms": facts.gate.map(|s| s.std().as_millis() as u64),
        "counted": facts.counted(subject).map(|[from, to]| json!({ "from": from, "to": to })),
        "websockets_closed": facts.cut,
    })
}

/// What the steps found, gathered.
#[derive(Default)]
struct Facts {
    image_id: Option<String>,
    registry_digest: Option<String>,
    snapshots: Vec<String>,
    healthy: Option<Span>,
    shift: Option<Span>,
    gate: Option<Span>,
    cut: Option<u64>,
    proven: bool,
    /// Who was told last to take jobs.
    worker: Option<Colour>,
    warm: Option<String>,
    counters: Vec<[Figures; 2]>,
}

impl Facts {
    fn of(saga: &Release, subject: &Subject) -> Self {
        let mut facts = Facts {
            image_id: subject.image.id.clone(),
            registry_digest: subject.image.pinned(),
            ..Facts::default()
        };
        for (step, finding, _) in finished_of(saga, &subject.service) {
            match (step, finding) {
                (_, Finding::Image { id, digest }) => {
                    facts.image_id = Some(id.clone());
                    facts.registry_digest = digest.clone().or(facts.registry_digest.take());
                }
                (ReleaseStep::Backup { set }, Finding::Backup { snapshot }) => {
                    facts.snapshots.push(format!("{set}: {snapshot}"));
                }
                (ReleaseStep::AwaitHealthy { .. }, Finding::Healthy { after }) => facts.healthy = Some(*after),
                // Only containers of the new image were waited for.
                (ReleaseStep::AwaitUp { .. }, Finding::Healthy { after }) => {
                    (facts.healthy, facts.proven) = (Some(*after), true);
                }
                (
                    ReleaseStep::Shift { weight: 100, .. } | ReleaseStep::ShiftTogether { weight: 100, .. },
                    Finding::Shifted { took },
                ) => facts.shift = Some(*took),
                (_, Finding::Opened { longest }) => facts.gate = Some(*longest),
                (_, Finding::Cut { sessions }) => *facts.cut.get_or_insert(0) += sessions,
                (ReleaseStep::TakeJobs { colour }, _) => facts.worker = Some(*colour),
                (_, Finding::Proven { .. }) => facts.proven = true,
                (ReleaseStep::KeepWarm { colour, .. }, Finding::Warm { until }) => {
                    facts.warm = Some(format!("{} ({colour})", until.format("%Y-%m-%d %H:%M UTC")));
                }
                (_, Finding::Counters { blue, green }) => facts.counters.push([*blue, *green]),
                _ => {}
            }
        }
        facts
    }

    /// What each colour answered between the first reading and the last: of `from`, then of `to`.
    fn counted(&self, subject: &Subject) -> Option<[Figures; 2]> {
        let (first, last) = (self.counters.first()?, self.counters.last()?);
        if self.counters.len() < 2 {
            return None;
        }
        let [blue, green] = [0, 1].map(|at| last[at].since(first[at]));
        match subject.from {
            Colour::Blue => Some([blue, green]),
            Colour::Green => Some([green, blue]),
        }
    }
}
