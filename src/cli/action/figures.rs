use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::drill::{CheckResult, DrillStep, Verdict};
use crate::journal::Step;
use crate::run::{Line, Receipt};

/// The parts of a release's detail that become outputs.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OfRelease {
    digest: Option<String>,
    previous_digest: Option<String>,
    /// Where it is of several services.
    members: Vec<Member>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Member {
    service: String,
    digest: Option<String>,
    previous_digest: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OfBackup {
    pub set: String,
    stores: BTreeMap<String, Stored>,
}

#[derive(Deserialize)]
struct Stored {
    generation: u64,
    #[serde(default)]
    read: Option<Read>,
}

#[derive(Deserialize)]
struct Read {
    totals: Totals,
}

#[derive(Deserialize)]
struct Totals {
    files: u64,
    bytes: u64,
    added: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OfDrill {
    because: Vec<String>,
    checks: Vec<CheckResult>,
    rto: Measured,
    rpo: Measured,
    evidence: Option<Evidence>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Measured {
    measured: Option<String>,
}

#[derive(Deserialize)]
struct Evidence {
    path: String,
}

/// What the receipt's detail holds of these figures; nothing where it is of another shape.
pub(super) fn of<T: DeserializeOwned + Default>(receipt: Option<&Receipt>) -> T {
    let detail = receipt.map(|receipt| receipt.detail.clone()).unwrap_or_default();
    serde_json::from_value(detail).unwrap_or_else(|error| {
        tracing::debug!("the receipt tells nothing of these figures: {error}");
        T::default()
    })
}

/// The receipt's lines as the job's log and summary may have them: what a snapshot keeps encrypted, such as names of
/// files, is only counted.
pub(super) fn lines(receipt: &Receipt) -> Vec<Line> {
    let drill: OfDrill = match receipt.kind.as_str() {
        DrillStep::KIND => of(Some(receipt)),
        _ => OfDrill::default(),
    };
    let is_note = |line: &&Line| line.label == "note";
    let told = receipt.lines.iter().filter(|line| !is_note(line));
    let mut lines: Vec<Line> = told
        .map(|line| match drill.verdict(&line.label) {
            Some(verdict) => Line::new(&line.label, verdict),
            None => line.clone(),
        })
        .collect();
    match receipt.lines.iter().filter(is_note).count() {
        0 => {}
        notes => lines.push(Line::new("notes", notes.to_string())),
    }
    lines
}

impl OfRelease {
    /// What serves now: the new image where all went well, the old one where it was taken back. Of several services
    /// `web=sha256:… api=sha256:…`.
    pub fn serving(&self, ok: bool, outcome: &str) -> String {
        match outcome {
            _ if ok => self.told(&self.digest, |member| &member.digest),
            "rolled_back" | "aborted" => self.previous(),
            _ => String::new(),
        }
    }

    pub fn previous(&self) -> String {
        self.told(&self.previous_digest, |member| &member.previous_digest)
    }

    fn told(&self, only: &Option<String>, of: impl Fn(&Member) -> &Option<String>) -> String {
        if self.members.is_empty() {
            return only.clone().unwrap_or_default();
        }
        let one = |member: &Member| Some(format!("{}={}", member.service, of(member).as_ref()?));
        self.members.iter().filter_map(one).collect::<Vec<_>>().join(" ")
    }
}

impl OfBackup {
    /// `7`, or `local=7 offsite=9` where the stores' chains differ.
    pub fn generation(&self) -> String {
        let mut all = self.stores.values().map(|stored| stored.generation);
        match all.next() {
            None => String::new(),
            Some(first) if all.all(|other| other == first) => first.to_string(),
            Some(_) => {
                let each = self
                    .stores
                    .iter()
                    .map(|(name, stored)| format!("{name}={}", stored.generation));
                each.collect::<Vec<_>>().join(" ")
            }
        }
    }

    pub fn files(&self) -> String {
        self.read()
            .next()
            .map(|totals| totals.files.to_string())
            .unwrap_or_default()
    }

    pub fn bytes(&self) -> String {
        self.read()
            .next()
            .map(|totals| totals.bytes.to_string())
            .unwrap_or_default()
    }

    /// Of all stores together.
    pub fn stored_bytes(&self) -> String {
        match self.read().map(|totals| totals.added).reduce(u64::saturating_add) {
            Some(added) => added.to_string(),
            None => String::new(),
        }
    }

    fn read(&self) -> impl Iterator<Item = &Totals> {
        self.stores
            .values()
            .filter_map(|stored| Some(&stored.read.as_ref()?.totals))
    }
}

impl OfDrill {
    pub fn rto(&self) -> String {
        self.rto.measured.clone().unwrap_or_default()
    }

    pub fn rpo(&self) -> String {
        self.rpo.measured.clone().unwrap_or_default()
    }

    pub fn evidence(&self) -> String {
        self.evidence
            .as_ref()
            .map(|evidence| evidence.path.clone())
            .unwrap_or_default()
    }

    /// The verdict of the check of this name.
    pub fn verdict(&self, name: &str) -> Option<&'static str> {
        let check = self.checks.iter().find(|check| check.name == name)?;
        Some(check.verdict.word())
    }

    /// What failed or was not run, without what was found: that may name files and rows.
    pub fn because(&self) -> Option<String> {
        let checks = self.checks.iter().filter(|check| check.verdict != Verdict::Passed);
        let checks = checks.map(|check| format!("{}: {}", check.name, check.verdict.word()));
        let measured = self
            .because
            .iter()
            .filter(|why| why.starts_with("RTO ") || why.starts_with("RPO "));
        let told: Vec<String> = checks.chain(measured.cloned()).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(text: &str) -> OfBackup {
        serde_json::from_str(text).expect("figures")
    }

    #[test]
    fn one_generation_is_a_number_and_different_ones_are_told_by_store() {
        assert_eq!(backup("{}").generation(), "");
        let same = backup(r#"{"stores":{"a":{"generation":7},"b":{"generation":7}}}"#);
        assert_eq!((same.generation().as_str(), same.files().as_str()), ("7", ""));
        let read = r#"{"totals":{"entries":3,"files":2,"bytes":100,"added":40},"notes":[],"seconds":1.5}"#;
        let differing = backup(&format!(
            r#"{{"set":"x","stores":{{"a":{{"generation":7,"read":{read}}},"b":{{"generation":9,"read":{read}}}}}}}"#
        ));
        assert_eq!(differing.generation(), "a=7 b=9");
        assert_eq!(
            (differing.bytes().as_str(), differing.stored_bytes().as_str()),
            ("100", "80")
        );
    }

    fn receipt(kind: &str, lines: &[(&str, &str)], detail: &str) -> Receipt {
        Receipt {
            operation: crate::model::OperationId::new(Default::default(), [0; 2]),
            kind: kind.into(),
            subject: String::new(),
            outcome: "failed".into(),
            ok: false,
            because: None,
            by: String::new(),
            started: Default::default(),
            ended: Default::default(),
            lines: lines.iter().map(|(label, value)| Line::new(*label, *value)).collect(),
            detail: serde_json::from_str(detail).expect("a detail"),
        }
    }

    #[test]
    fn names_of_files_stay_on_the_host() {
        let notes = [
            ("files", "2"),
            ("note", "baptism.jpg changed while it was read"),
            ("note", "wedding.jpg vanished"),
        ];
        let told = lines(&receipt("backup", &notes, "{}"));
        assert_eq!(told, [Line::new("files", "2"), Line::new("notes", "2")]);

        let checks = [
            ("restored", "7 files"),
            (
                "photos",
                "FAILED: expected 7 files, found 1 without a file: baptism.jpg",
            ),
        ];
        let detail = r#"{"because":["photos: FAILED: 1 without a file: baptism.jpg","RTO 5h, more than 4h"],
            "checks":[{"name":"photos","expected":"7","actual":"baptism.jpg","verdict":"failed"}]}"#;
        let drill = receipt("drill", &checks, detail);
        assert_eq!(
            lines(&drill),
            [Line::new("restored", "7 files"), Line::new("photos", "FAILED")]
        );
        let because = of::<OfDrill>(Some(&drill)).because();
        assert_eq!(because.as_deref(), Some("photos: FAILED; RTO 5h, more than 4h"));
    }

    #[test]
    fn what_serves_is_never_guessed() {
        let release: OfRelease = serde_json::from_str(r#"{"digest":"new","previous_digest":"old"}"#).expect("figures");
        assert_eq!(release.serving(true, "deployed"), "new");
        assert_eq!(release.serving(false, "rolled_back"), "old");
        assert_eq!(release.serving(false, "aborted"), "old");
        assert_eq!(release.serving(false, "stuck"), "");
        assert_eq!(release.serving(false, "running"), "");
        let both =
            r#"{"members":[{"service":"web","digest":"n","previous_digest":"o"},{"service":"api","digest":"m"}]}"#;
        let release: OfRelease = serde_json::from_str(both).expect("figures");
        assert_eq!(release.serving(true, "deployed"), "web=n api=m");
        assert_eq!(release.serving(false, "aborted"), "web=o");
    }
}
