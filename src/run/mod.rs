//! Performs the steps of operations through the ports: the same code in the agent and in the foreground.

mod drive;
mod ledger;
mod news;
mod operator;

pub use drive::{DriveError, Perform, Petition, StepFailed, drive};
pub use ledger::Ledger;
pub use news::{Line, News, Progress, Receipt, Receipted, Update, UpdateKind, Watch};
pub use operator::{Blame, OperationError, Operator, Order};
