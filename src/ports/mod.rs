//! What the drivers in `run/` need of the world, as narrow traits; each contract is in its doc comments, and one suite
//! runs on every implementation.

mod engine;
mod forge;
mod host;
mod inspector;
mod keyring;
mod machine;
mod program;
mod router;
mod source;
mod store;
mod time;
mod web;

pub use engine::{
    AnonymousVolume, Enforces, Engine, EngineError, EngineInfo, EngineKind, ExecOutput, ImageInfo, ImageSummary,
    InnerProgram, ProgramFailed, PullError, PullProgress, PullTrouble, Stats,
};
pub use forge::{DeploymentState, DeploymentStatus, Forge, ForgeError, NewDeployment};
pub use host::Host;
pub use inspector::Inspector;
pub use keyring::{Found, Given, Keyring, KeyringError};
pub use machine::{
    ClockState, DiskSpace, Files, Firewall, Limit, Machine, Place, PlaceKind, ProcessLimits, Protocol, User,
};
pub use program::{Program, Programs, Ran};
pub use router::{Notice, Router, RouterError, SlotView};
pub use source::{Body, FileId, Opened, Reading, Sink, SourceError, Sources, Stamp, Stillness, Stopped};
pub use store::{ByteStream, ObjectInfo, Put, Store, StoreError};
pub use time::{Clock, Entropy};
pub use web::{LARGEST_PAGE, Page, PageRequest, Web, WebError};

pub use crate::plan::{
    Arrangement, Container, ContainerSpec, ContainerState, Figures, Latency, NetworkSpec, Observed, ObservedNetwork,
    ObservedVolume, Route, Slot, SlotState, VolumeSpec,
};
