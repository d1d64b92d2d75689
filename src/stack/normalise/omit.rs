//! Keys whose value says nothing: `false` where that is what absence means, and zero where it means no limit.

use super::list;
use crate::stack::tree::{Data, Map, Node};

const SERVICE: [&str; 21] = [
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "oom_kill_disable",
    "oom_score_adj",
    "pids_limit",
    "privileged",
    "read_only",
    "shm_size",
    "stdin_open",
    "tty",
    "use_api_socket",
];

/// Takes out what Compose does not print: the project means the same without it.
pub(in crate::stack) fn zeros(root: &mut Node) {
    for service in values(root, "services") {
        quiet(service, &SERVICE);
        below(service, "healthcheck", &["disable"]);
        below(service, "build", &["no_cache", "pull", "privileged", "shm_size"]);
        for port in list(service, "ports") {
            quiet(port, &["target"]);
        }
        for mount in list(service, "volumes") {
            quiet(mount, &["read_only"]);
            below(mount, "volume", &["nocopy"]);
            below(mount, "tmpfs", &["size", "mode"]);
        }
        for hook in ["post_start", "pre_stop"] {
            list(service, hook)
                .iter_mut()
                .for_each(|hook| quiet(hook, &["privileged"]));
        }
        for attachment in values(service, "networks") {
            quiet(attachment, &["priority", "gw_priority"]);
        }
        for dependency in values(service, "depends_on") {
            quiet(dependency, &["restart"]);
        }
        if let Some(develop) = service.get_mut("develop") {
            list(develop, "watch")
                .iter_mut()
                .for_each(|watch| quiet(watch, &["initial_sync"]));
        }
        if let Some(deploy) = service.get_mut("deploy") {
            for config in ["update_config", "rollback_config"] {
                below(deploy, config, &["delay", "monitor", "max_failure_ratio"]);
            }
            below(deploy, "placement", &["max_replicas_per_node"]);
            if let Some(resources) = deploy.get_mut("resources") {
                below(resources, "limits", &["cpus", "memory", "pids"]);
                below(resources, "reservations", &["cpus", "memory"]);
            }
        }
    }
    for network in values(root, "networks") {
        quiet(network, &["internal", "attachable", "external"]);
    }
}

fn values<'a>(node: &'a mut Node, key: &str) -> impl Iterator<Item = &'a mut Node> {
    let map = node.get_mut(key).and_then(Node::as_map_mut);
    map.into_iter().flat_map(Map::values_mut).map(|entry| &mut entry.node)
}

fn below(node: &mut Node, key: &str, keys: &[&str]) {
    if let Some(inner) = node.get_mut(key) {
        quiet(inner, keys);
    }
}

fn quiet(node: &mut Node, keys: &[&str]) {
    for key in keys {
        let says_nothing = match node.get(key).map(|value| &value.data) {
            Some(Data::Bool(value)) => !value,
            Some(Data::Int(value)) => *value == 0,
            Some(Data::Float(value)) => *value == 0.0,
            Some(Data::Text(value)) => value == "0" || value == "0s",
            _ => false,
        };
        if says_nothing {
            node.remove(key);
        }
    }
}
