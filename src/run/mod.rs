//! Performs the steps of operations through the ports: the same code in the agent and in the foreground.

pub mod agent;
mod drive;
mod news;
mod operator;

pub use drive::{DriveError, Perform, Petition, StepFailed, drive};
pub use news::{Line, News, Progress, Receipt, Receipted, Update, UpdateKind, Watch};
pub use operator::{Blame, OperationError, Operator, Order};
