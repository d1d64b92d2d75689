//! Steps that turn one form of a value into another, whatever the key.

use super::Base;
use crate::stack::tree::{Data, Entry, Map, Mark, Node, Pos};

/// The entries of a list under a key.
pub(super) fn items<'a>(node: &'a mut Node, key: &str) -> &'a mut [Node] {
    node.get_mut(key)
        .and_then(Node::as_list_mut)
        .map_or(&mut [], |items| items)
}

pub(super) fn one_or_many(node: &mut Node, key: &str) {
    if let Some(value) = node.get_mut(key)
        && value.as_text().is_some()
    {
        let only = Node::new(value.data.clone(), value.at);
        value.data = Data::List(vec![only]);
    }
}

/// What a key without a value means in a list of pairs.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    Null,
    Empty,
}

/// `["K=v"]` to `{K: v}`, values to text.
pub(super) fn pairs(node: &mut Node, key: &str, missing: Missing) {
    let Some(value) = node.get_mut(key) else { return };
    if let Data::List(items) = &value.data {
        let mut map = Map::new();
        for item in items {
            let Some(text) = item.as_text() else { continue };
            let (name, data) = match text.split_once('=') {
                Some((name, value)) => (name, Data::Text(value.to_owned())),
                None => (text, Data::Null),
            };
            map.insert(
                name.to_owned(),
                Entry {
                    key_at: item.at,
                    node: Node::new(data, item.at),
                },
            );
        }
        value.data = Data::Map(map);
    }
    if let Some(map) = value.as_map_mut() {
        for entry in map.values_mut() {
            match entry.node.scalar_text() {
                Some(text) => entry.node.data = Data::Text(text),
                None if matches!(missing, Missing::Empty) && entry.node.mark == Mark::Plain => {
                    entry.node.data = Data::Text(String::new());
                }
                None => {}
            }
        }
    }
}

/// Values of a mapping to text.
pub(super) fn texts(node: &mut Node, key: &str) {
    if let Some(map) = node.get_mut(key).and_then(Node::as_map_mut) {
        for entry in map.values_mut() {
            if let Some(text) = entry.node.scalar_text() {
                entry.node.data = Data::Text(text);
            }
        }
    }
}

/// `[a, b]` to `{a: …, b: …}`.
pub(super) fn named(node: &mut Node, key: &str, make: impl Fn(Pos) -> Node) {
    if let Some(value) = node.get_mut(key)
        && let Data::List(items) = &value.data
    {
        let entry = |item: &Node| {
            Some((
                item.as_text()?.to_owned(),
                Entry {
                    key_at: item.at,
                    node: make(item.at),
                },
            ))
        };
        value.data = Data::Map(items.iter().filter_map(entry).collect());
    }
}

pub(super) fn path(node: &mut Node, key: &str, base: &Base) {
    if let Some(Node {
        data: Data::Text(path), ..
    }) = node.get_mut(key)
    {
        *path = base.text(path);
    }
}
