//! What a stack should be, what the engine has, and the changes between them, each with its reason.

mod change;
pub mod desired;
mod diff;
mod doors;
mod eject;
mod facts;
pub mod labels;
mod observed;
mod order;
mod precedence;
mod route;
mod spec;
pub mod standby;
mod target;
mod teardown;
#[cfg(test)]
mod tests;

pub use change::{Action, Adoption, Change, Leftover, Notice, Plan};
pub use diff::{Wishes, diff};
pub use eject::eject;
pub use facts::{Facts, FileFact};

pub use observed::{Container, ContainerState, Endpoint, Observed, ObservedNetwork, ObservedVolume};
pub use route::{Arrangement, Figures, Latency, Route, Slot, SlotState, numbered};
pub use spec::{ContainerSpec, NetworkAttachment, NetworkSpec, SpecMount, VolumeSpec};
pub use target::{
    BindSource, Desired, DesiredNetwork, DesiredService, DesiredVolume, Recreated, Released, Serving, needs,
};
pub use teardown::{TearDown, teardown};
