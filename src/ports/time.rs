use crate::model::Timestamp;

/// The wall clock. Sleeping is tokio's, so that tests can run hours in milliseconds.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    fn fill(&self, bytes: &mut [u8]);
}
