use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backup::EntryPath;
use crate::model::{Span, Timestamp};

/// A part of a recovery that is timed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Finding the snapshot, and room for it.
    Choose,
    /// Fetching, verifying, decrypting, writing.
    Restore,
    Images,
    /// Network and services until they are healthy.
    Boot,
    Checks,
}

impl Stage {
    pub const ALL: [Stage; 5] = [Stage::Choose, Stage::Restore, Stage::Images, Stage::Boot, Stage::Checks];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Choose => "choose",
            Stage::Restore => "restore",
            Stage::Images => "images",
            Stage::Boot => "boot",
            Stage::Checks => "checks",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub stage: Stage,
    pub took: Span,
}

/// What a source's `newest` query said of the restored data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewestFound {
    pub database: EntryPath,
    pub newest: Option<Timestamp>,
    /// Where there is no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    Met,
    Missed,
    /// There is an objective, and nothing to compare with it.
    NotRun,
    NoObjective,
}

/// One objective, beside what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub objective: Option<Span>,
    pub measured: Option<Span>,
    pub verdict: Measure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A clock this far ahead of ours is still believed.
const SKEW: Span = Span::seconds(60);

impl Measured {
    fn judge(objective: Option<Span>, measured: Result<Span, String>) -> Self {
        let verdict = match (&objective, &measured) {
            (None, _) => Measure::NoObjective,
            (Some(_), Err(_)) => Measure::NotRun,
            (Some(objective), Ok(measured)) if measured <= objective => Measure::Met,
            _ => Measure::Missed,
        };
        Measured {
            objective,
            verdict,
            why: measured.as_ref().err().cloned(),
            measured: measured.ok(),
        }
    }

    /// How long the recovery took; an error says why it did not come to its end.
    pub fn rto(objective: Option<Span>, took: Result<Span, String>) -> Self {
        Measured::judge(objective, took)
    }

    /// How much was lost had the failure come when the drill began: the age, then, of the newest datum restored. Of
    /// several databases the one that lost most counts.
    pub fn rpo(objective: Option<Span>, failure: Timestamp, found: &[NewestFound]) -> Self {
        if found.is_empty() {
            return Measured::judge(objective, Err("no source has a `newest` query".into()));
        }
        let mut worst = Span::ZERO;
        for each in found {
            let Some(newest) = each.newest else {
                let why = each.why.clone().unwrap_or_else(|| "it returned no time".into());
                return Measured::judge(objective, Err(format!("{}: {why}", each.database)));
            };
            if newest > failure + SKEW.chrono() {
                let why = format!(
                    "{}: its newest datum is of {}, after the drill began",
                    each.database,
                    newest.format("%Y-%m-%d %H:%M:%S")
                );
                return Measured::judge(objective, Err(why));
            }
            worst = worst.max((failure - newest).to_std().unwrap_or_default().into());
        }
        Measured::judge(objective, Ok(worst))
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = match (&self.measured, &self.why) {
            (Some(measured), _) => measured.human(),
            (None, Some(why)) => format!("NOT RUN ({why})"),
            (None, None) => "NOT RUN".to_owned(),
        };
        match (self.objective, self.verdict) {
            (Some(objective), Measure::Missed) => write!(f, "{measured}, MISSES the objective of {objective}"),
            (Some(objective), Measure::Met) => write!(f, "{measured}, within the objective of {objective}"),
            (Some(objective), _) => write!(f, "{measured}; the objective is {objective}"),
            (None, _) => write!(f, "{measured}; no objective"),
        }
    }
}
