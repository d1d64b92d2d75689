use serde::{Deserialize, Serialize};

use crate::backup::{Break, ImageRecord, Link, ManifestPart, Object};
use crate::config::Objectives;
use crate::journal::Saga;
use crate::model::{Digest, Generation, OperationId, ProjectName, Timestamp};

use super::{
    CheckResult, Chosen, Conclusion, DrillOutput, DrillStep, DrillSubject, ImageUse, Measured, NewestFound, Restored,
    Room, Timing, Word, conclude,
};

/// What evidence is signed for; `ssh-keygen -Y verify -n` takes it.
pub const EVIDENCE_NAMESPACE: &str = "arkwright-evidence";
pub const EVIDENCE_FORMAT: u32 = 1;

/// The record of one drill, as it is signed and kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    pub format: u32,
    pub operation: OperationId,
    pub project: ProjectName,
    pub drill: String,
    pub outcome: Word,
    pub because: Vec<String>,
    /// Who or what triggered it.
    pub by: String,
    pub started: Timestamp,
    /// When the last step before this record ended.
    pub ended: Timestamp,
    pub tools: Tools,
    pub snapshot: Option<SnapshotUsed>,
    pub room: Option<Room>,
    pub restored: Option<Restored>,
    pub images: Vec<ImageUse>,
    pub stages: Vec<Timing>,
    pub checks: Vec<CheckResult>,
    pub objectives: Objectives,
    pub rto: Measured,
    pub rpo: Measured,
    pub newest: Vec<NewestFound>,
    /// In what this was not the recovery it stands for.
    pub deviations: Vec<String>,
    /// The record before it on this host; a missing or changed one breaks the chain.
    pub previous: Option<PreviousEvidence>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tools {
    /// `arkwright 0.1.0`
    pub arkwright: String,
    /// `docker 20.10.24, API 1.41`
    pub engine: String,
    pub architecture: String,
    /// Fingerprint of the key that signs this record.
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotUsed {
    pub store: String,
    pub set: String,
    pub generation: Generation,
    pub taken: Timestamp,
    /// The manifest's object, and the hash of its bytes.
    pub manifest: String,
    pub header: Link,
    pub objects: Vec<Object>,
    /// Fingerprint of the key that signed the manifest.
    pub signer: String,
    pub tool: String,
    /// The images the manifest pinned.
    pub images: Vec<ImageRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviousEvidence {
    pub operation: OperationId,
    pub sha256: Digest,
}

/// What a record is made from beside the journal.
#[derive(Clone, Debug)]
pub struct Ground {
    pub tools: Tools,
    pub previous: Option<PreviousEvidence>,
}

impl Evidence {
    /// The same journal and ground give the same bytes, so writing it again changes nothing.
    pub fn of(saga: &Saga<DrillStep>, ground: Ground) -> Self {
        let subject: &DrillSubject = saga.subject();
        let Conclusion {
            word,
            because,
            results,
            timings,
            rto,
            rpo,
        } = conclude(saga);
        let mut evidence = Evidence {
            format: EVIDENCE_FORMAT,
            operation: subject.operation.clone(),
            project: subject.project.clone(),
            drill: subject.name.clone(),
            outcome: word,
            because,
            by: saga.by().to_owned(),
            started: saga.started(),
            ended: saga.ended(),
            tools: ground.tools,
            snapshot: None,
            room: None,
            restored: None,
            images: Vec::new(),
            stages: timings,
            checks: results,
            objectives: subject.objectives.clone(),
            rto,
            rpo,
            newest: Vec::new(),
            deviations: subject.deviations.clone(),
            previous: ground.previous,
        };
        for (step, output, _) in saga.finished() {
            evidence.take(step, output);
        }
        evidence
    }

    fn take(&mut self, step: &DrillStep, output: &DrillOutput) {
        match output {
            DrillOutput::Chosen(chosen) => self.snapshot = Some(SnapshotUsed::of(chosen)),
            DrillOutput::Room(room) => self.room = Some(*room),
            DrillOutput::Restored(restored) => {
                self.deviations.extend(restored.notes.iter().cloned());
                self.restored = Some((**restored).clone());
            }
            DrillOutput::Newest { newest } => self.newest = newest.clone(),
            DrillOutput::Images { images } => self.images = images.clone(),
            DrillOutput::Booted(booted) => {
                let service = match step {
                    DrillStep::Boot(service) => service.to_string(),
                    other => other.to_string(),
                };
                let told = booted
                    .deviations
                    .iter()
                    .map(|deviation| format!("{service}: {deviation}"));
                self.deviations.extend(told);
            }
            DrillOutput::Nothing
            | DrillOutput::Checked(_)
            | DrillOutput::Evidence { .. }
            | DrillOutput::Cleared { .. } => {}
        }
    }

    /// The bytes that are signed and stored.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

impl SnapshotUsed {
    fn of(chosen: &Chosen) -> Self {
        SnapshotUsed {
            store: chosen.store.clone(),
            set: chosen.set.clone(),
            generation: chosen.generation,
            taken: chosen.taken,
            manifest: ManifestPart::Header.name(chosen.generation),
            header: chosen.header,
            objects: chosen.objects.clone(),
            signer: chosen.signer.clone(),
            tool: chosen.tool.clone(),
            images: chosen.images.clone(),
        }
    }
}

/// Walks records in the order of their operations, each with the hash of its bytes; what does not hold.
pub fn walk(records: &[(Digest, Evidence)]) -> Vec<Break> {
    let mut breaks = Vec::new();
    let mut before: Option<PreviousEvidence> = None;
    for (sha256, evidence) in records {
        let object = format!("{}.json", evidence.operation);
        match (&evidence.previous, &before) {
            (said, found) if said == found => {}
            (Some(said), Some(found)) if said.operation == found.operation => breaks.push(Break {
                object: format!("{}.json", found.operation),
                why: format!("it is not the record that {object} followed"),
            }),
            (Some(said), _) => breaks.push(Break {
                object: format!("{}.json", said.operation),
                why: format!("it is missing; {object} follows it"),
            }),
            (None, _) => breaks.push(Break {
                object,
                why: "it begins a new chain although there are records before it".into(),
            }),
        }
        before = Some(PreviousEvidence {
            operation: evidence.operation.clone(),
            sha256: *sha256,
        });
    }
    breaks
}
