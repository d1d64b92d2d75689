use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::backup::{BadKey, BadSignature, Break, Signer, TrustedKeys};
use crate::drill::{
    DrillStep, EVIDENCE_FORMAT, EVIDENCE_NAMESPACE, Evidence, Ground, PreviousEvidence, Tools, markdown, walk,
};
use crate::journal::Saga;
use crate::model::{Digest, OperationId};
use crate::ports::{EngineInfo, EngineKind};
use crate::state::{ProjectFolder, write_atomic};

/// A record larger than this was not written by arkwright.
const LARGEST: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error("the evidence {path} cannot be written; free space or repair the disk")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the evidence {path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the evidence cannot be put into words")]
    Text(#[from] serde_json::Error),
    #[error("the evidence cannot be signed; look at `backups.keys.signing`")]
    Sign(#[from] BadKey),
    #[error("there is no evidence of {0}; `arkwright drill list` shows what there is")]
    None(OperationId),
}

/// One record on the disk.
pub struct EvidenceFile {
    pub path: PathBuf,
    pub operation: OperationId,
    pub sha256: Digest,
    bytes: Vec<u8>,
}

impl EvidenceFile {
    /// Every record, oldest first.
    pub fn all(folder: &ProjectFolder) -> Result<Vec<EvidenceFile>, EvidenceError> {
        let read = |path: &Path, source| EvidenceError::Read {
            path: path.to_path_buf(),
            source,
        };
        let top = folder.evidence();
        let mut found = Vec::new();
        for entry in fs::read_dir(&top).map_err(|e| read(&top, e))? {
            let path = entry.map_err(|e| read(&top, e))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(operation) = name.strip_suffix(".json").and_then(|id| id.parse().ok()) {
                found.push(EvidenceFile::open(path, operation)?);
            }
        }
        found.sort_by(|a, b| a.operation.cmp(&b.operation));
        Ok(found)
    }

    pub fn of(folder: &ProjectFolder, operation: &OperationId) -> Result<EvidenceFile, EvidenceError> {
        let path = folder.evidence().join(format!("{operation}.json"));
        match EvidenceFile::open(path, operation.clone()) {
            Err(EvidenceError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(EvidenceError::None(operation.clone()))
            }
            other => other,
        }
    }

    fn open(path: PathBuf, operation: OperationId) -> Result<EvidenceFile, EvidenceError> {
        match read_bounded(&path) {
            Ok(bytes) => Ok(EvidenceFile {
                operation,
                sha256: Digest::of(&bytes),
                path,
                bytes,
            }),
            Err(source) => Err(EvidenceError::Read { path, source }),
        }
    }

    /// Checks the signature, then reads it; an error is what does not hold, for a person.
    pub fn checked(&self, keys: &TrustedKeys) -> Result<Evidence, String> {
        let armour = read_bounded(&signature_of(&self.path)).map_err(|e| format!("its signature is missing: {e}"))?;
        keys.verify(EVIDENCE_NAMESPACE, &self.bytes, &armour)
            .map_err(|e: BadSignature| format!("its signature: {e}"))?;
        let evidence = self.parse()?;
        match evidence.operation == self.operation {
            true => Ok(evidence),
            false => Err(format!(
                "it is the record of {}, under another name",
                evidence.operation
            )),
        }
    }

    /// Reads it without looking at the signature.
    pub fn parse(&self) -> Result<Evidence, String> {
        let evidence: Evidence =
            serde_json::from_slice(&self.bytes).map_err(|e| format!("it does not say what evidence says: {e}"))?;
        match evidence.format {
            EVIDENCE_FORMAT => Ok(evidence),
            newer => Err(format!("it is of format {newer}; upgrade arkwright to read it")),
        }
    }
}

/// Every record whose signature or place in the chain does not hold; and how many there are.
pub fn verify_evidence(folder: &ProjectFolder, keys: &TrustedKeys) -> Result<(usize, Vec<Break>), EvidenceError> {
    let files = EvidenceFile::all(folder)?;
    let mut breaks = Vec::new();
    let mut records = Vec::new();
    for file in &files {
        let object = format!("{}.json", file.operation);
        match file.checked(keys) {
            Ok(evidence) => records.push((file.sha256, evidence)),
            Err(why) => breaks.push(Break { object, why }),
        }
    }
    // With a record unreadable its neighbours would be blamed too.
    if breaks.is_empty() {
        breaks = walk(&records);
    }
    Ok((files.len(), breaks))
}

/// Writes the record, its signature and its text; the record last but one, so that it is never without a signature.
pub(super) fn write(
    folder: &ProjectFolder,
    signer: &Signer,
    engine: &EngineInfo,
    saga: &Saga<DrillStep>,
) -> Result<EvidenceFile, EvidenceError> {
    let operation = &saga.subject().operation;
    let before = EvidenceFile::all(folder)?;
    let previous = before.into_iter().rfind(|file| file.operation < *operation);
    let evidence = Evidence::of(
        saga,
        Ground {
            tools: tools(signer, engine),
            previous: previous.map(|file| PreviousEvidence {
                operation: file.operation,
                sha256: file.sha256,
            }),
        },
    );
    let bytes = evidence.encode()?;
    let armour = signer.sign(EVIDENCE_NAMESPACE, &bytes)?;
    let path = folder.evidence().join(format!("{operation}.json"));
    let text = path.with_extension("md");
    for (path, bytes) in [
        (signature_of(&path), armour.as_bytes()),
        (path.clone(), &bytes),
        (text, markdown(&evidence).as_bytes()),
    ] {
        write_atomic(&path, bytes, 0o600).map_err(|source| EvidenceError::Write { path, source })?;
    }
    Ok(EvidenceFile {
        operation: operation.clone(),
        sha256: Digest::of(&bytes),
        path,
        bytes,
    })
}

fn tools(signer: &Signer, engine: &EngineInfo) -> Tools {
    let kind = match engine.kind {
        EngineKind::Docker => "docker",
        EngineKind::Podman => "podman",
    };
    Tools {
        arkwright: concat!("arkwright ", env!("CARGO_PKG_VERSION")).into(),
        engine: format!("{kind} {}, API {}", engine.version, engine.api_version),
        architecture: engine.architecture.clone(),
        key: signer.fingerprint(),
    }
}

fn signature_of(path: &Path) -> PathBuf {
    path.with_extension("json.sig")
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(io::Error::other("it is larger than any record")),
        false => Ok(bytes),
    }
}
