//! The one place where edges are built and handed to `run/`.

use std::time::SystemTime;

use crate::model::Timestamp;
use crate::ports::{Clock, Entropy};

/// The host's own clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// The kernel's random bytes.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // The kernel's generator does not fail once it is seeded, which it is long before this runs.
        getrandom::fill(bytes).expect("the kernel has no random bytes");
    }
}
