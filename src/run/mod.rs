//! Performs the steps of operations through the ports: the same code in the agent and in the foreground.

pub mod agent;
pub mod backup;
mod blocking;
pub mod check;
mod converge;
pub mod drill;
mod drive;
mod facts;
pub mod gates;
mod host;
pub mod keys;
mod ledger;
mod news;
mod operator;
mod prune;
mod pull;
pub mod release;
pub mod restore;
mod sandbox;
mod schedules;
pub mod snapshots;
mod turn;
pub mod verify;

pub use converge::{Converge, ConvergeError, Patience};
pub use drive::{DriveError, Judgement, Perform, Petition, StepFailed, drive};
pub use facts::{FactsError, facts};
pub use host::{Host, history};
pub use ledger::Ledger;
pub use news::{Line, News, Progress, Receipt, Receipted, Update, UpdateKind, Watch};
pub use operator::{Blame, OperationError, Operator, Order, Target};
pub use prune::{PruneScope, plan_prune, prune};
pub use pull::pull;
pub use sandbox::{Sandbox, SandboxError, shelter, sweep};
pub use schedules::Schedules;
pub use turn::{take_now, turn};
