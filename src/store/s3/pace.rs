use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Keeps what is sent to a number of bytes a second, on the average of some requests.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u64,
    /// When what was sent so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(rate: u64) -> Self {
        Pace {
            rate: rate.max(1),
            paid: Mutex::new(None),
        }
    }

    /// Waits for the bytes before to be paid for, and takes these.
    pub(super) async fn take(&self, bytes: usize) {
        let start = {
            let mut paid = self.paid.lock().await;
            let start = paid.unwrap_or_else(Instant::now).max(Instant::now());
            *paid = Some(start + Duration::from_secs_f64(bytes as f64 / self.rate as f64));
            start
        };
        sleep_until(start).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_much_goes_out_as_is_allowed() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        for _ in 0..11 {
            pace.take(500).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((4.99..5.02).contains(&took), "{took}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.take(500).await;
        assert!(
            start.elapsed().as_secs_f64() < 0.01,
            "nothing is saved up, and nothing owed"
        );
        pace.take(500).await;
        assert!(start.elapsed().as_secs_f64() > 0.49);
    }
}
