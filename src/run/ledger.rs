use std::fs::File;
use std::io;

use tokio::sync::mpsc;

use crate::journal::{Event, Next, Plan, Request};
use crate::model::OperationId;
use crate::ports::{Clock, Entropy};
use crate::state::{JournalError, JournalFile, ProjectFolder, read_journal};

use super::host::receipt;
use super::{Blame, DriveError, OperationError, Perform, Petition, Receipt, Receipted, Watch, drive};

/// The journals of a project: begins operations, takes them to their end, and reads back what became of them.
pub struct Ledger<'a> {
    pub folder: &'a ProjectFolder,
    pub clock: &'a dyn Clock,
    pub entropy: &'a dyn Entropy,
}

impl Ledger<'_> {
    /// A name for an operation that is about to begin.
    pub fn new_id(&self) -> OperationId {
        let mut chance = [0; 2];
        self.entropy.fill(&mut chance);
        let id = OperationId::new(self.clock.now(), chance);
        // Their order is that of their names, also when the clock was set back.
        match self.folder.operations().ok().and_then(|mut all| all.pop()) {
            Some((newest, _)) if newest >= id => newest.next(),
            _ => id,
        }
    }

    /// Writes the plan down; from here on the operation exists.
    pub fn begin<S: Receipted>(
        &self,
        id: &OperationId,
        subject: S::Subject,
        plan: Plan<S>,
        by: &str,
    ) -> Result<(), OperationError> {
        let planned = Event::Planned {
            subject,
            plan,
            by: by.to_owned(),
        };
        JournalFile::create(&self.folder.journal(S::KIND, id), self.clock.now(), planned)?;
        Ok(())
    }

    /// Drives an operation to its end; one that is stuck is tried again when a petition asks for it.
    pub async fn finish<S: Receipted>(
        &self,
        id: &OperationId,
        performer: &dyn Perform<S>,
        watch: &dyn Watch,
        mut petitions: mpsc::Receiver<Petition>,
    ) -> Result<Receipt, OperationError> {
        let mut journal = JournalFile::<S>::open(&self.folder.journal(S::KIND, id))?;
        let receipt = match drive(id, &mut journal, performer, self.clock, watch, &mut petitions).await {
            Ok(outcome) => {
                let receipt = Receipt::of(id, journal.saga(), Some(&outcome), "over");
                self.folder.note_over(id, S::KIND, &receipt.services());
                receipt
            }
            Err(DriveError::Stuck { step, error }) => {
                let mut receipt = Receipt::of(id, journal.saga(), None, "stuck");
                receipt.because = Some(format!("{step}: {error}"));
                receipt
            }
            Err(DriveError::Journal(error)) => return Err(error.into()),
            Err(error @ DriveError::NoRoom { .. }) => return Err(OperationError::new(Blame::Host, error)),
        };
        Ok(receipt)
    }

    /// Journals a request for an operation that nobody drives just now.
    pub fn request_of<S: Receipted>(&self, id: &OperationId, request: Request, by: &str) -> Result<(), OperationError> {
        let mut journal = JournalFile::<S>::open(&self.folder.journal(S::KIND, id))?;
        let by = by.to_owned();
        match journal.append(self.clock.now(), Event::Requested { request, by }) {
            Ok(_) => Ok(()),
            Err(JournalError::Illegal { source, .. }) => Err(OperationError::new(Blame::Failed, source)),
            Err(error) => Err(error.into()),
        }
    }

    /// What an operation is about, as it was planned.
    pub fn subject<S: Receipted>(&self, id: &OperationId) -> Result<S::Subject, OperationError> {
        let (_, saga) = read_journal::<S>(&self.folder.journal(S::KIND, id))?;
        Ok(saga.subject().clone())
    }

    /// What became of one operation, or how far it is.
    pub fn receipt<S: Receipted>(&self, id: &OperationId) -> Result<Receipt, OperationError> {
        let (_, saga) = read_journal::<S>(&self.folder.journal(S::KIND, id))?;
        Ok(match saga.next(self.clock.now()) {
            Next::Done(outcome) => Receipt::of(id, &saga, Some(&outcome), "over"),
            Next::Stuck { step, error } => {
                let mut receipt = Receipt::of(id, &saga, None, "stuck");
                receipt.because = Some(format!("{step}: {error}"));
                receipt
            }
            Next::Paused { by, .. } => {
                let mut receipt = Receipt::of(id, &saga, None, "paused");
                receipt.because = Some(format!("paused by {by}"));
                receipt
            }
            _ => Receipt::of(id, &saga, None, "running"),
        })
    }

    /// Receipts of what has no end yet, oldest first; a journal that is known to be over is not read. `note` what is found
    /// to be over only where nobody is driving.
    pub fn open(&self, note: bool) -> Result<Vec<Receipt>, OperationError> {
        let over = self.folder.over();
        let mut found = Vec::new();
        for (id, kind) in self.operations()? {
            if over.services(&id, &kind).is_some() {
                continue;
            }
            let receipt = receipt(self, &id, &kind)?;
            if receipt.open() {
                found.push(receipt);
            } else if note
                && File::open(self.folder.journal(&kind, &id))
                    .and_then(|file| file.sync_all())
                    .is_ok()
            {
                self.folder.note_over(&id, &kind, &receipt.services());
            }
        }
        Ok(found)
    }

    /// Ids and kinds of all operations, oldest first.
    pub fn operations(&self) -> Result<Vec<(OperationId, String)>, OperationError> {
        self.folder
            .operations()
            .map_err(|error: io::Error| OperationError::new(Blame::Host, error))
    }
}

impl From<JournalError> for OperationError {
    fn from(error: JournalError) -> Self {
        let blame = match error {
            JournalError::Corrupt { .. } | JournalError::Illegal { .. } | JournalError::Empty { .. } => Blame::Damaged,
            JournalError::Write { .. } => Blame::Host,
            JournalError::Read { ref source, .. } if source.kind() == io::ErrorKind::NotFound => Blame::NotFound,
            JournalError::Read { .. } => Blame::Host,
        };
        OperationError::new(blame, error)
    }
}
