//! What the keys of a project say about each other.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;
use super::tree::{Entry, Map, Node};

/// Replicas of one service, far beyond what a host runs: a slip of the pen shall not fill it with containers.
pub const MOST_REPLICAS: u32 = 1000;

/// Checks the enabled services and the top-level sections; of several faults the first by place is returned.
pub(super) fn project(root: &Node, disabled: &Node) -> Result<(), Fault> {
    let mut faults = Vec::new();
    let empty = Map::new();
    let services = root.get("services").and_then(Node::as_map).unwrap_or(&empty);
    let scene = Scene {
        root,
        services,
        disabled,
    };
    for (name, entry) in services {
        scene.service(name, entry, &mut faults);
    }
    container_names(services, &mut faults);
    sections(root, &mut faults);
    if let Some(fault) = faults.into_iter().min_by_key(|fault| fault.at) {
        return Err(fault);
    }
    cycle(services)
}

struct Scene<'a> {
    root: &'a Node,
    services: &'a Map,
    disabled: &'a Node,
}

fn quoted(node: &Node, message: String) -> Fault {
    Fault::new(node.at, message).wide(node.scalar_text().map_or(1, |text| text.chars().count()))
}

impl Scene<'_> {
    fn service(&self, name: &str, entry: &Entry, faults: &mut Vec<Fault>) {
        let service = &entry.node;
        let here = |message: String| Fault::new(entry.key_at, message).wide(name.chars().count());
        let has = |key: &str| service.get(key).is_some_and(|node| node.as_text() != Some(""));
        if !has("image") && !has("build") && !has("provider") {
            faults.push(here(format!("service `{name}` has neither `image` nor `build`")).help("give it an image"));
        }
        if let Some(build) = service.get("build") {
            self.build(name, service, build, faults);
        }
        if let Some(mode) = service.get("network_mode") {
            self.network_mode(name, service, mode, faults);
        }
        self.names(name, service.get("networks"), "network", "networks", faults);
        self.names(name, service.get("models"), "model", "models", faults);
        self.depends(name, service, faults);
        self.grants(name, service, "secrets", "secret", faults);
        self.grants(name, service, "configs", "config", faults);
        self.mounts(name, service, faults);
        self.limits(name, service, faults);
        if let Some(test) = service.dig(&["healthcheck", "test"])
            && let Some(first) = test.as_list().and_then(<[Node]>::first)
            && !matches!(first.as_text(), Some("NONE" | "CMD" | "CMD-SHELL"))
        {
            faults.push(
                quoted(
                    first,
                    format!("the health check of `{name}` begins with none of CMD, CMD-SHELL and NONE"),
                )
                .help("write `[CMD, program, argument]`, or the whole command as one text"),
            );
        }
        words(name, service, faults);
        devices(service, faults);
        watches(name, service, faults);
    }

    fn build(&self, name: &str, service: &Node, build: &Node, faults: &mut Vec<Fault>) {
        if let (Some(platform), Some(list)) = (service.get("platform"), build.get("platforms"))
            && let Some(platforms) = list.as_list().filter(|platforms| !platforms.is_empty())
            && let Some(wanted) = platform.as_text().filter(|wanted| !wanted.is_empty())
            && !platforms.iter().any(|item| item.as_text() == Some(wanted))
        {
            let what = format!("`build.platforms` of `{name}` lacks its `platform`, {wanted}");
            faults.push(quoted(platform, what).help("add it to `build.platforms`"));
        }
        for (context, entry) in build
            .get("additional_contexts")
            .and_then(Node::as_map)
            .into_iter()
            .flatten()
        {
            if let Some(other) = entry.node.as_text().and_then(|text| text.strip_prefix("service:"))
                && !self.services.contains_key(other)
                && self.disabled.get(other).is_none()
            {
                let what =
                    format!("the context `{context}` of `{name}` is the service `{other}`, which is not defined");
                let known = self.services.keys().map(String::as_str);
                faults.push(
                    quoted(&entry.node, what)
                        .help("name a service of this project")
                        .nearest(other, known),
                );
            }
        }
        if let (Some(_), Some(inline)) = (build.get("dockerfile"), build.get("dockerfile_inline")) {
            let what = format!("service `{name}` has both `dockerfile` and `dockerfile_inline`");
            faults.push(Fault::new(inline.at, what).help("keep one of them"));
        }
        self.grants(name, build, "secrets", "secret", faults);
    }

    fn network_mode(&self, name: &str, service: &Node, mode: &Node, faults: &mut Vec<Fault>) {
        let text = mode.as_text().unwrap_or_default();
        let networks = service.get("networks").and_then(Node::as_map);
        if !text.is_empty() && networks.is_some_and(|networks| !networks.is_empty()) {
            let what = format!("service `{name}` has both `network_mode` and `networks`");
            faults.push(quoted(mode, what).help("keep one of them; they exclude each other"));
        }
    }

    /// Names of one section that the keys of `node` refer to.
    fn names(&self, name: &str, node: Option<&Node>, what: &str, section: &str, faults: &mut Vec<Fault>) {
        let defined = self.root.get(section).and_then(Node::as_map);
        for (key, entry) in node.and_then(Node::as_map).into_iter().flatten() {
            if defined.is_none_or(|defined| !defined.contains_key(key)) {
                let fault = Fault::new(
                    entry.key_at,
                    format!("service `{name}` uses the {what} `{key}`, which is not defined"),
                );
                let known = defined.into_iter().flat_map(|map| map.keys().map(String::as_str));
                faults.push(
                    fault
                        .wide(key.chars().count())
                        .help(format!("define it: add `{key}:` under `{section}:` at the top level"))
                        .nearest(key, known.filter(|known| *known != "default")),
                );
            }
        }
    }

    fn depends(&self, name: &str, service: &Node, faults: &mut Vec<Fault>) {
        for (on, entry) in service.get("depends_on").and_then(Node::as_map).into_iter().flatten() {
            let required = entry.node.get("required").and_then(Node::as_bool).unwrap_or(true);
            if self.services.contains_key(on) {
                continue;
            }
            let width = on.chars().count();
            if let Some(off) = self.disabled.get(on) {
                if required {
                    let profiles: Vec<&str> = off
                        .get("profiles")
                        .and_then(Node::as_list)
                        .unwrap_or_default()
                        .iter()
                        .filter_map(Node::as_text)
                        .collect();
                    let what = format!(
                        "service `{name}` depends on `{on}`, which is off: its profiles are {}",
                        profiles.join(", ")
                    );
                    let help = format!("turn one on with `--profile`, or write `required: false` for `{on}`");
                    faults.push(Fault::new(entry.key_at, what).wide(width).help(help));
                }
            } else {
                let what = format!("service `{name}` depends on `{on}`, which is not defined");
                let known = self.services.keys().map(String::as_str).filter(|known| *known != name);
                faults.push(
                    Fault::new(entry.key_at, what)
                        .wide(width)
                        .help(format!("add `{on}:` under `services:`"))
                        .nearest(on, known),
                );
            }
        }
    }

    fn grants(&self, name: &str, node: &Node, section: &str, what: &str, faults: &mut Vec<Fault>) {
        let defined = self.root.get(section).and_then(Node::as_map);
        for grant in node.get(section).and_then(Node::as_list).unwrap_or_default() {
            let Some(source) = grant.get("source") else {
                faults.push(
                    Fault::new(grant.at, format!("this {what} lacks `source`")).help("name the one that is meant"),
                );
                continue;
            };
            let key = source.as_text().unwrap_or_default();
            if defined.is_none_or(|defined| !defined.contains_key(key)) {
                let known = defined.into_iter().flat_map(|map| map.keys().map(String::as_str));
                faults.push(
                    quoted(
                        source,
                        format!("service `{name}` uses the {what} `{key}`, which is not defined"),
                    )
                    .help(format!("define it: add `{key}:` under `{section}:` at the top level"))
                    .nearest(key, known),
                );
            }
        }
    }

    fn mounts(&self, name: &str, service: &Node, faults: &mut Vec<Fault>) {
        let defined = self.root.get("volumes").and_then(Node::as_map);
        let mut targets: BTreeSet<&str> = BTreeSet::new();
        for mount in service.get("volumes").and_then(Node::as_list).unwrap_or_default() {
            match mount.get_text("target") {
                Some(target) => {
                    targets.insert(target);
                }
                None => faults.push(
                    Fault::new(mount.at, format!("this mount of `{name}` lacks `target`"))
                        .help("give the path inside the container"),
                ),
            }
            let source = mount.get("source");
            if mount.get_text("type") == Some("bind") && source.is_none() {
                faults.push(
                    Fault::new(mount.at, format!("this bind mount of `{name}` lacks `source`"))
                        .help("give the path on the host"),
                );
            }
            let Some(source) = source.filter(|_| mount.get_text("type") == Some("volume")) else {
                continue;
            };
            let key = source.as_text().unwrap_or_default();
            if !key.is_empty() && defined.is_none_or(|defined| !defined.contains_key(key)) {
                let known = defined.into_iter().flat_map(|map| map.keys().map(String::as_str));
                faults.push(
                    quoted(
                        source,
                        format!("service `{name}` uses the volume `{key}`, which is not defined"),
                    )
                    .help(format!(
                        "add `{key}:` under `volumes:` at the top level; for a folder write `./{key}`"
                    ))
                    .nearest(key, known),
                );
            }
        }
        for tmpfs in service.get("tmpfs").and_then(Node::as_list).unwrap_or_default() {
            let target = tmpfs
                .as_text()
                .unwrap_or_default()
                .split(':')
                .next()
                .unwrap_or_default();
            if !targets.insert(target) {
                faults.push(
                    quoted(tmpfs, format!("`{target}` of `{name}` is mounted twice")).help("keep one of the mounts"),
                );
            }
        }
    }

    /// The same limit given in two places must be the same.
    fn limits(&self, name: &str, service: &Node, faults: &mut Vec<Fault>) {
        const TWINS: [(&str, &str, &str); 4] = [
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ];
        let number = |node: &Node| {
            node.scalar_text()
                .and_then(|text| text.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        for (key, side, twin) in TWINS {
            let Some(here) = service.get(key).filter(|here| number(here) != 0.0) else {
                continue;
            };
            let Some(there) = service.dig(&["deploy", "resources", side]) else {
                continue;
            };
            if there.get(twin).map_or(0.0, number) != number(here) {
                let what = format!("`{key}` of `{name}` and `deploy.resources.{side}.{twin}` differ");
                faults.push(
                    quoted(here, what).help(format!("keep the limit in one place; an absent `{twin}` differs too")),
                );
            }
        }
        let replicas = service.dig(&["deploy", "replicas"]);
        for count in service.get("scale").into_iter().chain(replicas) {
            if number(count) > f64::from(MOST_REPLICAS) {
                let what = format!("service `{name}` has more than {MOST_REPLICAS} replicas");
                faults.push(quoted(count, what).help("a single host runs no more of one service; correct the number"));
            }
        }
        if let (Some(scale), Some(replicas)) = (service.get("scale"), replicas)
            && number(scale) != number(replicas)
        {
            let what = format!("`scale` of `{name}` and `deploy.replicas` differ");
            faults.push(quoted(scale, what).help("keep one of them"));
        }
        if let Some(count) = service.get("scale").or(replicas)
            && number(count) > 1.0
            && let Some(container) = service.get("container_name")
        {
            let what = format!("service `{name}` has a `container_name` and more than one replica");
            faults.push(quoted(container, what).help("remove `container_name`: two containers cannot share it"));
        }
    }
}

/// Keys whose text has a form.
fn words(name: &str, service: &Node, faults: &mut Vec<Fault>) {
    const POLICIES: [&str; 8] = [
        "always",
        "never",
        "build",
        "if_not_present",
        "missing",
        "refresh",
        "daily",
        "weekly",
    ];
    if let Some(policy) = service.get("pull_policy")
        && let Some(text) = policy.as_text()
        && !text.is_empty()
        && !every(text)
        && !POLICIES.iter().any(|known| text.contains(known))
    {
        faults.push(
            quoted(policy, format!("`{text}` is not a pull policy"))
                .help("use always, missing, never, build, daily, weekly or every_12h")
                .nearest(text, POLICIES),
        );
    }
    if let Some(container) = service.get("container_name")
        && let Some(text) = container.as_text().filter(|text| !text.is_empty())
    {
        let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let good = |pair: &[u8]| pair[0].is_ascii_alphanumeric() && inner(&pair[1]);
        if !text.as_bytes().windows(2).any(good) {
            let what = format!("`{text}` cannot be the `container_name` of `{name}`");
            faults.push(quoted(container, what).help("use at least two letters, digits, `_`, `.` or `-`"));
        }
    }
}

/// `every_12h`, `every_1w2d`.
fn every(text: &str) -> bool {
    text.match_indices("every_").any(|(at, word)| {
        let rest = &text[at + word.len()..];
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        number.len() < rest.len() && number.starts_with(['w', 'd', 'h', 'm', 's'])
    })
}

/// Device requests name a count or the devices, never both.
fn devices(service: &Node, faults: &mut Vec<Fault>) {
    let reserved = service.dig(&["deploy", "resources", "reservations", "devices"]);
    for request in [reserved, service.get("gpus")]
        .into_iter()
        .flatten()
        .filter_map(Node::as_list)
        .flatten()
    {
        let Some(count) = request.get("count") else { continue };
        if let Some(ids) = request.get("device_ids") {
            // A count of -1 stands where neither was given.
            faults.push(
                Fault::new(ids.at, "a device request has both `count` and `device_ids`").help("keep one of them"),
            );
        } else if let Some(text) = count.as_text() {
            faults.push(quoted(count, format!("`{text}` is no count of devices")).help("write a number, or `all`"));
        }
    }
}

fn watches(name: &str, service: &Node, faults: &mut Vec<Fault>) {
    for watch in service
        .dig(&["develop", "watch"])
        .and_then(Node::as_list)
        .unwrap_or_default()
    {
        let action = watch.get("action").and_then(Node::as_text).unwrap_or_default();
        if action.starts_with("sync") && watch.get("target").is_none() {
            let what = format!("a watch of `{name}` with the action `{action}` lacks `target`");
            faults.push(Fault::new(watch.at, what).help("give the path inside the container"));
        }
    }
}

fn container_names(services: &Map, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, entry) in services {
        if let Some(container) = entry.node.get("container_name")
            && let Some(text) = container.as_text().filter(|text| !text.is_empty())
            && let Some(other) = seen.insert(text, name)
        {
            let what = format!("services `{other}` and `{name}` have the same `container_name`");
            faults.push(quoted(container, what).help("give each its own"));
        }
    }
}

