//! GitHub from inside a workflow step: the runner's contract, and deployments.

mod command;
mod context;
mod deployments;
mod inputs;
mod issues;
mod runner;

pub(crate) use command::markdown;
pub use context::Context;
pub use deployments::{GitHub, GitHubError};
pub use inputs::{InputError, Inputs};
pub use runner::Runner;
