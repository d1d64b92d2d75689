//! A YAML tree that remembers where every key and value stood.

use std::collections::BTreeMap;

/// A place in one of the files read: which file, line and column (both from 1, the column in characters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pos {
    pub source: u32,
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub data: Data,
    pub at: Pos,
    pub mark: Mark,
}

/// What a `!reset` or `!override` tag asks of the merge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
    #[default]
    Plain,
    Reset,
    Override,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    /// A date or a time written without quotes, which no key but an extension takes.
    Date(String),
    List(Vec<Node>),
    Map(Map),
}

pub(super) type Map = BTreeMap<String, Entry>;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key_at: Pos,
    pub node: Node,
}

impl Node {
    pub fn new(data: Data, at: Pos) -> Self {
        Node {
            data,
            at,
            mark: Mark::Plain,
        }
    }

    pub fn text(text: impl Into<String>, at: Pos) -> Self {
        Node::new(Data::Text(text.into()), at)
    }

    pub fn bool(value: bool, at: Pos) -> Self {
        Node::new(Data::Bool(value), at)
    }

    pub fn int(value: impl Into<i128>, at: Pos) -> Self {
        Node::new(Data::Int(value.into()), at)
    }

    pub fn null(at: Pos) -> Self {
        Node::new(Data::Null, at)
    }

    pub fn list(items: Vec<Node>, at: Pos) -> Self {
        Node::new(Data::List(items), at)
    }

    pub fn map(at: Pos) -> Self {
        Node::new(Data::Map(Map::new()), at)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&Map> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.data {
            Data::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it; a null value counts as absent.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?
            .get(key)
            .map(|entry| &entry.node)
            .filter(|node| !node.is_null())
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?
            .get_mut(key)
            .map(|entry| &mut entry.node)
            .filter(|node| !node.is_null())
    }

    pub fn get_text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }

    /// The value at a path of keys.
    pub fn dig(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Sets a key of a mapping; the key stands where the value does.
    pub fn set(&mut self, key: &str, node: Node) {
        if let Some(map) = self.as_map_mut() {
            let key_at = map.get(key).map_or(node.at, |entry| entry.key_at);
            map.insert(key.to_owned(), Entry { key_at, node });
        }
    }

    pub fn set_default(&mut self, key: &str, make: impl FnOnce() -> Node) {
        if self.get(key).is_none() {
            self.set(key, make());
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.as_map_mut()?.remove(key).map(|entry| entry.node)
    }

    /// A scalar as Compose writes it into an environment; `None` for null, lists and mappings.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.data {
            Data::Null | Data::List(_) | Data::Map(_) => None,
            Data::Bool(value) => Some(value.to_string()),
            Data::Int(value) => Some(value.to_string()),
            Data::Float(value) => Some(float_text(*value)),
            Data::Text(text) | Data::Date(text) => Some(text.clone()),
        }
    }

    /// What this is, for an error message.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::Date(_) => "a date",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// Nodes in this tree, itself included.
    pub fn count(&self) -> usize {
        1 + match &self.data {
            Data::List(items) => items.iter().map(Node::count).sum(),
            Data::Map(map) => map.values().map(|entry| entry.node.count()).sum(),
            _ => 0,
        }
    }

    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => i64::try_from(*value)
                .map(Value::from)
                .or_else(|_| u64::try_from(*value).map(Value::from))
                .unwrap_or_else(|_| Value::String(value.to_string())),
            Data::Float(value) => {
                serde_json::Number::from_f64(*value).map_or_else(|| Value::String(float_text(*value)), Value::Number)
            }
            Data::Text(text) | Data::Date(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Data::Map(map) => Value::Object(
                map.iter()
                    .map(|(key, entry)| (key.clone(), entry.node.to_json()))
                    .collect(),
            ),
        }
    }
}

/// Shortest text that reads back to the same number, in Compose's own notation: `1e3` is `1000`, `1e6` is `1e+06`.
fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if value != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{value:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, power) = power.strip_prefix('-').map_or(("+", power), |power| ("-", power));
        return format!("{digits}e{sign}{power:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_compose_writes_them() {
        for (value, text) in [
            (1000.0, "1000"),
            (1.1, "1.1"),
            (1e21, "1e+21"),
            (1e6, "1e+06"),
            (123_456_789.5, "1.234567895e+08"),
            (100_000.0, "100000"),
            (0.00001, "1e-05"),
            (0.0, "0"),
        ] {
            assert_eq!(float_text(value), text);
        }
    }
}
