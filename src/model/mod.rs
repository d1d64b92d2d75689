//! The nouns every other room uses: names, identifiers, digests, colours, health, quantities.

mod chain;
mod colour;
mod digest;
mod figure;
mod health;
mod id;
mod instant;
mod login;
mod name;
mod percent;
mod reference;
mod size;
mod span;

pub use chain::chain;
pub use colour::Colour;
pub use digest::{Digest, NotADigest};
pub use figure::{Figure, NotAFigure, Unit};
pub use health::Health;
pub use id::{ContainerId, Generation, NotAnId, OperationId, SegmentId};
pub use instant::{instant_of_seconds, parse_instant};
pub use login::{Login, Logins, Secret};
pub use name::{NotAName, ProjectName, ServiceName};
pub use percent::{NotAPercent, Percent};
pub use reference::{NotAReference, Reference};
pub use size::{NotASize, Size};
pub use span::{NotASpan, Span};

/// An instant in UTC; always an argument, never read inside a decision.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
