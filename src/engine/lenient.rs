//! The engines' answers read field by field: what is missing, `null` or of another type is as if it were not there, so
//! one odd field never costs a list.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

use crate::model::{ContainerId, Health, Timestamp};
use crate::plan::{Container, ContainerState, Endpoint, ObservedNetwork, ObservedVolume};
use crate::ports::{AnonymousVolume, ImageInfo, ImageSummary};

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(value: &Value, pointer: &str) -> Option<i64> {
    let found = value.pointer(pointer)?;
    found.as_i64().or_else(|| found.as_f64().map(|n| n as i64))
}

pub(super) fn strings(value: &Value, pointer: &str) -> Vec<String> {
    match value.pointer(pointer) {
        Some(Value::Array(items)) => items.iter().filter_map(|i| i.as_str().map(str::to_owned)).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

pub(super) fn labels(value: &Value, pointer: &str) -> BTreeMap<String, String> {
    let entries = value.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

pub(super) fn time(value: &Value, pointer: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text(value, pointer))
        .ok()
        .map(|at| at.with_timezone(&Utc))
        // Both engines write year 1 for "never".
        .filter(|at| at.year() > 1)
}

/// `sha256:` before 64 hex digits, which Podman's own API leaves out.
pub(super) fn image_id(id: &str) -> String {
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        format!("sha256:{id}")
    } else {
        id.to_owned()
    }
}

pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// From `GET /containers/{id}/json`; `None` when it names no container.
pub(super) fn container(inspected: &Value) -> Option<Container> {
    let id = text(inspected, "/Id");
    if id.is_empty() {
        return None;
    }
    let state = state(
        text(inspected, "/State/Status"),
        inspected.pointer("/State/Running").and_then(Value::as_bool),
    );
    let networks = inspected
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, endpoint)| (name.clone(), self::endpoint(endpoint)))
        .collect();
    Some(Container {
        id: ContainerId::new(id),
        name: text(inspected, "/Name").trim_start_matches('/').to_owned(),
        image: text(inspected, "/Config/Image").to_owned(),
        image_id: image_id(text(inspected, "/Image")),
        state,
        exit_code: matches!(state, ContainerState::Exited | ContainerState::Dead)
            .then(|| number(inspected, "/State/ExitCode"))
            .flatten(),
        health: health(inspected, state),
        labels: labels(inspected, "/Config/Labels"),
        created: time(inspected, "/Created"),
        started: time(inspected, "/State/StartedAt"),
        networks,
        ports: ports(inspected),
        restart_count: number(inspected, "/RestartCount").unwrap_or(0),
        oom_killed: inspected
            .pointer("/State/OOMKilled")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

fn state(word: &str, running: Option<bool>) -> ContainerState {
    match word {
        "created" | "configured" | "initialized" => ContainerState::Created,
        "running" | "stopping" => ContainerState::Running,
        "paused" => ContainerState::Paused,
        "restarting" => ContainerState::Restarting,
        "exited" | "stopped" => ContainerState::Exited,
        "removing" => ContainerState::Removing,
        "dead" => ContainerState::Dead,
        _ if running == Some(true) => ContainerState::Running,
        _ => ContainerState::Exited,
    }
}

fn health(inspected: &Value, state: ContainerState) -> Health {
    let test = strings(inspected, "/Config/Healthcheck/Test");
    if matches!(test.first().map(String::as_str), None | Some("NONE" | "")) {
        return Health::Unchecked;
    }
    let status = match text(inspected, "/State/Health/Status") {
        "" => text(inspected, "/State/Healthcheck/Status"),
        status => status,
    };
    match status {
        "healthy" => Health::Healthy,
        "unhealthy" => Health::Unhealthy,
        // Docker says `none` for a container whose check is off.
        "none" if state == ContainerState::Running => Health::Unchecked,
        _ => Health::Starting,
    }
}

/// From `GET /containers/{id}/stats`; nothing is what both engines say of a container that does not run.
pub(super) fn memory_use(stats: &Value) -> Option<u64> {
    let bytes = |pointer| number(stats, pointer).and_then(|n| u64::try_from(n).ok());
    let used = bytes("/memory_stats/usage").filter(|used| *used > 0)?;
    let cache = bytes("/memory_stats/stats/total_inactive_file").or_else(|| bytes("/memory_stats/stats/inactive_file"));
    Some(used.saturating_sub(cache.unwrap_or(0)))
}

/// When the newest health check of this run of the container ended.
pub(super) fn last_check(inspected: &Value) -> Option<Timestamp> {
    let log = inspected.pointer("/State/Health/Log")?;
    let started = time(inspected, "/State/StartedAt");
    let newest = items(log).iter().filter_map(|entry| time(entry, "/End")).max()?;
    Some(newest).filter(|end| started.is_none_or(|started| *end >= started))
}

/// Nanoseconds between checks and the most one may take, where said.
pub(super) fn check_timing(inspected: &Value) -> (Option<u64>, Option<u64>) {
    let positive = |pointer| {
        number(inspected, pointer)
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0)
    };
    (
        positive("/Config/Healthcheck/Interval"),
        positive("/Config/Healthcheck/Timeout"),
    )
}

/// Seconds of grace the container was created with; `None` where the answer does not say (Podman writes 0).
pub(super) fn stop_timeout(inspected: &Value) -> Option<u64> {
    number(inspected, "/Config/StopTimeout")
        .and_then(|n| u64::try_from(n).ok())
        .filter(|n| *n > 0)
}

/// The engines name such volumes by 64 hexadecimal digits.
pub(super) fn anonymous_volumes(inspected: &Value) -> Vec<AnonymousVolume> {
    let mounts = inspected.pointer("/Mounts").map(items).unwrap_or_default();
    let volumes = mounts.iter().filter(|mount| text(mount, "/Type") == "volume");
    volumes
        .map(|mount| AnonymousVolume {
            name: text(mount, "/Name").to_owned(),
            target: text(mount, "/Destination").to_owned(),
        })
        .filter(|volume| volume.name.len() == 64 && volume.name.bytes().all(|b| b.is_ascii_hexdigit()))
        .collect()
}

fn endpoint(value: &Value) -> Endpoint {
    let address = |pointer| text(value, pointer).parse::<IpAddr>().ok();
    Endpoint {
        network_id: text(value, "/NetworkID").to_owned(),
        ip: address("/IPAddress").or_else(|| address("/GlobalIPv6Address")),
        aliases: strings(value, "/Aliases"),
    }
}

fn ports(inspected: &Value) -> Vec<String> {
    let bindings = inspected.pointer("/NetworkSettings/Ports").and_then(Value::as_object);
    let mut ports: Vec<String> = bindings
        .into_iter()
        .flatten()
        .flat_map(|(port, hosts)| {
            items(hosts).iter().map(move |host| {
                let ip = match text(host, "/HostIp") {
                    "" => "0.0.0.0".to_owned(),
                    ip if ip.contains(':') => format!("[{ip}]"),
                    ip => ip.to_owned(),
                };
                format!("{ip}:{}->{port}", text(host, "/HostPort"))
            })
        })
        .collect();
    ports.sort();
    ports.dedup();
    ports
}

/// From a list's entry or an inspection; `None` when it has no name.
pub(super) fn network(value: &Value) -> Option<ObservedNetwork> {
    let name = text(value, "/Name");
    if name.is_empty() {
        return None;
    }
    let pools = value.pointer("/IPAM/Config").map_or(&[][..], items);
    Some(ObservedNetwork {
        id: text(value, "/Id").to_owned(),
        name: name.to_owned(),
        driver: text(value, "/Driver").to_owned(),
        internal: value.pointer("/Internal").and_then(Value::as_bool).unwrap_or(false),
        labels: labels(value, "/Labels"),
        subnets: pools
            .iter()
            .map(|pool| text(pool, "/Subnet").to_owned())
            .filter(|subnet| !subnet.is_empty())
            .collect(),
        gateway: pools.iter().find_map(|pool| text(pool, "/Gateway").parse().ok()),
    })
}

pub(super) fn volume(value: &Value) -> Option<ObservedVolume> {
    let name = text(value, "/Name");
    (!name.is_empty()).then(|| ObservedVolume {
        name: name.to_owned(),
        driver: text(value, "/Driver").to_owned(),
        labels: labels(value, "/Labels"),
    })
}

/// Where the files of a volume lie. A volume that is a mount of something else (NFS, tmpfs) has its files here only
/// while a container uses it, so nothing is said of it; a bind of a folder is that folder.
pub(super) fn volume_path(value: &Value) -> Option<std::path::PathBuf> {
    if text(value, "/Driver") != "local" {
        return None;
    }
    let option = |key: &str| text(value, &format!("/Options/{key}"));
    let path = match (option("type"), option("device")) {
        ("", "") => text(value, "/Mountpoint"),
        (_, device) if option("o").split(',').any(|o| o == "bind" || o == "rbind") => device,
        _ => "",
    };
    path.starts_with('/').then(|| path.into())
}

pub(super) fn image(value: &Value) -> Option<ImageInfo> {
    let id = image_id(text(value, "/Id"));
    if id.is_empty() {
        return None;
    }
    let test = strings(value, "/Config/Healthcheck/Test");
    let exposed = value.pointer("/Config/ExposedPorts").and_then(Value::as_object);
    Some(ImageInfo {
        id,
        repo_digests: strings(value, "/RepoDigests"),
        repo_tags: strings(value, "/RepoTags"),
        architecture: architecture(text(value, "/Architecture")),
        size: number(value, "/Size").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        command: strings(value, "/Config/Cmd"),
        entrypoint: strings(value, "/Config/Entrypoint"),
        user: text(value, "/Config/User").to_owned(),
        has_healthcheck: !matches!(test.first().map(String::as_str), None | Some("NONE" | "")),
        exposed: exposed.into_iter().flatten().map(|(port, _)| port.clone()).collect(),
        labels: labels(value, "/Config/Labels"),
    })
}

/// From an entry of `GET /images/json`; Docker writes `<none>` for a name that is not there.
pub(super) fn image_summary(value: &Value) -> Option<ImageSummary> {
    let id = image_id(text(value, "/Id"));
    let named = |pointer| {
        let names = strings(value, pointer).into_iter();
        names
            .filter(|name| !name.is_empty() && !name.contains("<none>"))
            .collect()
    };
    (!id.is_empty()).then(|| ImageSummary {
        id,
        repo_tags: named("/RepoTags"),
        repo_digests: named("/RepoDigests"),
        created: number(value, "/Created").and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        size: number(value, "/Size").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
    })
}

/// The image's id and the container's name, from an entry of `GET /containers/json`.
pub(super) fn use_of_image(value: &Value) -> Option<(String, String)> {
    let id = image_id(text(value, "/ImageID"));
    let name = strings(value, "/Names").into_iter().next().unwrap_or_default();
    (!id.is_empty()).then(|| (id, name.trim_start_matches('/').to_owned()))
}

/// As image manifests name it: `amd64`, `arm64`.
pub(super) fn architecture(word: &str) -> String {
    match word {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn podmans_words_fold_into_ours() {
        let stopped = json!({ "Id": "ab", "Name": "/x", "Image": "f".repeat(64),
            "State": { "Status": "stopped", "ExitCode": 137 } });
        let container = container(&stopped).expect("a container");
        assert_eq!(container.state, ContainerState::Exited);
        assert_eq!(container.exit_code, Some(137));
        assert_eq!(container.health, Health::Unchecked);
        assert_eq!(container.image_id, format!("sha256:{}", "f".repeat(64)));
    }

    #[test]
    fn ports_and_endpoints_are_read_as_a_person_writes_them() {
        let value = json!({ "Id": "ab", "State": { "Status": "running" }, "NetworkSettings": {
            "Ports": { "80/tcp": [{ "HostIp": "", "HostPort": "8080" }, { "HostIp": "::", "HostPort": "8080" }], "9/udp": null },
            "Networks": { "n": { "IPAddress": "10.0.0.2", "Aliases": null }, "m": { "IPAddress": "" } } } });
        let container = container(&value).expect("a container");
        assert_eq!(container.ports, ["0.0.0.0:8080->80/tcp", "[::]:8080->80/tcp"]);
        assert_eq!(container.networks["n"].ip, Some(IpAddr::from([10, 0, 0, 2])));
        assert_eq!(container.networks["m"], Endpoint::default());
    }

    #[test]
    fn a_check_of_an_earlier_run_does_not_count() {
        let inspected = |end: &str| json!({ "State": { "StartedAt": "2026-01-01T00:00:10Z", "Health": { "Log": [{ "End": end }] } } });
        assert!(last_check(&inspected("2026-01-01T00:00:05Z")).is_none());
        assert!(last_check(&inspected("2026-01-01T00:00:15+00:00")).is_some());
    }

    #[test]
    fn memory_in_use_leaves_out_the_cache_of_files() {
        let stats = |stats: Value| memory_use(&json!({ "memory_stats": { "usage": 1000, "stats": stats } }));
        assert_eq!(stats(json!({ "inactive_file": 300 })), Some(700));
        assert_eq!(stats(json!({ "total_inactive_file": 400 })), Some(600));
        assert_eq!(stats(json!(null)), Some(1000));
        assert_eq!(memory_use(&json!({ "memory_stats": {} })), None);
        assert_eq!(memory_use(&json!({ "memory_stats": { "usage": -1 } })), None);
    }

    #[test]
    fn a_volume_that_mounts_something_else_has_no_path_here() {
        let of =
            |options: Value| volume_path(&json!({ "Driver": "local", "Mountpoint": "/v/_data", "Options": options }));
        assert_eq!(of(json!(null)), Some("/v/_data".into()));
        assert_eq!(
            of(json!({ "type": "none", "o": "bind", "device": "/srv/x" })),
            Some("/srv/x".into())
        );
        assert_eq!(
            of(json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/x" })),
            None
        );
    }

    #[test]
    fn an_image_without_a_name_has_none() {
        let value = json!({ "Id": "f".repeat(64), "RepoTags": ["<none>:<none>"], "RepoDigests": ["r/a@sha256:00"],
            "Created": 1_700_000_000, "Size": 7 });
        let image = image_summary(&value).expect("an image");
        assert_eq!((image.repo_tags.len(), image.size), (0, 7));
        assert_eq!(image.repo_digests, ["r/a@sha256:00"]);
        assert!(image.created.is_some());
        let used = json!({ "ImageID": "f".repeat(64), "Names": ["/web"] });
        assert_eq!(
            use_of_image(&used),
            Some((format!("sha256:{}", "f".repeat(64)), "web".into()))
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        let keys = prop_oneof![
            Just("Id"),
            Just("Name"),
            Just("State"),
            Just("Status"),
            Just("Health"),
            Just("Log"),
            Just("End"),
            Just("Config"),
            Just("Labels"),
            Just("Healthcheck"),
            Just("Test"),
            Just("NetworkSettings"),
            Just("Networks"),
            Just("Ports"),
            Just("IPAM"),
            Just("Options"),
            Just("Driver"),
            Just("RepoTags"),
            Just("RepoDigests"),
            Just("ImageID"),
            Just("Names"),
            Just("Created"),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(keys.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(value in any_json()) {
            prop_assert!(container(&value).is_none_or(|c| !c.id.as_str().is_empty()));
            prop_assert!(network(&value).is_none_or(|n| !n.name.is_empty()));
            prop_assert!(volume(&value).is_none_or(|v| !v.name.is_empty()));
            prop_assert!(image(&value).is_none_or(|i| !i.id.is_empty()));
            prop_assert!(image_summary(&value).is_none_or(|i| !i.id.is_empty()));
            prop_assert!(use_of_image(&value).is_none_or(|(id, _)| !id.is_empty()));
            prop_assert!(volume_path(&value).is_none_or(|p| p.is_absolute()));
            prop_assert!(check_timing(&value).0 != Some(0) && stop_timeout(&value) != Some(0));
            prop_assert!(memory_use(&value) != Some(u64::MAX));
            prop_assert!(last_check(&value).is_none_or(|at| at.year() > 1));
        }
    }
}
