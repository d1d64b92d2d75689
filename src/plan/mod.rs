//! Desired and observed to a [`Plan`](self) of changes, each with its reason.

mod observed;
mod spec;

pub use observed::{Container, ContainerState, Endpoint, Observed, ObservedNetwork, ObservedVolume};
pub use spec::{ContainerSpec, NetworkAttachment, NetworkSpec, SpecMount, VolumeSpec};