fn sections(root: &Node, faults: &mut Vec<Fault>) {
    let each = |section: &str| root.get(section).and_then(Node::as_map).into_iter().flatten();
    for (name, Entry { key_at, node }) in each("volumes") {
        if node.get("external").is_some()
            && let Some((key, extra)) = node.as_map().and_then(|map| {
                map.iter()
                    .find(|(key, _)| *key != "external" && *key != "name" && !key.starts_with("x-"))
            })
        {
            let what = format!("the volume `{name}` is external, so `{key}` means nothing");
            faults.push(
                Fault::new(extra.key_at.max(*key_at), what)
                    .wide(key.chars().count())
                    .help(format!("remove `{key}`")),
            );
        }
    }
    for (section, what, sources) in [
        ("secrets", "secret", &["file", "environment"][..]),
        ("configs", "config", &["file", "environment", "content"]),
    ] {
        for (name, Entry { key_at, node }) in each(section) {
            let given = sources.iter().filter(|key| node.get(key).is_some()).count();
            let elsewhere = node.get("external").is_some();
            let list = sources
                .iter()
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let message = match given {
                0 if !elsewhere => format!("the {what} `{name}` has no source"),
                0 | 1 => continue,
                _ => format!("the {what} `{name}` has more than one source"),
            };
            faults.push(
                Fault::new(*key_at, message)
                    .wide(name.chars().count())
                    .help(format!("give exactly one of {list}")),
            );
        }
    }
}

