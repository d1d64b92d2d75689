use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::model::Span;
use crate::ports::{PageRequest, Web, WebError};
use crate::release::Look;

/// The newest answers whose times are kept.
const TIMED: usize = 1_000;

/// Requests of our own to one release, for as long as this is kept.
pub struct Probing {
    pub probes: Arc<Mutex<Probes>>,
    _sending: AbortOnDropHandle<()>,
}

impl Probing {
    pub fn begin(prober: Prober, every: Span, probes: Arc<Mutex<Probes>>) -> Self {
        let counted = probes.clone();
        let sending = tokio::spawn(async move { prober.keep_on(every, &counted).await });
        Probing {
            probes,
            _sending: AbortOnDropHandle::new(sending),
        }
    }

    /// What they say, and what there is to tell of them.
    pub fn look(&self, failures: u32) -> (Look, String) {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let slow = probes
            .quantile(0.95)
            .map(|time| format!(", p95 {}", time.human()))
            .unwrap_or_default();
        let said = format!("{} answered, {} failed{slow}", probes.answered, probes.failed);
        (probes.look(failures), said)
    }
}

/// Sends requests of our own through the router to the colour that is reached by the preview header.
pub struct Prober {
    web: Arc<dyn Web>,
    request: PageRequest,
}

/// What one request of our own came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Probed {
    Answered(Duration),
    Failed(String),
    /// The router itself cannot be reached, which says nothing of the colour.
    Unknown(String),
}

/// The requests of our own so far, apart from everybody else's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    pub answered: u64,
    pub failed: u64,
    /// Since the newest one that was answered well.
    pub in_a_row: u32,
    newest: Option<Probed>,
    times: VecDeque<Duration>,
    /// When the newest ended, and whether badly.
    ended: VecDeque<(Instant, bool)>,
}

impl Prober {
    /// `router` is where it listens for the service; `path` is asked with GET, and 2xx and 3xx are good answers.
    pub fn new(web: Arc<dyn Web>, router: SocketAddr, path: &str, preview: (String, String), limit: Duration) -> Self {
        let slash = if path.starts_with('/') { "" } else { "/" };
        Prober {
            web,
            request: PageRequest {
                url: format!("http://{router}{slash}{path}"),
                headers: vec![preview],
                limit,
            },
        }
    }

    pub async fn probe(&self) -> Probed {
        let began = Instant::now();
        match self.web.get(&self.request).await {
            Ok(page) if (200..400).contains(&page.status) => Probed::Answered(began.elapsed()),
            Ok(page) => Probed::Failed(format!("it answered {}", page.status)),
            Err(error @ (WebError::Late { .. } | WebError::Broken { .. } | WebError::TooLarge { .. })) => {
                Probed::Failed(error.to_string())
            }
            Err(error) => Probed::Unknown(error.to_string()),
        }
    }

    /// Sends one every so long, for as long as it is polled.
    pub async fn keep_on(&self, every: Span, probes: &Mutex<Probes>) -> ! {
        let mut ticks = interval(every.std().max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let probed = self.probe().await;
            match probes.lock() {
                Ok(mut probes) => probes.count(probed),
                Err(broken) => broken.into_inner().count(probed),
            }
        }
    }
}

impl Probes {
    pub fn count(&mut self, probed: Probed) {
        if !matches!(probed, Probed::Unknown(_)) {
            let failed = matches!(probed, Probed::Failed(_));
            self.ended.push_back((Instant::now(), failed));
            if self.ended.len() > TIMED {
                self.ended.pop_front();
            }
        }
        match &probed {
            Probed::Answered(took) => {
                self.answered += 1;
                self.in_a_row = 0;
                self.times.push_back(*took);
                if self.times.len() > TIMED {
                    self.times.pop_front();
                }
            }
            Probed::Failed(_) => {
                self.failed += 1;
                self.in_a_row = self.in_a_row.saturating_add(1);
            }
            Probed::Unknown(_) => {}
        }
        self.newest = Some(probed);
    }

    /// How many ended in the last so long, and how many of them badly.
    pub fn within(&self, span: Span) -> (u64, u64) {
        let ended = self.ended.iter().rev().take_while(|(at, _)| at.elapsed() <= span.std());
        ended.fold((0, 0), |(all, failed), (_, bad)| (all + 1, failed + u64::from(*bad)))
    }

    /// No, once so many in a row have failed.
    pub fn look(&self, failures: u32) -> Look {
        match &self.newest {
            None => Look::Unknown("no request of our own was sent yet".into()),
            Some(Probed::Unknown(why)) => Look::Unknown(why.clone()),
            Some(Probed::Failed(why)) if self.in_a_row >= failures => Look::Decided(Err(format!(
                "{} of our own requests in a row failed, the newest: {why}",
                self.in_a_row
            ))),
            Some(_) => Look::Decided(Ok(())),
        }
    }

    /// The time within which this share of the newest answers came: 0.95.
    pub fn quantile(&self, share: f64) -> Option<Span> {
        let mut times: Vec<Duration> = self.times.iter().copied().collect();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let rank = (times.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
        times
            .get(rank.saturating_sub(1).min(last))
            .map(|time| Span::from(*time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_decide_and_a_router_that_is_away_does_not() {
        let mut probes = Probes::default();
        assert!(matches!(probes.look(2), Look::Unknown(_)));
        probes.count(Probed::Answered(Duration::from_millis(5)));
        probes.count(Probed::Failed("it answered 503".into()));
        assert_eq!(probes.look(2), Look::Decided(Ok(())));
        probes.count(Probed::Unknown("no router".into()));
        assert_eq!(probes.look(2), Look::Unknown("no router".into()));
        probes.count(Probed::Failed("it answered 502".into()));
        let why = "2 of our own requests in a row failed, the newest: it answered 502".to_owned();
        assert_eq!(probes.look(2), Look::Decided(Err(why)));
        probes.count(Probed::Answered(Duration::from_millis(7)));
        assert_eq!(probes.look(2), Look::Decided(Ok(())));
        assert_eq!((probes.answered, probes.failed, probes.in_a_row), (2, 2, 0));
        assert_eq!(probes.within(Span::seconds(60)), (4, 2));
    }

    #[test]
    fn times_are_of_the_newest_answers_alone() {
        let mut probes = Probes::default();
        assert_eq!(probes.quantile(0.5), None);
        for millis in 1..=2_000 {
            probes.count(Probed::Answered(Duration::from_millis(millis)));
        }
        assert_eq!(probes.times.len(), TIMED);
        let quantiles = [0.0, 0.5, 0.95, 1.0].map(|share| probes.quantile(share));
        assert_eq!(
            quantiles,
            [1001, 1500, 1950, 2000].map(|millis| Some(Span::millis(millis)))
        );
    }
}
