//! Request counters and a latency histogram in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 8.0];

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What one process counts about the requests it answered.
#[derive(Debug, Default)]
pub struct Metrics {
    by_status: Mutex<BTreeMap<u16, u64>>,
    buckets: [AtomicU64; BOUNDS.len()],
    observed: AtomicU64,
    nanos: AtomicU64,
    /// WebSockets open right now.
    pub sockets: AtomicI64,
}

impl Metrics {
    /// Counts one answered request.
    pub fn observe(&self, status: u16, took: Duration) {
        *self
            .by_status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(status)
            .or_default() += 1;
        let seconds = took.as_secs_f64();
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            if seconds <= *bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.observed.fetch_add(1, Ordering::Relaxed);
        self.nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The families every stand-in has; `extra` adds its own with [`sample`] and [`family`].
    pub fn render(&self, version: &str, extra: impl FnOnce(&mut String)) -> String {
        let mut text = String::with_capacity(2048);
        family(&mut text, "app_info", "gauge", "Version of the running program.");
        sample(&mut text, "app_info", &[("version", version)], 1.0);
        family(
            &mut text,
            "http_requests_total",
            "counter",
            "Requests answered, by status.",
        );
        for (status, count) in &*self.by_status.lock().unwrap_or_else(PoisonError::into_inner) {
            sample(
                &mut text,
                "http_requests_total",
                &[("code", &status.to_string())],
                *count as f64,
            );
        }
        let name = "http_request_duration_seconds";
        family(&mut text, name, "histogram", "Time to answer a request.");
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            let count = bucket.load(Ordering::Relaxed) as f64;
            sample(
                &mut text,
                &format!("{name}_bucket"),
                &[("le", &bound.to_string())],
                count,
            );
        }
        let observed = self.observed.load(Ordering::Relaxed) as f64;
        sample(&mut text, &format!("{name}_bucket"), &[("le", "+Inf")], observed);
        sample(
            &mut text,
            &format!("{name}_sum"),
            &[],
            self.nanos.load(Ordering::Relaxed) as f64 / 1e9,
        );
        sample(&mut text, &format!("{name}_count"), &[], observed);
        family(
            &mut text,
            "websockets_active",
            "gauge",
            "WebSocket connections open now.",
        );
        sample(
            &mut text,
            "websockets_active",
            &[],
            self.sockets.load(Ordering::Relaxed) as f64,
        );
        extra(&mut text);
        text
    }
}

/// Opens a metric family.
pub fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a string cannot fail");
}

/// One sample line; label values are escaped.
pub fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    for (index, (key, label)) in labels.iter().enumerate() {
        let escaped = label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let open = if index == 0 { '{' } else { ',' };
        write!(text, "{open}{key}=\"{escaped}\"").expect("writing to a string cannot fail");
    }
    if !labels.is_empty() {
        text.push('}');
    }
    writeln!(text, " {value}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_labels_escaped() {
        let metrics = Metrics::default();
        metrics.observe(200, Duration::from_millis(3));
        metrics.observe(500, Duration::from_secs(60));
        let text = metrics.render("1.0\"\n", |text| sample(text, "files", &[], 7.0));
        for line in [
            r#"app_info{version="1.0\"\n"} 1"#,
            r#"http_requests_total{code="200"} 1"#,
            r#"http_requests_total{code="500"} 1"#,
            r#"http_request_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"http_request_duration_seconds_bucket{le="0.005"} 1"#,
            r#"http_request_duration_seconds_bucket{le="8"} 1"#,
            r#"http_request_duration_seconds_bucket{le="+Inf"} 2"#,
            "http_request_duration_seconds_sum 60.003",
            "files 7",
        ] {
            assert!(text.lines().any(|have| have == line), "missing {line}\n{text}");
        }
    }
}
