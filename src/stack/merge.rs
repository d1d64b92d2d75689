//! One file laid over another, in long forms.

use std::collections::HashMap;

use super::error::Fault;
use super::tree::{Data, Entry, Map, Mark, Node};

/// Lays `over` on `base`: mappings by key, lists one after the other, the rest replaced.
///
/// `!reset` removes what is below it, `!override` replaces it whole. `path` is where both stand in the project, such as
/// `["services", "app"]`; some places have rules of their own.
pub(super) fn merge(base: &mut Node, mut over: Node, path: &mut Vec<String>) -> Result<(), Fault> {
    match over.mark {
        Mark::Reset => {
            base.data = Data::Null;
            return Ok(());
        }
        Mark::Override => {
            settle(&mut over);
            *base = over;
            return Ok(());
        }
        Mark::Plain => {}
    }
    let rule = rule(path);
    if rule == Rule::Replace || base.is_null() || (rule == Rule::Logging && other_driver(base, &over)) {
        settle(&mut over);
        *base = over;
        return Ok(());
    }
    match (&mut base.data, over.data) {
        (_, Data::Null) => Ok(()),
        (Data::Map(map), Data::Map(over)) => merge_maps(map, over, path),
        (Data::List(items), Data::List(over)) => {
            items.extend(
                over.into_iter()
                    .filter(|item| item.mark != Mark::Reset)
                    .map(|mut item| {
                        settle(&mut item);
                        item
                    }),
            );
            Ok(())
        }
        (Data::Map(_) | Data::List(_), data) if rule != Rule::Any => {
            let kind = Node::new(data, over.at).kind();
            let help = "use the same form in both files, or tag the value `!override`";
            Err(Fault::new(
                over.at,
                format!("{kind} cannot be laid over {} at `{}`", base.kind(), path.join(".")),
            )
            .help(help))
        }
        (_, data) => {
            *base = Node::new(data, over.at);
            settle(base);
            Ok(())
        }
    }
}

fn merge_maps(map: &mut Map, over: Map, path: &mut Vec<String>) -> Result<(), Fault> {
    for (key, mut entry) in over {
        if entry.node.mark == Mark::Reset {
            map.remove(&key);
            continue;
        }
        match map.get_mut(&key) {
            Some(base) if !key.starts_with("x-") => {
                path.push(key);
                merge(&mut base.node, entry.node, path)?;
                path.pop();
            }
            _ => {
                settle(&mut entry.node);
                map.insert(key, entry);
            }
        }
    }
    Ok(())
}

/// Takes what no other file is below: `!reset` values vanish, other marks are forgotten.
pub(super) fn settle(node: &mut Node) {
    node.mark = Mark::Plain;
    match &mut node.data {
        Data::Map(map) => {
            map.retain(|_, entry| entry.node.mark != Mark::Reset);
            map.values_mut().for_each(|Entry { node, .. }| settle(node));
        }
        Data::List(items) => {
            items.retain(|item| item.mark != Mark::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Deep,
    /// The later value whole, also when it is null.
    Replace,
    /// Options are merged only within one driver.
    Logging,
    /// As `Deep`, but a value of another kind replaces.
    Any,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "environment", _] | ["services", _, "build", "args", _] => Rule::Replace,
        ["services", _, "logging"] => Rule::Logging,
        ["services", _, "ulimits", _] | ["services", _, "build", "ulimits", _] => Rule::Any,
        ["services", _, "networks" | "depends_on" | "models", _] => Rule::Any,
        _ => Rule::Deep,
    }
}

fn other_driver(base: &Node, over: &Node) -> bool {
    matches!((base.get_text("driver"), over.get_text("driver")), (Some(base), Some(over)) if base != over)
}

/// Removes what later entries of a list say again: of two mounts with one target the later stays, and so on.
pub(super) fn dedupe(root: &mut Node) {
    if let Some(networks) = root.get_mut("networks").and_then(Node::as_map_mut) {
        for network in networks.values_mut() {
            if let Some(config) = network.node.get_mut("ipam").and_then(|ipam| ipam.get_mut("config")) {
                unique(config, |item| text(item, "subnet"));
            }
        }
    }
    let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) else {
        return;
    };
    for service in services.values_mut() {
        dedupe_service(&mut service.node);
    }
}

fn dedupe_service(service: &mut Node) {
    const PLAIN: [&str; 8] = [
        "cap_add",
        "cap_drop",
        "dns",
        "dns_opt",
        "dns_search",
        "expose",
        "links",
        "profiles",
    ];
    let mut by = |key: &str, index: fn(&Node) -> Option<String>| {
        if let Some(list) = service.get_mut(key) {
            unique(list, index);
        }
    };
    for key in PLAIN {
        by(key, Node::scalar_text);
    }
    by("tmpfs", |item| Some(item.as_text()?.split('=').next()?.to_owned()));
    by("volumes", |item| text(item, "target"));
    by("devices", |item| text(item, "target").or_else(|| text(item, "source")));
    by("env_file", |item| text(item, "path"));
    by("secrets", |item| {
        text(item, "target").or_else(|| Some(format!("/run/secrets/{}", text(item, "source")?)))
    });
    by("configs", |item| {
        text(item, "target").or_else(|| Some(format!("/{}", text(item, "source")?)))
    });
    by("ports", |item| {
        let part = |key: &str, default: &str| text(item, key).unwrap_or_else(|| default.to_owned());
        // Compose does not see that 80 and "80" are one host port.
        let number = item
            .get("published")
            .is_some_and(|published| published.as_text().is_none());
        Some(format!(
            "{}:{}{}:{}/{}",
            part("host_ip", "0.0.0.0"),
            if number { "#" } else { "" },
            part("published", ""),
            part("target", ""),
            part("protocol", "tcp")
        ))
    });
    if let Some(networks) = service.get_mut("networks").and_then(Node::as_map_mut) {
        for attachment in networks.values_mut() {
            for key in ["aliases", "link_local_ips"] {
                if let Some(list) = attachment.node.get_mut(key) {
                    unique(list, Node::scalar_text);
                }
            }
        }
    }
    if let Some(tags) = service.get_mut("build").and_then(|build| build.get_mut("tags")) {
        unique(tags, |tag| Some(tag.as_text()?.split('=').next()?.to_owned()));
    }
    if let Some(hosts) = service.get_mut("extra_hosts").and_then(Node::as_map_mut) {
        hosts
            .values_mut()
            .for_each(|entry| unique(&mut entry.node, Node::scalar_text));
    }
}

