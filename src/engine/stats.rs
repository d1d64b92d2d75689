//! What a container uses, measured between two samples of our own: Podman gives no sample before the newest, and Docker's
//! is a second old.

use std::time::Duration;

use serde_json::Value;

use crate::model::{ContainerId, Timestamp};
use crate::ports::{EngineError, Stats};

use super::bollard::Bollard;
use super::error::refused;
use super::lenient;
use super::limits;
use super::wire;

/// Ten times the period in which the kernel hands out a limited share of processors.
const BETWEEN: Duration = Duration::from_secs(1);
/// Microseconds of that period where the engine does not say.
const USUAL_PERIOD: i64 = 100_000;

/// A container's counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    at: Option<Timestamp>,
    /// Nanoseconds of processors since the container began; `None` where the engine writes 0.
    cpu: Option<u64>,
    memory: Option<u64>,
}

impl Bollard {
    pub(super) async fn measure(&self, id: &ContainerId) -> Result<Stats, EngineError> {
        let gone = || EngineError::NotFound {
            what: format!("container {id}"),
        };
        let inspected = self.inspection(id.as_str()).await?.ok_or_else(gone)?;
        let what = format!(
            "the figures of {}",
            lenient::text(&inspected, "/Name").trim_start_matches('/')
        );
        if !lenient::container(&inspected).is_some_and(|container| container.running()) {
            return Err(refused(&what, "it does not run".into()));
        }
        let before = self.sample(id).await?.ok_or_else(gone)?;
        tokio::time::sleep(BETWEEN).await;
        let after = self.sample(id).await?.ok_or_else(gone)?;
        // Podman's figure holds the cache of files too, and does not say how much of it there is.
        let cache = match self.podman() {
            true => kernels_cache(&inspected).await,
            false => 0,
        };
        Ok(Stats {
            cpu: share(before, after, processors(&inspected, self.info.cpus)),
            memory: after.memory.map(|used| used.saturating_sub(cache)),
            memory_limit: lenient::number(&inspected, "/HostConfig/Memory")
                .and_then(|limit| u64::try_from(limit).ok())
                .filter(|limit| *limit > 0),
        })
    }

    async fn sample(&self, id: &ContainerId) -> Result<Option<Sample>, EngineError> {
        let id = wire::escape(id.as_str());
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        Ok(self.get(&path, limits::READ).await?.as_ref().map(sample))
    }
}

fn sample(stats: &Value) -> Sample {
    Sample {
        at: lenient::time(stats, "/read"),
        cpu: stats
            .pointer("/cpu_stats/cpu_usage/total_usage")
            .and_then(Value::as_u64)
            .filter(|nanos| *nanos > 0),
        memory: lenient::memory_use(stats),
    }
}

/// `None` where time stood still, or where a counter is missing or went back, as it does when the container is restarted.
fn share(before: Sample, after: Sample, processors: f64) -> Option<f64> {
    let used = after.cpu?.checked_sub(before.cpu?)?;
    let passed = (after.at? - before.at?).num_nanoseconds().filter(|nanos| *nanos > 0)?;
    Some(used as f64 / passed as f64 / processors)
}

/// How many processors the container may use at once: the tightest of its quota, the processors it is bound to, and
/// those there are.
fn processors(inspected: &Value, all: u32) -> f64 {
    let number = |key: &str| lenient::number(inspected, &format!("/HostConfig/{key}")).filter(|n| *n > 0);
    let quota = match (number("NanoCpus"), number("CpuQuota")) {
        (Some(nanos), _) => Some(nanos as f64 / 1e9),
        (None, Some(quota)) => Some(quota as f64 / number("CpuPeriod").unwrap_or(USUAL_PERIOD) as f64),
        (None, None) => None,
    };
    let bound = bound_to(lenient::text(inspected, "/HostConfig/CpusetCpus")).map(f64::from);
    [quota, bound]
        .into_iter()
        .flatten()
        .fold(f64::from(all.max(1)), f64::min)
}

/// How many processors `0-2,4` names.
fn bound_to(set: &str) -> Option<u32> {
    let mut count = 0u32;
    for part in set.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count).filter(|count| *count > 0)
}

/// Bytes of files a container has read and the kernel would give back, from the kernel itself; 0 where that is not this
/// machine's, which leaves the figure too high rather than too low.
async fn kernels_cache(inspected: &Value) -> u64 {
    let (id, pid) = (
        lenient::text(inspected, "/Id"),
        lenient::number(inspected, "/State/Pid"),
    );
    let Some(pid) = pid.filter(|pid| *pid > 0) else {
        return 0;
    };
    let Ok(groups) = tokio::fs::read_to_string(format!("/proc/{pid}/cgroup")).await else {
        return 0;
    };
    let Some((folder, key)) = memory_group(&groups, id) else {
        return 0;
    };
    let stat = tokio::fs::read_to_string(format!("{folder}/memory.stat")).await;
    stat.ok().and_then(|stat| figure(&stat, key)).unwrap_or(0)
}

