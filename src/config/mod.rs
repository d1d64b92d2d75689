//! arkwright.yaml to a validated [`Config`]; every error names file, line and column.

mod backups;
mod drills;
mod error;
mod gates;
mod load;
mod propose;
mod releases;

pub use backups::{Backups, Keep, Keys, Objectives, SetConfig, Source, StoreConfig};
pub use drills::{Check, DrillConfig};
pub use error::ConfigError;
pub use gates::{Gate, GateConfig, GateError, GateSource, Metric, SourceWord};
pub use load::{AgentConfig, Config, RouterConfig, load, schema};
pub use propose::{Choices, Proposal, ProposedRelease, propose};
pub use releases::{
    Before, HealthConfig, Inconclusive, Preview, Probe, Release, ServiceConfig, StepConfig, Swap, Then,
};
