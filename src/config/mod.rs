//! arkwright.yaml to a validated [`Config`]; every error names file, line and column.

mod background;
mod backups;
mod drills;
mod error;
mod gates;
mod hooks;
mod load;
mod propose;
mod releases;
mod s3;
#[cfg(test)]
mod tests;
mod windows;

pub use background::{Background, Call};
pub use backups::{Backups, Keep, Keys, Objectives, Prune, SetConfig, Source, StoreConfig, StorePlace};
pub use drills::{Check, DrillConfig};
pub use error::ConfigError;
pub use gates::{Gate, GateConfig, GateError, GateSource, Metric, SourceWord};
pub use hooks::{After, Before, Hook, HookClass};
pub use load::{AgentConfig, Config, RouterConfig, load, schema};
pub use propose::{Choices, Proposal, ProposedRelease, propose};
pub use releases::{HealthConfig, Inconclusive, Preview, Probe, Release, ServiceConfig, StepConfig, Swap, Then};
pub use s3::{LockMode, S3Checksums, S3Config, S3Create, S3Credentials, S3Lock, S3Sse, StorageClass};
pub use windows::{Day, FreezeConfig, Releases, WindowConfig};

/// Whether it can be the path of a request.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}
