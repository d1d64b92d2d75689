//! When a release did what, by its journal.

use arkwright::journal::{Event, Record};
use arkwright::model::{Colour, Span, Timestamp};
use arkwright::release::ReleaseStep;

pub struct Diary(pub Vec<Record<ReleaseStep>>);

impl Diary {
    /// When a step of this kind was begun first.
    pub fn began(&self, is: impl Fn(&ReleaseStep) -> bool) -> Timestamp {
        let found = self.0.iter().find_map(|record| match &record.event {
            Event::Began { step } if is(step) => Some(record.at),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("never begun: {:#?}", self.0))
    }

    /// When a step of this kind was finished last.
    pub fn finished(&self, is: impl Fn(&ReleaseStep) -> bool) -> Timestamp {
        let found = self.0.iter().rev().find_map(|record| match &record.event {
            Event::Finished { step, .. } if is(step) => Some(record.at),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("never finished: {:#?}", self.0))
    }

    /// When the release was turned round.
    pub fn failed(&self) -> Timestamp {
        let found = self.0.iter().find_map(|record| match &record.event {
            Event::Failed { .. } => Some(record.at),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("nothing failed: {:#?}", self.0))
    }

    /// From the first share of traffic until all of it is back.
    pub fn exposed(&self) -> (Timestamp, Timestamp) {
        let to = |wanted: bool| move |step: &ReleaseStep| matches!(step, ReleaseStep::Shift { colour: Colour::Green, weight } if (*weight > 0) == wanted);
        (self.began(to(true)), self.finished(to(false)))
    }
}

pub fn hold(step: &ReleaseStep) -> bool {
    matches!(step, ReleaseStep::Hold { .. })
}

pub fn between(from: Timestamp, to: Timestamp) -> Span {
    (to - from).to_std().unwrap_or_default().into()
}
