//! Defaults, names and units: the merged project as every later step wants it.

mod environment;
mod omit;
mod units;

pub(super) use omit::zeros;
pub(super) use units::octal;

use std::collections::BTreeSet;

use super::canonical::Base;
use super::error::Fault;
use super::load::Loader;
use super::sources::Stop;
use super::tree::{Data, Map, Node, Pos};

/// Takes the services whose profiles are all off out of the project; the result is a mapping of them.
pub(super) fn split_profiles(root: &mut Node, on: &[String]) -> Node {
    let at = root.at;
    let mut disabled = Map::new();
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        let all = std::mem::take(services);
        for (name, entry) in all {
            let profiles = entry.node.get("profiles").and_then(Node::as_list).unwrap_or_default();
            let wanted = |profile: &Node| on.iter().any(|on| on == "*" || Some(on.as_str()) == profile.as_text());
            let into = if profiles.is_empty() || profiles.iter().any(wanted) {
                &mut *services
            } else {
                &mut disabled
            };
            into.insert(name, entry);
        }
    }
    Node::new(Data::Map(disabled), at)
}

pub(super) fn project(loader: &mut Loader<'_>, root: &mut Node, disabled: &mut Node, base: &Base) -> Result<(), Stop> {
    let at = root.at;
    root.set_default("services", || Node::map(at));
    for (services, enabled) in [(root.get_mut("services"), true), (Some(disabled), false)] {
        for entry in services
            .and_then(Node::as_map_mut)
            .into_iter()
            .flat_map(|services| services.values_mut())
        {
            service(loader, &mut entry.node, enabled, base)?;
        }
    }
    root.set_default("networks", || Node::map(at));
    if let Some(networks) = root.get_mut("networks") {
        networks.set_default("default", || Node::map(at));
    }
    let project = root.get_text("name").unwrap_or_default().to_owned();
    for section in ["networks", "volumes", "secrets", "configs"] {
        let Some(map) = root.get_mut(section).and_then(Node::as_map_mut) else {
            continue;
        };
        for (key, entry) in map {
            let at = entry.key_at;
            if entry.node.is_null() {
                entry.node = Node::map(at);
            }
            let external = entry.node.get("external").and_then(Node::as_bool) == Some(true);
            let name = if external {
                key.clone()
            } else {
                format!("{project}_{key}")
            };
            entry.node.set_default("name", || Node::text(name, at));
        }
    }
    bind_volumes(root, base);
    for entry in root
        .get_mut("networks")
        .and_then(Node::as_map_mut)
        .into_iter()
        .flat_map(|networks| networks.values_mut())
    {
        // Compose reads the options of an address manager and has no use for them.
        if let Some(ipam) = entry.node.get_mut("ipam") {
            ipam.remove("options");
        }
    }
    for (section, always) in [("secrets", true), ("configs", false)] {
        let Some(map) = root.get(section).and_then(Node::as_map) else {
            continue;
        };
        for entry in map.values() {
            if let Some(variable) = entry.node.get_text("environment")
                && let Some(value) = loader.vars.get(variable)
                && (always || super::redact::telling(variable, value))
            {
                loader.secrets.give(value);
            }
        }
    }
    Ok(())
}

/// A `local` volume that is a bind mount has a path of the host in its options.
fn bind_volumes(root: &mut Node, base: &Base) {
    let Some(volumes) = root.get_mut("volumes").and_then(Node::as_map_mut) else {
        return;
    };
    for entry in volumes.values_mut() {
        let local = entry.node.get_text("driver").is_none_or(|driver| driver == "local");
        let Some(options) = entry.node.get_mut("driver_opts").filter(|_| local) else {
            continue;
        };
        let bind = options
            .get_text("o")
            .is_some_and(|o| o.split(',').any(|word| word == "bind" || word == "rbind"));
        if let Some(Node {
            data: Data::Text(device),
            ..
        }) = options.get_mut("device").filter(|_| bind)
        {
            *device = base.resolve(device).to_string_lossy().into_owned();
        }
    }
}

fn service(loader: &mut Loader<'_>, node: &mut Node, enabled: bool, base: &Base) -> Result<(), Stop> {
    let at = node.at;
    environment::resolve(loader, node, enabled)?;
    if node.get("networks").and_then(Node::as_map).is_none_or(Map::is_empty)
        && node.get("network_mode").is_none()
        && node.get("provider").is_none()
    {
        let mut networks = Node::map(at);
        networks.set("default", Node::null(at));
        node.set("networks", networks);
    }
    if let Some(build) = node.get_mut("build") {
        let at = build.at;
        build.set_default("context", || Node::text(base.folder.to_string_lossy(), at));
        if build.get("dockerfile_inline").is_none() {
            build.set_default("dockerfile", || Node::text("Dockerfile", at));
        }
        for key in ["provenance", "sbom"] {
            if let Some(value) = build.get_mut(key)
                && let Some(text) = value.scalar_text()
            {
                value.data = Data::Text(text);
            }
        }
    }
    if let Some(scale) = node.get("scale").cloned()
        && let Some(deploy) = node.get_mut("deploy")
    {
        deploy.set_default("replicas", || scale);
    }
    if node.get_text("pull_policy") == Some("if_not_present") {
        node.set("pull_policy", Node::text("missing", at));
    }
    dependencies(node);
    list(node, "gpus").iter_mut().for_each(device_request);
    if let Some(reservations) = node
        .get_mut("deploy")
        .and_then(|deploy| deploy.get_mut("resources")?.get_mut("reservations"))
    {
        list(reservations, "devices").iter_mut().for_each(device_request);
    }
    for port in list(node, "ports") {
        let at = port.at;
        port.set_default("mode", || Node::text("ingress", at));
        port.set_default("protocol", || Node::text("tcp", at));
        if let Some(published) = port.get_mut("published")
            && let Some(text) = published.scalar_text()
        {
            published.data = Data::Text(text);
        }
    }
    for secret in list(node, "secrets") {
        let at = secret.at;
        if let Some(source) = secret.get_text("source").map(str::to_owned) {
            secret.set_default("target", || Node::text(format!("/run/secrets/{source}"), at));
        }
    }
    extra_hosts(node);
    if let Some(build) = node.get_mut("build") {
        extra_hosts(build);
    }
    Ok(units::service(node)?)
}

