//! Keys that are read, checked and shown, and that no engine is told about: each is said, none is dropped in silence.

use super::Notes;
use crate::stack::tree::Node;

/// Below a service; `*` is every entry of a mapping or a list.
const SERVICE: [&str; 53] = [
    "annotations",
    "blkio_config",
    "cgroup",
    "cgroup_parent",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "credential_spec",
    "deploy.endpoint_mode",
    "deploy.labels",
    "deploy.placement",
    "deploy.resources.reservations.cpus",
    "deploy.resources.reservations.devices",
    "deploy.resources.reservations.generic_resources",
    "deploy.rollback_config",
    "deploy.update_config",
    "device_cgroup_rules",
    "external_links",
    "gpus",
    "isolation",
    "links",
    "mac_address",
    "mem_swappiness",
    "models",
    "networks.*.driver_opts",
    "networks.*.gw_priority",
    "networks.*.interface_name",
    "networks.*.link_local_ips",
    "networks.*.mac_address",
    "oom_kill_disable",
    "post_start",
    "pre_stop",
    "provider",
    "pull_refresh_after",
    "runtime",
    "storage_opt",
    "use_api_socket",
    "uts",
    "volumes.*.bind.recursive",
    "volumes.*.consistency",
    "volumes.*.volume.labels",
    "volumes.*.volume.subpath",
    "volumes_from",
    "configs.*.gid",
    "configs.*.mode",
    "configs.*.uid",
    "secrets.*.gid",
    "secrets.*.mode",
    "secrets.*.uid",
    "deploy.mode",
];

/// Below the project.
const PROJECT: [&str; 8] = [
    "networks.*.enable_ipv4",
    "networks.*.ipam.config.*.aux_addresses",
    "networks.*.ipam.driver",
    "models.*",
    "secrets.*.driver",
    "secrets.*.driver_opts",
    "secrets.*.template_driver",
    "configs.*.template_driver",
];

/// What means the same when nothing is said.
const USUAL: [(&str, &str); 4] = [
    ("deploy.mode", "replicated"),
    ("deploy.endpoint_mode", "vip"),
    ("networks.*.ipam.driver", "default"),
    ("networks.*.enable_ipv4", "true"),
];

pub(super) fn service(name: &str, node: &Node, note: Notes<'_>) {
    told(&SERVICE, &format!(" of `{name}`"), node, note);
}

pub(super) fn project(root: &Node, note: Notes<'_>) {
    told(&PROJECT, "", root, note);
}

fn told(paths: &[&str], of: &str, node: &Node, note: Notes<'_>) {
    for path in paths {
        let keys: Vec<&str> = path.split('.').collect();
        visit(node, &keys, &mut |value| {
            let usual = value
                .scalar_text()
                .is_some_and(|text| USUAL.contains(&(path, text.as_str())));
            let empty =
                value.as_map().is_some_and(|map| map.is_empty()) || value.as_list().is_some_and(<[_]>::is_empty);
            if !usual && !empty {
                let key = path.replace(".*", "");
                note(
                    value.at,
                    format!("`{key}`{of} is not given to the engine: arkwright does not carry it yet"),
                );
            }
        });
    }
}

fn visit(node: &Node, keys: &[&str], found: &mut dyn FnMut(&Node)) {
    match keys {
        [] => found(node),
        ["*", rest @ ..] => {
            let entries = node.as_map().into_iter().flatten().map(|(_, entry)| &entry.node);
            for value in entries.chain(node.as_list().unwrap_or_default()) {
                if !value.is_null() {
                    visit(value, rest, found);
                }
            }
        }
        [key, rest @ ..] => {
            if let Some(value) = node.get(key) {
                visit(value, rest, found);
            }
        }
    }
}
