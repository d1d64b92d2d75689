//! The emergency: a page, what is in place saved, an earlier state of the data put in place, a version that worked, proof.
//!
//! ```text
//! page on ▸ save ▸ restore beside ▸ stop ▸ put in place ─┬▸ deploy ▸ start the others ▸ prove ▸ page off ▸ notify
//!   └──────── a failure before here takes it all back ───┘   after it only forward, behind the page
//! ```

mod step;
mod subject;

pub use step::{EmergencyStep, Found};
pub use subject::{Chosen, Place, Stopped, Subject, Users, saved_set};