/// `count: all` to -1, which is also what is meant when neither a count nor devices are named.
fn device_request(request: &mut Node) {
    let at = request.at;
    let count = match request.get("count").map(|count| &count.data) {
        Some(Data::Text(text)) if text == "all" => Some(-1),
        Some(Data::Text(text)) => text.parse::<i64>().ok(),
        Some(_) => None,
        None => request.get("device_ids").is_none().then_some(-1),
    };
    if let Some(count) = count {
        request.set("count", Node::int(count, at));
    }
}

fn list<'a>(node: &'a mut Node, key: &str) -> &'a mut [Node] {
    node.get_mut(key)
        .and_then(Node::as_list_mut)
        .map_or(&mut [], |items| items)
}

/// `["name=address"]`, as Compose prints them.
fn extra_hosts(node: &mut Node) {
    if let Some(hosts) = node.get_mut("extra_hosts")
        && let Some(map) = hosts.as_map()
    {
        let mut out = Vec::new();
        for (host, entry) in map {
            for address in entry.node.as_list().unwrap_or_default() {
                out.push(Node::text(
                    format!("{host}={}", address.as_text().unwrap_or_default()),
                    address.at,
                ));
            }
        }
        hosts.data = Data::List(out);
    }
}

/// Dependencies that other keys bring along, and the defaults of all.
fn dependencies(node: &mut Node) {
    let mut implied: Vec<(String, Pos, bool)> = Vec::new();
    for link in node.get("links").and_then(Node::as_list).unwrap_or_default() {
        let service = link.as_text().unwrap_or_default().split(':').next().unwrap_or_default();
        implied.push((service.to_owned(), link.at, true));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(mode) = node.get(key)
            && let Some(service) = mode.as_text().and_then(|mode| mode.strip_prefix("service:"))
        {
            implied.push((service.to_owned(), mode.at, true));
        }
    }
    for from in node.get("volumes_from").and_then(Node::as_list).unwrap_or_default() {
        let text = from.as_text().unwrap_or_default();
        if !text.starts_with("container:") {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), from.at, false));
        }
    }
    if !implied.is_empty() {
        let at = node.at;
        node.set_default("depends_on", || Node::map(at));
    }
    let Some(depends) = node.get_mut("depends_on") else {
        return;
    };
    for (service, at, restart) in implied {
        depends.set_default(&service, || {
            let mut dependency = Node::map(at);
            dependency.set("condition", Node::text("service_started", at));
            if restart {
                dependency.set("restart", Node::bool(true, at));
            }
            dependency
        });
    }
    if let Some(map) = depends.as_map_mut() {
        for entry in map.values_mut() {
            let at = entry.key_at;
            entry.node.set_default("required", || Node::bool(true, at));
        }
    }
}

/// Takes out the networks, volumes, secrets and configs that no enabled service uses.
pub(super) fn prune(root: &mut Node) {
    let mut used: [(&str, BTreeSet<String>); 5] = [
        ("networks", BTreeSet::new()),
        ("volumes", BTreeSet::new()),
        ("secrets", BTreeSet::new()),
        ("configs", BTreeSet::new()),
        ("models", BTreeSet::new()),
    ];
    if let Some(services) = root.get("services").and_then(Node::as_map) {
        for entry in services.values() {
            let service = &entry.node;
            if let Some(networks) = service.get("networks").and_then(Node::as_map) {
                used[0].1.extend(networks.keys().cloned());
            }
            let sources = |node: Option<&Node>, key: &str| -> Vec<String> {
                let items = node
                    .and_then(|node| node.get(key))
                    .and_then(Node::as_list)
                    .unwrap_or_default();
                items
                    .iter()
                    .filter(|item| item.get_text("type").is_none_or(|kind| kind == "volume"))
                    .filter_map(|item| item.get_text("source"))
                    .map(str::to_owned)
                    .collect()
            };
            used[1].1.extend(sources(Some(service), "volumes"));
            used[2].1.extend(sources(Some(service), "secrets"));
            used[2].1.extend(sources(service.get("build"), "secrets"));
            used[3].1.extend(sources(Some(service), "configs"));
            if let Some(models) = service.get("models").and_then(Node::as_map) {
                used[4].1.extend(models.keys().cloned());
            }
        }
    }
    for (section, used) in used {
        if let Some(map) = root.get_mut(section).and_then(Node::as_map_mut) {
            map.retain(|name, _| used.contains(name));
            if map.is_empty() {
                root.remove(section);
            }
        }
    }
}

/// A fault at a value, underlining it.
fn bad(node: &Node, message: impl Into<String>) -> Fault {
    let width = node.scalar_text().map_or(1, |text| text.chars().count());
    Fault::new(node.at, message).wide(width)
}
