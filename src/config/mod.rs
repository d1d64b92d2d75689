//! arkwright.yaml to a validated [`Config`]; every error names file, line and column.

mod backups;
mod drills;
mod error;
mod load;
mod propose;
mod releases;

pub use backups::{Backups, Keep, Keys, Objectives, SetConfig, Source, StoreConfig};
pub use drills::{Check, DrillConfig};
pub use error::ConfigError;
pub use load::{AgentConfig, Config, RouterConfig, load, schema};
pub use propose::{Choices, Proposal, ProposedRelease, propose};
pub use releases::{Before, HealthConfig, Preview, Release, ServiceConfig, StepConfig, Swap};
