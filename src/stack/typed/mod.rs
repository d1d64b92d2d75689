//! The checked, normalised tree to the types of [`model`](super::model).

mod mounts;
mod service;
mod uncarried;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::Fault;
use super::model::{FileObject, FileSource, Network, Stack, Subnet, Volume};
use super::tree::{Data, Entry, Node, Pos};
use super::units;

/// Takes notes of what the types cannot say.
pub(super) type Notes<'a> = &'a mut dyn FnMut(Pos, String);

/// `folder`, `files` and `read_files` are left empty.
pub(super) fn stack(root: &Node, disabled: &Node, note: Notes<'_>) -> Result<Stack, Fault> {
    let name = root.get_text("name").unwrap_or_default();
    let mut all = [(root.get("services"), true), (Some(disabled), false)]
        .into_iter()
        .map(|(services, enabled)| {
            let mut out = BTreeMap::new();
            for (name, entry) in services.and_then(Node::as_map).into_iter().flatten() {
                let mut quiet = |_: Pos, _: String| ();
                let note: Notes<'_> = if enabled { &mut *note } else { &mut quiet };
                let service = service::service(name, entry, note)?;
                out.insert(service.name.clone(), service);
            }
            Ok(out)
        });
    let mut next = || all.next().unwrap_or_else(|| Ok(BTreeMap::new()));
    let (services, disabled) = (next()?, next()?);
    drop(all);
    uncarried::project(root, note);
    Ok(Stack {
        name: name.parse().map_err(|error| Fault::new(root.at, format!("{error}")))?,
        folder: PathBuf::new(),
        files: Vec::new(),
        read_files: Vec::new(),
        services,
        disabled,
        networks: section(root, "networks", network),
        volumes: section(root, "volumes", volume),
        secrets: section(root, "secrets", file_object),
        configs: section(root, "configs", file_object),
    })
}

fn section<T>(root: &Node, key: &str, read: impl Fn(&Node) -> T) -> BTreeMap<String, T> {
    let map = root.get(key).and_then(Node::as_map).into_iter().flatten();
    map.map(|(name, entry)| (name.clone(), read(&entry.node))).collect()
}

fn network(node: &Node) -> Network {
    let subnets = node
        .dig(&["ipam", "config"])
        .and_then(Node::as_list)
        .unwrap_or_default();
    Network {
        name: text(node, "name").unwrap_or_default(),
        external: flag(node, "external"),
        driver: text(node, "driver"),
        driver_opts: pairs(node, "driver_opts"),
        internal: flag(node, "internal"),
        attachable: flag(node, "attachable"),
        ipv6: flag(node, "enable_ipv6"),
        subnets: subnets
            .iter()
            .map(|subnet| Subnet {
                subnet: text(subnet, "subnet"),
                gateway: text(subnet, "gateway"),
                ip_range: text(subnet, "ip_range"),
            })
            .collect(),
        labels: pairs(node, "labels"),
    }
}

fn volume(node: &Node) -> Volume {
    Volume {
        name: text(node, "name").unwrap_or_default(),
        external: flag(node, "external"),
        driver: text(node, "driver"),
        driver_opts: pairs(node, "driver_opts"),
        labels: pairs(node, "labels"),
    }
}

fn file_object(node: &Node) -> FileObject {
    let from = if flag(node, "external") {
        FileSource::External
    } else if let Some(path) = text(node, "file") {
        FileSource::File(path.into())
    } else if let Some(variable) = text(node, "environment") {
        FileSource::Environment(variable)
    } else if let Some(content) = text(node, "content") {
        FileSource::Content(content)
    } else {
        // Validation lets a source be absent only where a driver brings it.
        FileSource::External
    };
    FileObject {
        name: text(node, "name").unwrap_or_default(),
        from,
    }
}

/// Text under a key; an empty one counts as absent.
fn text(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.scalar_text().filter(|text| !text.is_empty())
}

fn flag(node: &Node, key: &str) -> bool {
    node.get(key).and_then(Node::as_bool).unwrap_or(false)
}

fn texts(node: &Node, key: &str) -> Vec<String> {
    node.get(key)
        .and_then(Node::as_list)
        .unwrap_or_default()
        .iter()
        .filter_map(Node::scalar_text)
        .collect()
}

fn entries<'a>(node: &'a Node, key: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> {
    node.get(key).and_then(Node::as_map).into_iter().flatten()
}

fn pairs(node: &Node, key: &str) -> BTreeMap<String, String> {
    entries(node, key)
        .map(|(name, entry)| (name.clone(), entry.node.scalar_text().unwrap_or_default()))
        .collect()
}

/// A number under a key; a fault when it does not fit.
fn number<T: TryFrom<i128>>(node: &Node, key: &str) -> Result<Option<T>, Fault> {
    let Some(value) = node.get(key) else { return Ok(None) };
    let number = match &value.data {
        Data::Int(number) => Some(*number),
        Data::Float(number) if number.fract() == 0.0 => Some(*number as i128),
        Data::Text(text) => text.parse().ok(),
        _ => None,
    };
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => {
            let shown = value.scalar_text().unwrap_or_default();
            Err(Fault::new(value.at, format!("`{key}` cannot be {shown}"))
                .wide(shown.chars().count())
                .help("it is not a whole number, or out of range"))
        }
    }
}

fn fraction(node: &Node, key: &str) -> Option<f64> {
    match &node.get(key)?.data {
        Data::Int(number) => Some(*number as f64),
        Data::Float(number) => Some(*number),
        _ => None,
    }
}

fn span(node: &Node, key: &str) -> Option<crate::model::Span> {
    // Normalisation wrote it, so it reads.
    units::length(node.get_text(key)?)
}