/// The folder of the container's own memory group, and its word for the cache; `None` where the process is another's.
fn memory_group(groups: &str, id: &str) -> Option<(String, &'static str)> {
    let path = |controller: &str| {
        let line = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|one| one == controller).then_some(path)
        });
        line.filter(|path| !id.is_empty() && path.contains(id) && !path.contains(".."))
    };
    match path("memory") {
        Some(path) => Some((format!("/sys/fs/cgroup/memory{path}"), "total_inactive_file")),
        None => path("").map(|path| (format!("/sys/fs/cgroup{path}"), "inactive_file")),
    }
}

fn figure(stat: &str, key: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64, cpu: u64) -> Sample {
        sample(&json!({
            "read": format!("2026-01-01T00:00:{second:02}.5Z"),
            "cpu_stats": { "cpu_usage": { "total_usage": cpu } },
            "memory_stats": { "usage": 1000 },
        }))
    }

    #[test]
    fn a_share_is_of_the_processors_the_container_may_use() {
        let (before, after) = (at(1, 500_000_000), at(3, 1_500_000_000));
        assert_eq!(share(before, after, 0.5), Some(1.0));
        assert_eq!(share(before, after, 2.0), Some(0.25));
        assert_eq!(share(before, at(3, 500_000_000), 2.0), Some(0.0), "idle is a figure");
    }

    #[test]
    fn what_was_not_measured_is_no_nought() {
        for (before, after, why) in [
            (at(1, 5), at(1, 6), "no time passed"),
            (at(3, 5), at(1, 6), "the clock went back"),
            (at(1, 6), at(3, 5), "the container began anew"),
            (at(1, 0), at(3, 5), "a counter of nothing"),
            (at(1, 0), at(3, 0), "counters of nothing"),
            (sample(&json!({})), at(3, 5), "an empty answer"),
            (sample(&json!({ "read": 5, "cpu_stats": [] })), at(3, 5), "garbage"),
        ] {
            assert_eq!(share(before, after, 1.0), None, "{why}");
        }
    }

    #[test]
    fn the_tightest_limit_counts() {
        let of = |host: Value| processors(&json!({ "HostConfig": host }), 4);
        assert_eq!(of(json!({})), 4.0);
        assert_eq!(of(json!({ "NanoCpus": 500_000_000, "CpuQuota": 0 })), 0.5);
        assert_eq!(of(json!({ "NanoCpus": 0, "CpuQuota": 150_000, "CpuPeriod": 0 })), 1.5);
        assert_eq!(of(json!({ "CpuQuota": 50_000, "CpuPeriod": 200_000 })), 0.25);
        assert_eq!(of(json!({ "CpusetCpus": "0-1,3" })), 3.0);
        assert_eq!(of(json!({ "NanoCpus": 9_000_000_000_i64, "CpusetCpus": "1" })), 1.0);
        assert_eq!(
            of(json!({ "NanoCpus": 9_000_000_000_i64, "CpusetCpus": "4294967295,0-4294967295" })),
            4.0
        );
        assert_eq!(of(json!({ "CpusetCpus": "3-1" })), 4.0);
    }

    #[test]
    fn the_kernels_figure_is_of_this_container_alone() {
        let one = "9:name=systemd:/a/libpod-abc\n4:memory:/a/libpod-abc\n0::/a/libpod-abc\n";
        let folder = "/sys/fs/cgroup/memory/a/libpod-abc".to_owned();
        assert_eq!(memory_group(one, "abc"), Some((folder, "total_inactive_file")));
        let two = "0::/machine.slice/libpod-abc.scope\n";
        let folder = "/sys/fs/cgroup/machine.slice/libpod-abc.scope".to_owned();
        assert_eq!(memory_group(two, "abc"), Some((folder, "inactive_file")));
        for (groups, id) in [
            (one, "other"),
            (one, ""),
            ("", "abc"),
            ("0::/../abc", "abc"),
            ("garbage", "abc"),
        ] {
            assert_eq!(memory_group(groups, id), None, "{groups:?} {id}");
        }
        let stat = "inactive_file_x 1\ninactive_file 4096\ntotal_inactive_file 8192\n";
        assert_eq!(figure(stat, "inactive_file"), Some(4096));
        assert_eq!(figure(stat, "total_inactive_file"), Some(8192));
        assert_eq!(figure("inactive_file much", "inactive_file"), None);
    }
}
