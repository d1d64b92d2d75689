use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::run::Receipt;

/// The parts of a release's detail that become outputs.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct OfRelease {
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

impl OfRelease {
    /// What serves now: the new image where all went well, the old one where it was taken back.
    pub fn serving(&self, ok: bool, outcome: &str) -> String {
        let digest = match outcome {
            _ if ok => &self.digest,
            "rolled_back" | "aborted" => &self.previous_digest,
            _ => &None,
        };
        digest.clone().unwrap_or_default()
    }

    pub fn previous(&self) -> String {
        self.previous_digest.clone().unwrap_or_default()
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

    /// What failed or was not run.
    pub fn because(&self) -> Option<String> {
        (!self.because.is_empty()).then(|| self.because.join("; "))
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

    #[test]
    fn what_serves_is_never_guessed() {
        let release: OfRelease = serde_json::from_str(r#"{"digest":"new","previous_digest":"old"}"#).expect("figures");
        assert_eq!(release.serving(true, "deployed"), "new");
        assert_eq!(release.serving(false, "rolled_back"), "old");
        assert_eq!(release.serving(false, "aborted"), "old");
        assert_eq!(release.serving(false, "stuck"), "");
        assert_eq!(release.serving(false, "running"), "");
    }
}
