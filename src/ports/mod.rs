//! What the drivers in `run/` need of the world, as narrow traits; each contract is in its doc comments, and one suite
//! runs on every implementation.

mod engine;
mod forge;
mod host;
mod inspector;
mod keyring;
mod machine;
mod router;
mod source;
mod store;
mod time;

pub use engine::{
    AnonymousVolume, Enforces, Engine, EngineError, EngineInfo, EngineKind, ExecOutput, ImageInfo, ImageSummary,
    PullError, PullProgress, PullTrouble,
};
pub use forge::{DeploymentState, DeploymentStatus, Forge, ForgeError, NewDeployment};
pub use host::Host;
pub use inspector::Inspector;
pub use keyring::{Found, Given, Keyring, KeyringError};
pub use machine::{
    ClockState, DiskSpace, Files, Firewall, Limit, Machine, Place, PlaceKind, ProcessLimits, Protocol, User,
};
pub use router::{Notice, Router, RouterError, SlotView};
pub use source::{Body, Opened, Reading, Sink, SourceError, Sources, Stamp, Stopped};
pub use store::{ByteStream, ObjectInfo, Put, Store, StoreError};
pub use time::{Clock, Entropy};

pub use crate::plan::{
    Container, ContainerSpec, ContainerState, Figures, Latency, NetworkSpec, Observed, ObservedNetwork, ObservedVolume,
    Route, Slot, SlotState, VolumeSpec,
};
