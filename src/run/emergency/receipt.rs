use serde_json::json;

use crate::emergency::{EmergencyStep, Found};
use crate::journal::{Outcome, Saga};
use crate::run::{Line, Receipted};

impl Receipted for EmergencyStep {
    fn subject(saga: &Saga<Self>) -> String {
        let subject = saga.subject();
        let sets: Vec<String> = subject
            .snapshots
            .iter()
            .map(|chosen| format!("{} {}", chosen.set, chosen.generation.0))
            .collect();
        format!("{} → {} with {}", subject.service, subject.image, sets.join(", "))
    }

    fn outcome(_: &Saga<Self>, end: &Outcome) -> (String, bool) {
        let (word, ok) = match end {
            Outcome::Succeeded => ("recovered", true),
            Outcome::Unwound { .. } | Outcome::Aborted { .. } => ("aborted", false),
            Outcome::GivenUp { .. } => ("given_up", false),
        };
        (word.to_owned(), ok)
    }

    fn lines(saga: &Saga<Self>) -> Vec<Line> {
        let subject = saga.subject();
        let mut lines = vec![
            Line::new("incident", subject.reason.clone()),
            Line::new("service", subject.service.to_string()),
            Line::new("version", format!("{} ({})", subject.image, subject.image_because)),
        ];
        for chosen in &subject.snapshots {
            let taken = chosen.taken.format("%Y-%m-%d %H:%M:%S UTC");
            lines.push(Line::new(
                "data",
                format!(
                    "{} {} of {}, taken {taken}",
                    chosen.set, chosen.generation.0, chosen.store
                ),
            ));
        }
        if let Some(reason) = &subject.without_saving {
            lines.push(Line::new("not saved in a store", reason.clone()));
        }
        for (step, found, took) in saga.finished() {
            match found {
                Found::Nothing => lines.push(Line::new(step.to_string(), took.human())),
                told => lines.push(Line::new(step.to_string(), format!("{told}, {}", took.human()))),
            }
        }
        if subject.keep_maintenance {
            lines.push(Line::new("maintenance", "left on; `arkwright maintenance off` ends it"));
        }
        lines
    }

    fn detail(saga: &Saga<Self>) -> serde_json::Value {
        let subject = saga.subject();
        let steps: Vec<_> = saga
            .finished()
            .map(
                |(step, found, took)| json!({ "step": step, "found": found, "took_ms": took.std().as_millis() as u64 }),
            )
            .collect();
        json!({
            "service": subject.service,
            "reason": subject.reason,
            "image": subject.image,
            "snapshots": subject.snapshots,
            "without_saving": subject.without_saving,
            "pages": subject.pages,
            "stopped": subject.stopped,
            "requests": saga.asked(),
            "steps": steps,
        })
    }
}
