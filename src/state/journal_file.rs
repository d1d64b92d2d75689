use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::journal::{self, Corrupt, Event, Illegal, Record, Saga, Step};
use crate::model::Timestamp;

use super::write_atomic;

/// A journal larger than this was not written by arkwright.
const LARGEST: u64 = 64 << 20;

/// One operation's journal, open for appending, and the state it amounts to.
pub struct JournalFile<S: Step> {
    path: PathBuf,
    file: File,
    saga: Saga<S>,
    next: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(
        "the journal {path} cannot be written; free space or repair the disk, then run `arkwright agent` or the command again"
    )]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the journal {path} cannot be read")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the journal {path} is damaged")]
    Corrupt {
        path: PathBuf,
        #[source]
        source: Corrupt,
    },
    #[error("the journal {path} contradicts itself")]
    Illegal {
        path: PathBuf,
        #[source]
        source: Illegal,
    },
    #[error("the journal {path} holds nothing yet: the operation never began")]
    Empty { path: PathBuf },
}

impl<S: Step> JournalFile<S> {
    /// Begins a new journal; `planned` is its first record, and there before the file has its name.
    pub fn create(path: &Path, at: Timestamp, planned: Event<S>) -> Result<Self, JournalError> {
        let write = |source| JournalError::Write {
            path: path.to_path_buf(),
            source,
        };
        let record = Record {
            seq: 0,
            at,
            event: planned,
        };
        let saga = Saga::begin(&record).map_err(|source| JournalError::Illegal {
            path: path.to_path_buf(),
            source,
        })?;
        if path.exists() {
            return Err(write(io::ErrorKind::AlreadyExists.into()));
        }
        let bytes = journal::encode(&record).map_err(|e| write(e.into()))?;
        write_atomic(path, &bytes, 0o600).map_err(write)?;
        let file = OpenOptions::new().append(true).open(path).map_err(write)?;
        Ok(JournalFile {
            path: path.to_path_buf(),
            file,
            saga,
            next: 1,
        })
    }

    /// Opens an operation that a crash may have interrupted; a record cut short is removed from the file.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let (records, covered) = read::<S>(path)?;
        if records.is_empty() {
            return Err(JournalError::Empty {
                path: path.to_path_buf(),
            });
        }
        let saga = Saga::replay(&records).map_err(|source| JournalError::Illegal {
            path: path.to_path_buf(),
            source,
        })?;
        let write = |source| JournalError::Write {
            path: path.to_path_buf(),
            source,
        };
        let file = OpenOptions::new().append(true).open(path).map_err(write)?;
        file.set_len(covered as u64)
            .and_then(|()| file.sync_all())
            .map_err(write)?;
        Ok(JournalFile {
            path: path.to_path_buf(),
            file,
            saga,
            next: records.len() as u64,
        })
    }

    pub fn saga(&self) -> &Saga<S> {
        &self.saga
    }

    /// Refuses what does not fit; else the event is on the disk when this returns.
    pub fn append(&mut self, at: Timestamp, event: Event<S>) -> Result<Record<S>, JournalError> {
        let record = Record {
            seq: self.next,
            at,
            event,
        };
        let saga = self
            .saga
            .clone()
            .apply(&record)
            .map_err(|source| JournalError::Illegal {
                path: self.path.clone(),
                source,
            })?;
        let write = |source| JournalError::Write {
            path: self.path.clone(),
            source,
        };
        let bytes = journal::encode(&record).map_err(|e| write(e.into()))?;
        let before = self.file.metadata().map_err(write)?.len();
        if let Err(error) = self.file.write_all(&bytes).and_then(|()| self.file.sync_data()) {
            // Half a record on a full disk must not stand before the next one.
            self.file.set_len(before).map_err(write)?;
            return Err(write(error));
        }
        self.saga = saga;
        self.next += 1;
        Ok(record)
    }
}

/// The records of a journal and the state they amount to, without touching the file.
pub fn read_journal<S: Step>(path: &Path) -> Result<(Vec<Record<S>>, Saga<S>), JournalError> {
    let (records, _) = read::<S>(path)?;
    if records.is_empty() {
        return Err(JournalError::Empty {
            path: path.to_path_buf(),
        });
    }
    let saga = Saga::replay(&records).map_err(|source| JournalError::Illegal {
        path: path.to_path_buf(),
        source,
    })?;
    Ok((records, saga))
}

fn read<S: Step>(path: &Path) -> Result<(Vec<Record<S>>, usize), JournalError> {
    let failed = |source| JournalError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mut bytes = Vec::new();
    let read = File::open(path)
        .map_err(failed)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 > LARGEST {
        return Err(failed(io::Error::other("it is larger than any journal")));
    }
    journal::parse(&bytes).map_err(|source| JournalError::Corrupt {
        path: path.to_path_buf(),
        source,
    })
}
