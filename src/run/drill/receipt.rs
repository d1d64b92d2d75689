use crate::drill::{DrillOutput, DrillStep, conclude};
use crate::journal::{Outcome, Saga};
use crate::run::{Line, Receipted};

impl Receipted for DrillStep {
    fn subject(saga: &Saga<Self>) -> String {
        format!("{} of {}", saga.subject().name, saga.subject().set)
    }

    fn outcome(saga: &Saga<Self>, _end: &Outcome) -> (String, bool) {
        let word = conclude(saga).word;
        (word.as_str().to_owned(), word == crate::drill::Word::Passed)
    }

    fn lines(saga: &Saga<Self>) -> Vec<Line> {
        let conclusion = conclude(saga);
        let mut lines = Vec::new();
        for (_, output, _) in saga.finished() {
            match output {
                DrillOutput::Chosen(_) => lines.push(Line::new("snapshot", output.to_string())),
                DrillOutput::Restored(_) => lines.push(Line::new("restored", output.to_string())),
                _ => {}
            }
        }
        for result in &conclusion.results {
            let told = match &result.why {
                Some(why) => format!(
                    "{}: expected {}, found {} ({why})",
                    result.verdict.word(),
                    result.expected,
                    result.actual
                ),
                None => format!(
                    "{}: expected {}, found {}",
                    result.verdict.word(),
                    result.expected,
                    result.actual
                ),
            };
            lines.push(Line::new(&result.name, told));
        }
        let stages: Vec<String> = conclusion
            .timings
            .iter()
            .map(|timing| format!("{} {}", timing.stage, timing.took.human()))
            .collect();
        lines.push(Line::new("RTO", conclusion.rto.to_string()));
        lines.push(Line::new("by stage", stages.join(", ")));
        lines.push(Line::new("RPO", conclusion.rpo.to_string()));
        for (_, output, _) in saga.finished() {
            if let DrillOutput::Evidence { path, .. } = output {
                lines.push(Line::new("evidence", path.display().to_string()));
            }
        }
        lines
    }

    fn detail(saga: &Saga<Self>) -> serde_json::Value {
        let evidence = saga.finished().find_map(|(_, output, _)| match output {
            DrillOutput::Evidence { path, sha256 } => Some(serde_json::json!({ "path": path, "sha256": sha256 })),
            _ => None,
        });
        let conclusion = conclude(saga);
        serde_json::json!({
            "drill": saga.subject().name,
            "set": saga.subject().set,
            "outcome": conclusion.word,
            "because": conclusion.because,
            "checks": conclusion.results,
            "stages": conclusion.timings,
            "rto": conclusion.rto,
            "rpo": conclusion.rpo,
            "evidence": evidence,
        })
    }
}
