use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::backup::{
    BackupSubject, FORMAT, ImageRecord, ListingWriter, Opening, Probe, Recipients, SQLITE_SIDES, SegmentRecord,
    SourceRecord, Tally, Totals, normal, shortfalls,
};
use crate::config::Source;
use crate::model::{Digest, SegmentId, Timestamp};
use crate::ports::{Entropy, Reading, SourceError, Sources, Store};
use crate::run::blocking::Ticker;
use crate::state::{Catalogue, make_folder, write_atomic};

use super::BackupError;
use super::images::Export;
use super::intake::Intake;
use super::packer::Packer;
use super::places::Places;
use super::stillness::{Gatekeeper, Gates};

/// What reading leaves in the scratch folder for publishing, beside the sealed listing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Draft {
    pub taken: Timestamp,
    pub listing_sha256: Digest,
    pub listing_bytes: u64,
    pub segments: Vec<SegmentRecord>,
    pub sums: SegmentRecord,
    pub images: Vec<ImageRecord>,
    pub totals: Totals,
    pub notes: Vec<String>,
    /// What the floors of the next backup stand on.
    #[serde(default)]
    pub sources: Vec<SourceRecord>,
}

/// The files of one store's run in the scratch folder.
pub(super) struct Staging(PathBuf);

impl Staging {
    pub(super) fn new(scratch: &Path, store: &str) -> Self {
        Staging(scratch.join(format!(
            "{}.store",
            crate::backup::escape(store.as_bytes()).replace('/', "%2F")
        )))
    }

    pub(super) fn listing(&self) -> PathBuf {
        self.0.join("listing.age")
    }

    fn sums(&self) -> PathBuf {
        self.0.join("sums")
    }

    fn draft(&self) -> PathBuf {
        self.0.join("draft.json")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    pub(super) fn read(&self) -> Result<Draft, BackupError> {
        let path = self.draft();
        let bytes = fs::read(&path).map_err(BackupError::scratch(&path))?;
        serde_json::from_slice(&bytes).map_err(|source| BackupError::Draft { path, source })
    }
}

/// Everything reading needs, ready for a blocking thread.
pub(super) struct Read {
    pub subject: BackupSubject,
    pub store: Arc<dyn Store>,
    pub store_name: String,
    pub sources: Arc<dyn Sources>,
    pub entropy: Arc<dyn Entropy>,
    pub catalogue: PathBuf,
    pub scratch: PathBuf,
    pub now: Timestamp,
    /// `seg/` of the store, by name.
    pub listed: BTreeMap<String, u64>,
    pub images: Vec<ImageRecord>,
    /// Archives of images that no registry has.
    pub exports: Vec<Export>,
    pub notes: Vec<String>,
    pub gatekeeper: Option<Gatekeeper>,
}

impl Read {
    /// Stores what is new and stages the listing.
    pub(super) fn run(self, ticker: &Ticker, handle: &Handle) -> Result<Draft, BackupError> {
        let recipients = Recipients::parse(&self.subject.recipients).map_err(BackupError::Recipients)?;
        let staging = Staging::new(&self.scratch, &self.store_name);
        let scratch = BackupError::scratch(&self.scratch);
        if staging.folder().exists() {
            fs::remove_dir_all(staging.folder()).map_err(&scratch)?;
        }
        make_folder(&self.scratch, 0o700).map_err(&scratch)?;
        make_folder(staging.folder(), 0o700).map_err(&scratch)?;
        let catalogue = Catalogue::open(&self.catalogue, &self.store_name)?;
        let live = self.live(&catalogue)?;
        let before: BTreeSet<SegmentId> = live.keys().cloned().collect();
        let sealed = File::create(staging.listing())
            .and_then(|file| recipients.seal(Tally::new(BufWriter::new(file))))
            .map_err(&scratch)?;
        let opening = Opening {
            listing: FORMAT,
            project: self.subject.project.clone(),
            set: self.subject.set.clone(),
            taken: self.now,
        };
        let packer = Packer::new(self.store.clone(), recipients, self.entropy.clone(), handle.clone());
        let mut intake = Intake {
            packer,
            probe: Probe::default(),
            catalogue: &catalogue,
            live,
            listing: ListingWriter::begin(sealed, &opening).map_err(&scratch)?,
            sums: BufWriter::new(File::create(staging.sums()).map_err(&scratch)?),
            scratch: staging.folder(),
            ticker,
            now: self.now,
            used: BTreeSet::new(),
            seen: Vec::new(),
            places: Places::default(),
            links: Default::default(),
            notes: self.notes.clone(),
            files: 0,
            bytes: 0,
            failure: None,
        };
        catalogue.hold()?;
        let records = self.sources(&mut intake, staging.folder(), handle);
        let records = match (records, intake.failure.take()) {
            (_, Some(failure)) => return Err(failure),
            (Err(error), None) => return Err(error),
            (Ok(records), None) => records,
        };
        let sources = records.clone();
        self.must_not_be_fewer(&catalogue, &sources)?;
        for export in self.exports {
            export.read(&mut intake, handle)?;
        }
        intake.packer.finish()?;
        intake.note_done()?;
        intake.remember(Vec::new())?;
        catalogue.let_go()?;
        let Intake {
            mut packer,
            live,
            listing,
            mut sums,
            used,
            mut notes,
            ..
        } = intake;
        sums.flush().map_err(&scratch)?;
        let mut sums = File::open(staging.sums()).map_err(&scratch)?;
        let sums_bytes = sums.metadata().map_err(&scratch)?.len();
        let sums = packer.add_sums(sums_bytes, &mut sums)?;
        notes.sort();
        let (closing, listing_sha256, listing_bytes) = Intake::close(listing, records, notes).map_err(&scratch)?;
        let added: u64 = live
            .values()
            .filter(|segment| !before.contains(&segment.id))
            .chain([&sums])
            .map(|segment| segment.bytes)
            .sum();
        let draft = Draft {
            taken: self.now,
            listing_sha256,
            listing_bytes,
            segments: live
                .into_values()
                .filter(|segment| used.contains(&segment.id))
                .collect(),
            sums,
            images: self.images,
            totals: Totals {
                entries: closing.entries,
                files: closing.files,
                bytes: closing.bytes,
                added: added + listing_bytes,
            },
            notes: closing.notes,
            sources,
        };
        if draft.segments.len() != used.len() {
            return Err(BackupError::Seal(std::io::Error::other("a segment was lost count of")));
        }
        let bytes = serde_json::to_vec(&draft).map_err(|source| BackupError::Draft {
            path: staging.draft(),
            source,
        })?;
        write_atomic(&staging.draft(), &bytes, 0o600).map_err(&scratch)?;
        Ok(draft)
    }

