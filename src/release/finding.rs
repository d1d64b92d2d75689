use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{Size, Span, Timestamp};
use crate::plan::Figures;

use super::Judged;

/// What a finished step found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Finding {
    #[default]
    Nothing,
    /// The router's counters.
    Counters {
        blue: Figures,
        green: Figures,
    },
    Image {
        id: String,
        /// `name@sha256:…`, where a registry knows it.
        digest: Option<String>,
    },
    Backup {
        snapshot: String,
    },
    Healthy {
        after: Span,
    },
    /// A program, and how long it took.
    Ran {
        took: Span,
    },
    /// How many of a colour's containers were told; those made before `background` was configured cannot be.
    Told {
        containers: usize,
        deaf: usize,
    },
    /// How long the router's command took.
    Shifted {
        took: Span,
    },
    Closed {
        at: Timestamp,
    },
    /// The longest any request waited at the gate.
    Opened {
        longest: Span,
    },
    /// WebSocket and other upgraded sessions that were ended.
    Cut {
        sessions: u64,
    },
    Copied {
        files: usize,
        bytes: u64,
    },
    /// Every container of the serving colour runs this image.
    Proven {
        image_id: String,
    },
    Warm {
        until: Timestamp,
    },
    /// The gates at the end of a hold.
    Judged {
        gates: Vec<Judged>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Nothing => f.write_str("done"),
            Finding::Counters { blue, green } => {
                write!(f, "blue {} requests, green {}", blue.requests, green.requests)
            }
            Finding::Image { id, .. } => f.write_str(id),
            Finding::Backup { snapshot } => f.write_str(snapshot),
            Finding::Healthy { after } => write!(f, "after {}", after.human()),
            Finding::Ran { took } => write!(f, "took {}", took.human()),
            Finding::Told { containers, deaf: 0 } => write!(f, "{containers} containers told"),
            Finding::Told { containers, deaf } => write!(
                f,
                "{containers} containers told, {deaf} were made before `background` was configured and take jobs as ever"
            ),
            Finding::Shifted { took } => write!(f, "in {}", took.human()),
            Finding::Closed { at } => write!(f, "at {}", at.format("%H:%M:%S%.3f")),
            Finding::Opened { longest } => write!(f, "the longest wait was {}", longest.human()),
            Finding::Cut { sessions: 0 } => f.write_str("no WebSocket was open"),
            Finding::Cut { sessions } => write!(f, "{sessions} WebSockets closed"),
            Finding::Copied { files, bytes } => write!(f, "{files} files, {}", Size(*bytes)),
            Finding::Proven { image_id } => write!(f, "it runs {image_id}"),
            Finding::Judged { gates } => {
                let gates: Vec<String> = gates.iter().map(ToString::to_string).collect();
                f.write_str(&gates.join("; "))
            }
            Finding::Warm { until } => write!(f, "until {}", until.format("%Y-%m-%d %H:%M:%S UTC")),
        }
    }
}
