use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Something about the configuration or the host that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The same from version to version, for programs: `port-taken`.
    pub code: &'static str,
    pub severity: Severity,
    pub subject: Subject,
    /// One line.
    pub what: String,
    /// Why it matters.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// It could not be looked at, so nothing is known.
    pub unchecked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Works, and not in every way one might expect.
    Note,
    /// Works now, and will bite.
    Warning,
    /// `up`, `deploy`, a backup or a drill will fail.
    Error,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "lowercase")]
pub enum Subject {
    Host,
    Engine,
    Agent,
    Project,
    Service(String),
    Container(String),
    Network(String),
    Image(String),
    /// `8080/tcp`
    Port(String),
    Path(PathBuf),
    /// A set of `backups.sets`.
    Set(String),
    /// One of `backups.stores`.
    Store(String),
    Drill(String),
    Operation(String),
}

impl Finding {
    pub fn new(
        severity: Severity,
        code: &'static str,
        subject: Subject,
        what: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            code,
            severity,
            subject,
            what: what.into(),
            reason: reason.into(),
            remedy: remedy.into(),
            unchecked: false,
        }
    }

    /// For what could not be looked at; `what` says what it was, `why` why not.
    pub fn unchecked(
        severity: Severity,
        code: &'static str,
        subject: Subject,
        what: impl fmt::Display,
        why: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            unchecked: true,
            ..Finding::new(
                severity,
                code,
                subject,
                format!("could not be checked: {what}"),
                why.to_string(),
                remedy,
            )
        }
    }
}

impl Subject {
    pub fn service(name: impl fmt::Display) -> Self {
        Subject::Service(name.to_string())
    }

    pub fn path(path: &Path) -> Self {
        Subject::Path(path.to_path_buf())
    }
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub errors: usize,
    pub warnings: usize,
    pub notes: usize,
    /// How many of all these say that something could not be checked.
    pub unchecked: usize,
}

impl Summary {
    pub fn of(findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
        Summary {
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
            unchecked: findings.iter().filter(|f| f.unchecked).count(),
        }
    }

    /// Whether a check with these findings has failed; with `strict` warnings fail it too.
    pub fn failed(&self, strict: bool) -> bool {
        self.errors > 0 || strict && self.warnings > 0
    }
}

impl fmt::Display for Summary {
    /// `2 errors, 1 warning, 4 notes`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        write!(
            f,
            "{}, {}, {}",
            of(self.errors, "error"),
            of(self.warnings, "warning"),
            of(self.notes, "note")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding::new(severity, "port-taken", Subject::Port("80/tcp".into()), "w", "r", "do")
    }

    #[test]
    fn a_summary_counts_and_strictness_decides_over_warnings() {
        let unknown = Finding::unchecked(Severity::Note, "clock", Subject::Host, "the clock", "why", "do");
        assert_eq!(unknown.what, "could not be checked: the clock");
        let summary = Summary::of(&[finding(Severity::Warning), finding(Severity::Note), unknown]);
        assert_eq!(summary.to_string(), "0 errors, 1 warning, 2 notes");
        assert_eq!(summary.unchecked, 1);
        assert!(!summary.failed(false) && summary.failed(true));
        assert!(Summary::of(&[finding(Severity::Error)]).failed(false));
        assert!(!Summary::of(&[finding(Severity::Note)]).failed(true));
    }

    #[test]
    fn a_program_gets_every_part_by_name() {
        let json = serde_json::to_value(finding(Severity::Error)).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({
                "code": "port-taken", "severity": "error", "subject": { "kind": "port", "name": "80/tcp" },
                "what": "w", "reason": "r", "remedy": "do", "unchecked": false
            })
        );
    }
}