    /// What the catalogue says, as far as the store agrees.
    fn live(&self, catalogue: &Catalogue) -> Result<BTreeMap<SegmentId, SegmentRecord>, BackupError> {
        let mut live = catalogue.segments()?;
        live.retain(|_, segment| self.listed.get(&segment.name.to_string()) == Some(&segment.bytes));
        Ok(live)
    }

    /// A source that lost much of what it held may be a disk that is not mounted.
    fn must_not_be_fewer(&self, catalogue: &Catalogue, now: &[SourceRecord]) -> Result<(), BackupError> {
        let Some(floor) = self.subject.floor else {
            return Ok(());
        };
        let last = catalogue.last(&self.subject.set)?;
        let fewer = shortfalls(&last, now, floor);
        match fewer.is_empty() || catalogue.accepts_less(&self.subject.set)? {
            true => Ok(()),
            false => Err(BackupError::Fewer {
                set: self.subject.set.clone(),
                floor,
                fewer,
            }),
        }
    }

    fn sources(
        &self,
        intake: &mut Intake<'_>,
        scratch: &Path,
        handle: &Handle,
    ) -> Result<Vec<SourceRecord>, BackupError> {
        let taken = databases(&self.subject);
        let gates = Gates {
            keeper: self.gatekeeper.as_ref(),
            writers: &self.subject.writers,
            handle,
        };
        let reading = Reading {
            folder: &self.subject.folder,
            scratch,
            skip: &self.subject.skip,
            taken: &taken,
            stillness: &gates,
        };
        let mut records = Vec::new();
        for source in &self.subject.sources {
            records.push(self.sources.read(source, &reading, intake)?);
        }
        for file in &self.subject.stack_files {
            self.sources.read_stack_file(file, &reading, intake)?;
        }
        if records.len() != self.subject.sources.len() || records.is_empty() {
            return Err(SourceError::Stopped.into());
        }
        Ok(records)
    }
}

/// Databases that are copied consistently, and the files that belong to them: no other source reads those.
fn databases(subject: &BackupSubject) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for source in &subject.sources {
        if let Source::Sqlite { sqlite, .. } = source {
            let sqlite = normal(&subject.folder.join(sqlite));
            for suffix in [""].iter().chain(&SQLITE_SIDES) {
                let mut name = sqlite.clone().into_os_string();
                name.push(suffix);
                files.push(name.into());
            }
        }
    }
    files
}
