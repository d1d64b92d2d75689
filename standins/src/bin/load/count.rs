//! What was counted, and the report printed at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counted by one worker.
#[derive(Debug, Default)]
pub struct Count {
    pub connections: u64,
    statuses: BTreeMap<u16, u64>,
    versions: BTreeMap<String, u64>,
    lost: BTreeMap<String, u64>,
    /// Time to the end of each answer, in microseconds.
    micros: Vec<u32>,
}

/// Counted over all WebSockets.
#[derive(Debug, Default)]
pub struct SocketCount {
    pub opened: AtomicU64,
    pub refused: AtomicU64,
    pub cut: AtomicU64,
    pub echoes: AtomicU64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub requests: u64,
    pub lost: u64,
    pub lost_by_reason: BTreeMap<String, u64>,
    pub by_status: BTreeMap<u16, u64>,
    /// By `X-App-Version`; answers without it are under `none`.
    pub by_version: BTreeMap<String, u64>,
    pub latency_ms: Latency,
    pub seconds: f64,
    pub requests_per_second: f64,
    pub connections_opened: u64,
    pub websockets: Sockets,
}

#[derive(Debug, Serialize, PartialEq)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Debug, Serialize)]
pub struct Sockets {
    pub opened: u64,
    /// Attempts to open one that failed.
    pub refused: u64,
    /// Ended by the other side while still wanted.
    pub cut: u64,
    pub echoes: u64,
}

impl Count {
    pub fn answered(&mut self, status: u16, version: Option<String>, took: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        *self
            .versions
            .entry(version.unwrap_or_else(|| "none".to_owned()))
            .or_default() += 1;
        self.micros.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn lost(&mut self, why: String) {
        *self.lost.entry(why).or_default() += 1;
    }

    pub fn merge(&mut self, other: Self) {
        fn add<K: Ord>(into: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
            for (key, count) in from {
                *into.entry(key).or_default() += count;
            }
        }
        self.connections += other.connections;
        add(&mut self.statuses, other.statuses);
        add(&mut self.versions, other.versions);
        add(&mut self.lost, other.lost);
        self.micros.extend(other.micros);
    }

    pub fn report(mut self, took: Duration, sockets: &SocketCount) -> Report {
        self.micros.sort_unstable();
        let lost = self.lost.values().sum();
        // An answer with a wrong status is both answered and lost; a broken connection is only lost.
        let unanswered: u64 = self
            .lost
            .iter()
            .filter(|(why, _)| !why.starts_with("status "))
            .map(|(_, count)| count)
            .sum();
        let requests = self.micros.len() as u64 + unanswered;
        Report {
            requests,
            lost,
            latency_ms: latency(&self.micros),
            seconds: round(took.as_secs_f64()),
            requests_per_second: round(requests as f64 / took.as_secs_f64().max(0.001)),
            connections_opened: self.connections,
            lost_by_reason: self.lost,
            by_status: self.statuses,
            by_version: self.versions,
            websockets: Sockets {
                opened: sockets.opened.load(Ordering::Relaxed),
                refused: sockets.refused.load(Ordering::Relaxed),
                cut: sockets.cut.load(Ordering::Relaxed),
                echoes: sockets.echoes.load(Ordering::Relaxed),
            },
        }
    }
}

/// Nearest-rank percentiles of sorted microseconds, in milliseconds.
fn latency(sorted: &[u32]) -> Latency {
    let at = |share: f64| {
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted
            .get(rank.saturating_sub(1))
            .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    };
    Latency {
        p50: at(0.50),
        p95: at(0.95),
        p99: at(0.99),
        max: at(1.0),
    }
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let sorted: Vec<u32> = (1..=100).map(|number| number * 1000).collect();
        assert_eq!(
            latency(&sorted),
            Latency {
                p50: 50.0,
                p95: 95.0,
                p99: 99.0,
                max: 100.0
            }
        );
        assert_eq!(
            latency(&[7000]),
            Latency {
                p50: 7.0,
                p95: 7.0,
                p99: 7.0,
                max: 7.0
            }
        );
        assert_eq!(
            latency(&[]),
            Latency {
                p50: 0.0,
                p95: 0.0,
                p99: 0.0,
                max: 0.0
            }
        );
    }

    #[test]
    fn a_request_is_counted_once_whatever_became_of_it() {
        let mut count = Count::default();
        count.answered(200, Some("1.0".to_owned()), Duration::from_millis(1));
        count.answered(500, None, Duration::from_millis(1));
        count.lost("status 500".to_owned());
        let mut other = Count::default();
        other.lost("timeout".to_owned());
        count.merge(other);
        let report = count.report(Duration::from_secs(1), &SocketCount::default());
        assert_eq!((report.requests, report.lost), (3, 2));
        assert_eq!(
            report.by_version,
            BTreeMap::from([("1.0".to_owned(), 1), ("none".to_owned(), 1)])
        );
    }
}