/// Finds a circle of dependencies by taking away, again and again, what depends on nothing that is left.
fn cycle(services: &Map) -> Result<(), Fault> {
    let empty = Map::new();
    let on = |name: &str| {
        services
            .get(name)
            .and_then(|entry| entry.node.get("depends_on")?.as_map())
            .unwrap_or(&empty)
    };
    let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in services.keys() {
        let needs: Vec<&str> = on(name)
            .keys()
            .map(String::as_str)
            .filter(|need| services.contains_key(*need))
            .collect();
        waiting.insert(name, needs.len());
        for need in needs {
            needed_by.entry(need).or_default().push(name);
        }
    }
    let mut free: Vec<&str> = waiting
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(name, _)| *name)
        .collect();
    while let Some(name) = free.pop() {
        waiting.remove(name);
        for dependent in needed_by.get(name).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(dependent) {
                *count -= 1;
                if *count == 0 {
                    free.push(dependent);
                }
            }
        }
    }
    let Some(start) = waiting.keys().next().copied() else {
        return Ok(());
    };
    // Every service left needs another one left: following them must come back to one already seen.
    let mut chain = vec![start];
    let mut places = BTreeMap::from([(start, 0)]);
    while let Some(last) = chain.last().copied() {
        let Some((next, entry)) = on(last).iter().find(|(need, _)| waiting.contains_key(need.as_str())) else {
            break;
        };
        if let Some(from) = places.get(next.as_str()) {
            let mut circle: Vec<&str> = chain[*from..].to_vec();
            circle.push(next);
            let what = format!("services depend on each other in a circle: {}", circle.join(" → "));
            return Err(Fault::new(entry.key_at, what)
                .wide(next.chars().count())
                .help("remove one of these dependencies"));
        }
        places.insert(next, chain.len());
        chain.push(next);
    }
    Ok(())
}
