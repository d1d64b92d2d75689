//! Performs the steps of operations through the ports: the same code in the agent and in the foreground.

mod check;
mod converge;
mod drill;
mod drive;
mod facts;
mod ledger;
mod news;
mod operator;
mod sandbox;

pub use check::{Finding, Severity, check_host, check_stack};
pub use converge::{Converge, ConvergeError, Patience};
pub use drill::{DrillPerformer, EvidenceError, EvidenceFile, Restorer, verify_evidence};
pub use drive::{DriveError, Perform, Petition, StepFailed, drive};
pub use ledger::Ledger;
pub use facts::{FactsError, facts};
pub use news::{Line, News, Progress, Receipt, Receipted, Update, UpdateKind, Watch};
pub use operator::{Blame, OperationError, Operator, Order};
pub use sandbox::{Sandbox, SandboxError, shelter, sweep};