fn text(item: &Node, key: &str) -> Option<String> {
    item.get(key)?.scalar_text()
}

/// Entries without a key are all kept.
fn unique(list: &mut Node, index: impl Fn(&Node) -> Option<String>) {
    let Some(items) = list.as_list_mut() else { return };
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut out: Vec<Node> = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        match index(&item) {
            Some(key) => match seen.get(&key) {
                Some(at) => out[*at] = item,
                None => {
                    seen.insert(key, out.len());
                    out.push(item);
                }
            },
            None => out.push(item),
        }
    }
    *items = out;
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::stack::canonical::{self, Base};
    use crate::stack::yaml;

    fn merged(base: &str, over: &str) -> Result<Value, String> {
        let read = |text: &str| {
            let mut node = yaml::parse(&format!("services: {{app: {{{text}}}}}"), 0)
                .unwrap()
                .pop()
                .unwrap();
            let base = Base {
                folder: "/p".into(),
                home: None,
            };
            canonical::project(&mut node, &base, &mut |_, _| ()).unwrap();
            node
        };
        let mut root = read(base);
        settle(&mut root);
        merge(&mut root, read(over), &mut Vec::new()).map_err(|fault| fault.message)?;
        dedupe(&mut root);
        Ok(root.to_json()["services"]["app"].take())
    }

    #[test]
    fn each_field_has_its_rule() {
        for (base, over, result) in [
            ("command: a b", "command: c", json!({"command": ["c"]})),
            ("command: a", "command: null", json!({"command": null})),
            (
                "environment: [A=1, B=1]",
                "environment: {B: 2, C: }",
                json!({"environment": {"A": "1", "B": "2", "C": null}}),
            ),
            (
                "labels: {a: 1}",
                "labels: [b=2]",
                json!({"labels": {"a": "1", "b": "2"}}),
            ),
            (
                "dns: 1.1.1.1",
                "dns: [8.8.8.8, 1.1.1.1]",
                json!({"dns": ["1.1.1.1", "8.8.8.8"]}),
            ),
            ("image: a", "image: b", json!({"image": "b"})),
            ("image: a", "image: null", json!({"image": "a"})),
            (
                "ulimits: {nofile: 1}",
                "ulimits: {nofile: {soft: 1, hard: 2}}",
                json!({"ulimits": {"nofile": {"soft": 1, "hard": 2}}}),
            ),
            (
                "logging: {driver: a, options: {x: 1}}",
                "logging: {driver: b}",
                json!({"logging": {"driver": "b"}}),
            ),
            (
                "logging: {driver: a, options: {x: 1}}",
                "logging: {options: {y: 2}}",
                json!({"logging": {"driver": "a", "options": {"x": "1", "y": "2"}}}),
            ),
            ("cap_add: [A]", "cap_add: [A, B]", json!({"cap_add": ["A", "B"]})),
            (
                "healthcheck: {test: [CMD, a], retries: 1}",
                "healthcheck: {test: b}",
                json!({"healthcheck": {"test": ["CMD-SHELL", "b"], "retries": 1}}),
            ),
        ] {
            assert_eq!(merged(base, over).unwrap(), result, "{base} < {over}");
        }
    }

    #[test]
    fn mounts_and_ports_by_what_they_are() {
        let tree = merged("volumes: ['./a:/a', './b:/b']", "volumes: ['./c:/a']").unwrap();
        assert_eq!(tree["volumes"][0]["source"], "/p/c");
        assert_eq!(tree["volumes"].as_array().unwrap().len(), 2);
        let ports = |over: &str| {
            merged("ports: ['80:80']", over).unwrap()["ports"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!(ports("ports: ['80:80']"), 1);
        assert_eq!(ports("ports: [{target: 80, published: '80', host_ip: 0.0.0.0}]"), 1);
        assert_eq!(ports("ports: ['81:80']"), 2);
        assert_eq!(ports("ports: ['80:80/udp']"), 2);
    }

    #[test]
    fn reset_and_override() {
        let tree = merged(
            "ports: ['80:80'], environment: {A: 1, B: 2}, dns: [a], image: i",
            "ports: !reset [], environment: {A: !reset null}, dns: !override [b], image: !reset null",
        );
        assert_eq!(tree.unwrap(), json!({"environment": {"B": "2"}, "dns": ["b"]}));
    }

    #[test]
    fn kinds_that_do_not_fit_are_refused() {
        assert_eq!(
            merged("deploy: {labels: {a: 1}}", "deploy: x").unwrap_err(),
            "text cannot be laid over a mapping at `services.app.deploy`"
        );
    }
}
