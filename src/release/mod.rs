//! Moving a service to a new image: the words of a release, its plans, and what is known of past ones.
//!
//! Side by side (`swap: overlap`): make the new colour, prove it healthy, shift requests to it by steps, keep the old
//! colour warm. In place (`swap: hold`): requests wait at the router while one process replaces the other. Several
//! services can be one release: their plans are made one by one and put together.

mod describe;
mod finding;
mod gate;
mod in_place;
mod past;
mod permit;
mod planning;
mod prune;
mod started;
mod step;
mod strikes;
mod subject;
mod subjects;
mod together;
mod window;

pub use describe::describe;
pub use finding::Finding;
pub use gate::{Judged, Look, Reading, Verdict, judge, seen, unit};
pub use in_place::{in_place, made_of, plain, plain_of};
pub use past::{Past, Warm, digest_fetched, due, moved, moving, past, serving};
pub use permit::{Override, Permit};
pub use planning::{Ask, PlanError, always, deploy, image_of, of_colour, retire, rollback, rollback_at_once};
pub use prune::{Holdings, Listed, Pruning, Removal, Stay, fetched};
pub use started::Started;
pub use step::{ReleaseStep, Version};
pub use strikes::Strikes;
pub use subject::{Goal, Image, Limits, Subject, keep_repository, short_id};
pub use subjects::{Subjects, SubjectsError, Unchanged, finished_of};
pub use together::together;
pub use window::{Change, Window};
#[cfg(test)]
mod tests;
