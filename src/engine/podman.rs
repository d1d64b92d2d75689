//! What Podman needs that Docker does not.

use std::time::Duration;

use chrono::Utc;

use crate::model::ContainerId;
use crate::ports::EngineError;
use crate::stack::Ulimit;

use super::bollard::Bollard;
use super::error::refused;
use super::lenient;
use super::limits;
use super::wire;

/// Podman of root raises a container's limits to its built-in defaults, which fails in a machine without
/// CAP_SYS_RESOURCE; it wants both of these, one alone fails too.
pub(super) const LIMITS: [(&str, Ulimit); 2] = [
    (
        "nofile",
        Ulimit {
            soft: 10_000,
            hard: 20_000,
        },
    ),
    (
        "nproc",
        Ulimit {
            soft: 10_000,
            hard: 10_000,
        },
    ),
];

/// The number of CAP_SYS_RESOURCE in a capability set.
const SYS_RESOURCE: u32 = 24;

const CHECK_EVERY: Duration = Duration::from_secs(30);
const CHECK_AT_MOST: Duration = Duration::from_secs(30);

/// Whether this process is root and yet may not raise limits: then the Podman beside it may not either. A process that
/// is not root cannot tell, and nothing is assumed.
pub(super) fn lacks_sys_resource() -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => root_without_sys_resource(&status),
        // No such file: no Linux, where the question does not arise.
        Err(_) => false,
    }
}

fn root_without_sys_resource(status: &str) -> bool {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let root = field("Uid:").and_then(|ids| ids.split_whitespace().nth(1)) == Some("0");
    let effective = field("CapEff:").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    root && effective.is_some_and(|set| set >> SYS_RESOURCE & 1 == 0)
}

/// Podman before 4.7 takes `host-gateway` for a host name.
pub(super) fn knows_host_gateway(version: &str) -> bool {
    at_least(version, (4, 7))
}

/// Podman before 4.4 gives a container the servers of `dns` in place of its network's own; since then that one hands
/// on to them what it does not know.
pub(super) fn passes_dns_on(version: &str) -> bool {
    at_least(version, (4, 4))
}

fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= wanted
}

impl Bollard {
    /// Podman runs health checks by systemd timers, so without systemd never. Runs the check when its interval has
    /// passed since the last one, whoever ran that: calling this often does not use up the retries faster.
    pub(super) async fn run_check(&self, id: &ContainerId) -> Result<(), EngineError> {
        if !self.podman() {
            return Ok(());
        }
        let path = format!("/containers/{}/json", wire::escape(id.as_str()));
        let Some(inspected) = self.get(&path, limits::READ).await? else {
            return Err(EngineError::NotFound {
                what: format!("container {id}"),
            });
        };
        let unchecked =
            lenient::container(&inspected).is_none_or(|c| c.health == crate::model::Health::Unchecked || !c.running());
        let (every, at_most) = lenient::check_timing(&inspected);
        let every = every.map_or(CHECK_EVERY, Duration::from_nanos);
        let recent = lenient::last_check(&inspected)
            .and_then(|last| (Utc::now() - last).to_std().ok())
            .is_some_and(|age| age < every);
        if unchecked || recent {
            return Ok(());
        }
        let limit = at_most.map_or(CHECK_AT_MOST, Duration::from_nanos) + limits::READ;
        let path = format!("/v4.0.0/libpod/containers/{}/healthcheck", wire::escape(id.as_str()));
        match wire::get(&self.address, &path, limit).await? {
            Ok(_) => Ok(()),
            // The container may have stopped in between; then there is nothing to check.
            Err(message) => match self.inspect_container(id.as_str()).await? {
                Some(container) if container.running() => Err(refused(&format!("the health check of {id}"), message)),
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_without_the_capability_needs_limits_spelled_out() {
        let status = |uid: &str, set: &str| format!("Name:\tx\nUid:\t0\t{uid}\t0\t0\nCapEff:\t{set}\n");
        assert!(root_without_sys_resource(&status("0", "000001fffeffffff")));
        assert!(!root_without_sys_resource(&status("0", "000001ffffffffff")));
        assert!(!root_without_sys_resource(&status("1000", "0000000000000000")));
        assert!(!root_without_sys_resource("nonsense"));
    }

    #[test]
    fn host_gateway_is_known_from_4_7_on() {
        for (version, knows) in [
            ("4.3.1", false),
            ("4.7.0", true),
            ("5.0", true),
            ("", false),
            ("4", false),
        ] {
            assert_eq!(knows_host_gateway(version), knows, "{version}");
        }
    }
}
