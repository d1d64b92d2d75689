//! What a stack should be, what the engine has, and the changes between them, each with its reason.

pub mod desired;
pub mod labels;
mod observed;
mod route;
mod spec;

pub use observed::{Container, ContainerState, Endpoint, Observed, ObservedNetwork, ObservedVolume};
pub use route::{Figures, Route, Slot, SlotState};
pub use spec::{ContainerSpec, NetworkAttachment, NetworkSpec, SpecMount, VolumeSpec};
