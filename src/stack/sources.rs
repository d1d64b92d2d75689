//! The files read so far, and what stops reading them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Fault, LoadError, Place};
use super::request::Warning;
use super::tree::Pos;

/// Every file read so far, by the number its positions carry.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    path: PathBuf,
    /// As an error names it: relative to where the command runs, if it is below.
    shown: PathBuf,
    text: Arc<str>,
}

impl Sources {
    pub fn known(&self, path: &Path) -> Option<u32> {
        self.0
            .iter()
            .position(|source| source.path == path)
            .and_then(|at| u32::try_from(at).ok())
    }

    /// Returns the number positions in this file carry.
    pub fn add(&mut self, path: PathBuf, shown: PathBuf, text: Arc<str>) -> u32 {
        self.0.push(Source { path, shown, text });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn text(&self, source: u32) -> Arc<str> {
        self.0
            .get(source as usize)
            .map(|source| source.text.clone())
            .unwrap_or_default()
    }

    pub fn warning(&self, at: Pos, message: String) -> Warning {
        let place = self
            .at(at)
            .map(|source| (source.shown.clone(), at.line as usize, at.column as usize));
        Warning { place, message }
    }

    /// `None` for a position that is in no file.
    fn at(&self, at: Pos) -> Option<&Source> {
        if at.line == 0 {
            None
        } else {
            self.0.get(at.source as usize)
        }
    }
}

/// Why loading stopped.
pub(super) enum Stop {
    Fault(Fault),
    Told(LoadError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<LoadError> for Stop {
    fn from(error: LoadError) -> Self {
        Stop::Told(error)
    }
}

impl Stop {
    pub fn told(self, sources: &Sources) -> LoadError {
        let fault = match self {
            Stop::Told(error) => return error,
            Stop::Fault(fault) => fault,
        };
        match sources.at(fault.at) {
            Some(source) => {
                let line = fault.at.line as usize;
                let text = source
                    .text
                    .lines()
                    .nth(line - 1)
                    .unwrap_or_default()
                    .trim_start_matches('\u{feff}');
                let place = Place {
                    file: source.shown.clone(),
                    line,
                    column: fault.at.column as usize,
                    width: fault.width,
                    text: text.to_owned(),
                };
                LoadError::located(place, fault.message, fault.help)
            }
            None => LoadError::nowhere(fault.message, fault.help.unwrap_or_default()),
        }
    }
}
