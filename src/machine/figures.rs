use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::ports::Host;

use super::ThisHost;

impl Host for ThisHost {
    fn disk_free(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn memory_free(&self) -> io::Result<u64> {
        let text = fs::read_to_string("/proc/meminfo")?;
        let available = memory_available(&text);
        let available = available.ok_or_else(|| io::Error::other("/proc/meminfo does not say what is available"))?;
        Ok(available.min(memory_allowed(Path::new("/sys/fs/cgroup"))))
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let mut found: BTreeSet<IpAddr> = local_ipv4(&fs::read_to_string("/proc/net/fib_trie")?)
            .into_iter()
            .map(IpAddr::V4)
            .collect();
        match fs::read_to_string("/proc/net/if_inet6") {
            Ok(text) => found.extend(local_ipv6(&text).into_iter().map(IpAddr::V6)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(found.into_iter().filter(|address| !address.is_loopback()).collect())
    }
}

fn memory_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What the limit of the topmost control group that is seen from here leaves: of a machine that is a container itself,
/// its own, under which the engine's containers are too. No limit where none is readable.
fn memory_allowed(cgroups: &Path) -> u64 {
    // Version 2, then version 1.
    let v2 = (cgroups.to_path_buf(), "memory.max", "memory.current", "inactive_file");
    let v1 = (
        cgroups.join("memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    );
    let left = [v2, v1].into_iter().filter_map(|(folder, limit, usage, cache)| {
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let (limit, used) = (number(limit)?, number(usage)?);
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let cache = stat
            .lines()
            .find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok());
        // What the kernel drops when it needs to is free.
        Some(limit.saturating_sub(used.saturating_sub(cache.unwrap_or(0))))
    });
    left.min().unwrap_or(u64::MAX)
}

/// The kernel's routing trie names an address on one line and what it is on a following one.
fn local_ipv4(text: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(last);
        }
    }
    found
}

fn local_ipv6(text: &str) -> Vec<Ipv6Addr> {
    let digits = text.lines().filter_map(|line| line.split_whitespace().next());
    digits
        .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
        .map(Ipv6Addr::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.1.2.3\n        \
                    /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(
            local_ipv4(trie),
            [Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(127, 0, 0, 1)]
        );
        let inet6 = "fe800000000000000042acfffe110002 03 40 20 80 eth0\nnonsense\n";
        assert_eq!(
            local_ipv6(inet6),
            ["fe80::42:acff:fe11:2".parse::<Ipv6Addr>().expect("an address")]
        );
        assert_eq!(
            memory_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(memory_available("MemAvailable: many"), None);
    }

    #[test]
    fn a_control_group_leaves_its_limit_without_what_is_used_for_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        assert_eq!(memory_allowed(folder.path()), u64::MAX, "nothing says so");
        write("memory/memory.limit_in_bytes", "1000\n");
        write("memory/memory.usage_in_bytes", "700\n");
        write("memory/memory.stat", "cache 1\ntotal_inactive_file 200\n");
        assert_eq!(memory_allowed(folder.path()), 500);
        write("memory.max", "max\n");
        write("memory.current", "1\n");
        assert_eq!(memory_allowed(folder.path()), 500, "`max` is no limit");
        write("memory.max", "300\n");
        write("memory.current", "400\n");
        assert_eq!(memory_allowed(folder.path()), 0);
    }

    #[test]
    fn this_machine_has_room_and_an_address_is_no_loopback() {
        assert!(ThisHost.disk_free(Path::new("/")).expect("figures") > 0);
        assert!(ThisHost.memory_free().expect("figures") > 0);
        assert!(ThisHost.addresses().expect("a list").iter().all(|a| !a.is_loopback()));
    }
}
