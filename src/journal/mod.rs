//! What was intended, in an order that survives any crash: records, their framing, and the saga every operation is.
//!
//! A driver appends `Began(step)` and syncs it before it performs the step, and `Finished` or `Failed` after.
//! Steps are idempotent, so recovery repeats the open one. Replaying the records gives the state back.

mod event;
mod frame;
mod saga;
#[cfg(test)]
mod tests;

pub use event::{Event, Patience, Plan, Record, Request, Step};
pub use frame::{Corrupt, encode, parse};
pub use saga::{Asked, Illegal, Next, Outcome, Saga};
