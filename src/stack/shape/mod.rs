//! What keys and values the Compose specification allows where, and the conversion of text to what a field wants.

mod table;

use std::collections::HashSet;

use super::error::Fault;
use super::tree::{Data, Entry, Map, Node};
use super::units;

pub(super) use table::{PROJECT, SERVICE};

/// What a value may be.
pub(super) enum Shape {
    /// Text; numbers and booleans are errors, as in Compose.
    Text,
    Word(&'static [&'static str]),
    /// True or false; text such as `yes` is converted.
    Bool,
    /// A whole number; text is converted.
    Int,
    /// As [`Shape::Int`], within bounds.
    IntIn(i128, i128),
    /// A number; text is converted.
    Number,
    TextOrNumber,
    TextOrBool,
    TextOrInt,
    /// Text, a number, true or false.
    Scalar,
    /// As [`Shape::Scalar`], or nothing.
    ScalarOrNull,
    /// A number of bytes: `512m`.
    Size,
    /// As [`Shape::Size`], but Compose refuses a bare number here.
    SizeText,
    /// A length of time: `1m30s`.
    Span,
    OrNull(&'static Shape),
    List(&'static Shape),
    /// A list that may not say anything twice.
    Set(&'static Shape),
    /// Any keys.
    Map(&'static Shape),
    /// Keys made of letters, digits, `.`, `-` and `_`.
    Named(&'static Shape),
    Object(&'static Object),
    /// The first that takes this kind of value.
    Either(&'static [Shape]),
}

pub(super) struct Object {
    /// What an error calls it.
    pub what: &'static str,
    pub keys: &'static [(&'static str, Shape)],
    pub required: &'static [&'static str],
    /// Whether `x-` keys are allowed.
    pub extensions: bool,
}

/// Whether values may still be missing because another file could bring them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// One file: null stands for "nothing here", required keys may be in another file.
    Part,
    Whole,
}

/// Checks a tree against a shape and converts text where the shape wants something else.
///
/// Of several faults the first by place is returned. `path` begins the names in messages, such as `services.app`.
pub(super) fn check(node: &mut Node, shape: &Shape, path: &str, stage: Stage) -> Result<(), Fault> {
    let mut checker = Checker {
        stage,
        path: path.split('.').filter(|p| !p.is_empty()).map(str::to_owned).collect(),
        faults: Vec::new(),
    };
    checker.check(node, shape);
    match checker.faults.into_iter().min_by_key(|fault| fault.at) {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// Faults collected before giving up on the rest of the tree.
const ENOUGH: usize = 50;

struct Checker {
    stage: Stage,
    path: Vec<String>,
    faults: Vec<Fault>,
}

impl Checker {
    fn here(&self) -> String {
        if self.path.is_empty() {
            "the file".to_owned()
        } else {
            format!("`{}`", self.path.join("."))
        }
    }

    fn mismatch(&mut self, node: &Node, shape: &Shape) {
        let help = match (shape, &node.data) {
            (
                Shape::Text | Shape::Span | Shape::SizeText | Shape::Word(_),
                Data::Int(_) | Data::Float(_) | Data::Bool(_),
            ) => "put the value in quotes",
            (_, Data::Null) => "give it a value or remove the key",
            (_, Data::Date(_)) => "put the date in quotes",
            (Shape::List(_), _) => "write each entry on its own line, beginning with `- `",
            _ => "see the Compose specification for this key",
        };
        let message = format!("{} must be {}, not {}", self.here(), shape.wants(), node.kind());
        self.faults.push(Fault::new(node.at, message).help(help));
    }

    fn wrong(&mut self, node: &Node, what: &str, help: &str) {
        let shown: String = node.scalar_text().unwrap_or_default().chars().take(40).collect();
        let message = format!("{} must be {what}, not `{shown}`", self.here());
        self.faults
            .push(Fault::new(node.at, message).wide(shown.chars().count()).help(help));
    }

    fn check(&mut self, node: &mut Node, shape: &Shape) {
        if self.faults.len() >= ENOUGH {
            return;
        }
        if node.is_null() {
            if self.stage == Stage::Whole && !shape.takes(&node.data) {
                self.mismatch(node, shape);
            }
            return;
        }
        if !shape.takes(&node.data) {
            return self.mismatch(node, shape);
        }
        match shape {
            Shape::OrNull(inner) => self.check(node, inner),
            Shape::Either(shapes) => {
                if let Some(inner) = shapes.iter().find(|shape| shape.takes(&node.data)) {
                    self.check(node, inner);
                }
            }
            Shape::Word(words) => {
                if let Some(text) = node.as_text()
                    && !words.contains(&text)
                {
                    let list = words
                        .iter()
                        .map(|word| format!("`{word}`"))
                        .collect::<Vec<_>>()
                        .join(", ");
                    self.wrong(node, &format!("one of {list}"), "use one of these words");
                }
            }
            Shape::Bool => self.cast(node, "true or false", "write `true` or `false`", |text| {
                match text.to_ascii_lowercase().as_str() {
                    "true" | "yes" | "y" | "on" => Some(Data::Bool(true)),
                    "false" | "no" | "n" | "off" => Some(Data::Bool(false)),
                    _ => None,
                }
            }),
            Shape::Int => self.cast(node, "a whole number", "write a whole number", |text| {
                text.parse::<i64>().ok().map(|value| Data::Int(value.into()))
            }),
            Shape::IntIn(least, most) => {
                self.check(node, &Shape::Int);
                if let Data::Int(number) = node.data
                    && !(*least..=*most).contains(&number)
                {
                    let what = format!("from {least} to {most}");
                    self.wrong(node, &what, "choose a number in this range");
                }
            }
            Shape::Number => self.cast(node, "a number", "write a number", |text| {
                let whole = text.parse::<i64>().ok().map(|value| Data::Int(value.into()));
                whole.or_else(|| {
                    text.parse::<f64>()
                        .ok()
                        .filter(|value| value.is_finite())
                        .map(Data::Float)
                })
            }),
            Shape::Size | Shape::SizeText => {
                if let Some(text) = node.as_text()
                    && units::bytes(text).is_none()
                {
                    self.wrong(node, "a size", "write a number with b, k, m or g, such as 512m");
                }
            }
            Shape::Span => {
                if let Some(text) = node.as_text()
                    && units::length(text).is_none()
                {
                    self.wrong(
                        node,
                        "a length of time",
                        "write it with its unit, such as 500ms, 15s, 1m30s or 1h",
                    );
                }
            }
            Shape::List(inner) | Shape::Set(inner) => {
                if matches!(shape, Shape::Set(_)) {
                    self.twice(node);
                }
                if let Some(items) = node.as_list_mut() {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.path.push(index.to_string());
                        self.check(item, inner);
                        self.path.pop();
                    }
                }
            }
            Shape::Map(inner) => self.entries(node, inner, false),
            Shape::Named(inner) => self.entries(node, inner, true),
            Shape::Object(object) => self.object(node, object),
            Shape::Text
            | Shape::TextOrNumber
            | Shape::TextOrBool
            | Shape::TextOrInt
            | Shape::Scalar
            | Shape::ScalarOrNull => {}
        }
    }

    fn twice(&mut self, node: &Node) {
        let mut seen = HashSet::new();
        for item in node.as_list().unwrap_or_default() {
            if let Some(text) = item.scalar_text()
                && !seen.insert(text.clone())
            {
                let message = format!("{} has `{text}` twice", self.here());
                self.faults.push(
                    Fault::new(item.at, message)
                        .wide(text.chars().count())
                        .help("keep one of them"),
                );
            }
        }
    }

    fn cast(&mut self, node: &mut Node, what: &str, help: &str, convert: impl Fn(&str) -> Option<Data>) {
        let Some(text) = node.as_text() else { return };
        match convert(text) {
            Some(data) => node.data = data,
            None => self.wrong(node, what, help),
        }
    }

    fn entries(&mut self, node: &mut Node, inner: &Shape, named: bool) {
        let Some(map) = node.as_map_mut() else { return };
        for (key, entry) in map.iter_mut() {
            let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if named && (key.is_empty() || !key.bytes().all(good)) {
                let message = format!("`{key}` cannot be a name in {}", self.here());
                let help = "use letters, digits, `.`, `-` and `_`";
                self.faults
                    .push(Fault::new(entry.key_at, message).wide(key.chars().count()).help(help));
            }
            self.path.push(key.clone());
            self.check(&mut entry.node, inner);
            self.path.pop();
        }
    }

    fn object(&mut self, node: &mut Node, object: &Object) {
        let at = node.at;
        let stage = self.stage;
        let Some(map) = node.as_map_mut() else { return };
        if stage == Stage::Whole
            && let Some(missing) = object.required.iter().find(|key| absent(map, key))
        {
            let message = format!("{} lacks `{missing}`", self.here());
            self.faults
                .push(Fault::new(at, message).help(format!("a {} needs `{missing}`", object.what)));
        }
        for (key, Entry { key_at, node }) in map.iter_mut() {
            if object.extensions && key.starts_with("x-") {
                continue;
            }
            match object.keys.iter().find(|(known, _)| known == key) {
                Some((_, shape)) => {
                    self.path.push(key.clone());
                    self.check(node, shape);
                    self.path.pop();
                }
                None => {
                    let message = match self.path.is_empty() {
                        true => format!("unknown key `{key}`"),
                        false => format!("unknown key `{key}` in {}", self.here()),
                    };
                    let known = object.keys.iter().map(|(known, _)| *known);
                    let fault = Fault::new(*key_at, message)
                        .wide(key.chars().count())
                        .help(format!("remove it; the {} has no such key", object.what));
                    self.faults.push(fault.nearest(key, known));
                }
            }
        }
    }
}

fn absent(map: &Map, key: &str) -> bool {
    map.get(key).is_none_or(|entry| entry.node.is_null())
}

impl Shape {
    fn takes(&self, data: &Data) -> bool {
        let number = matches!(data, Data::Int(_) | Data::Float(_));
        let text = matches!(data, Data::Text(_));
        match self {
            Shape::Text | Shape::Word(_) | Shape::Span | Shape::SizeText => text,
            Shape::Bool | Shape::TextOrBool => text || matches!(data, Data::Bool(_)),
            Shape::Int | Shape::IntIn(..) | Shape::TextOrInt => text || matches!(data, Data::Int(_)),
            Shape::Number | Shape::TextOrNumber | Shape::Size => text || number,
            Shape::Scalar => text || number || matches!(data, Data::Bool(_)),
            Shape::ScalarOrNull => !matches!(data, Data::List(_) | Data::Map(_) | Data::Date(_)),
            Shape::OrNull(inner) => matches!(data, Data::Null) || inner.takes(data),
            Shape::List(_) | Shape::Set(_) => matches!(data, Data::List(_)),
            Shape::Map(_) | Shape::Named(_) | Shape::Object(_) => matches!(data, Data::Map(_)),
            Shape::Either(shapes) => shapes.iter().any(|shape| shape.takes(data)),
        }
    }

    fn wants(&self) -> String {
        match self {
            Shape::Text => "text".to_owned(),
            Shape::Word(words) => format!("one of {}", words.join(", ")),
            Shape::Bool => "true or false".to_owned(),
            Shape::Int | Shape::IntIn(..) => "a whole number".to_owned(),
            Shape::Number => "a number".to_owned(),
            Shape::TextOrNumber => "text or a number".to_owned(),
            Shape::TextOrBool => "text, true or false".to_owned(),
            Shape::TextOrInt => "text or a whole number".to_owned(),
            Shape::Scalar | Shape::ScalarOrNull => "text, a number, true or false".to_owned(),
            Shape::Size => "a size".to_owned(),
            Shape::SizeText => "a size as text".to_owned(),
            Shape::Span => "a length of time as text".to_owned(),
            Shape::OrNull(inner) => inner.wants(),
            Shape::List(_) | Shape::Set(_) => "a list".to_owned(),
            Shape::Map(_) | Shape::Named(_) | Shape::Object(_) => "a mapping".to_owned(),
            Shape::Either(shapes) => {
                let mut all: Vec<String> = shapes.iter().map(Shape::wants).collect();
                all.dedup();
                all.join(" or ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::yaml;

    fn whole(text: &str) -> Result<serde_json::Value, (u32, u32, String, Option<String>)> {
        let mut node = yaml::parse(text, 0).unwrap().pop().unwrap();
        match check(&mut node, &PROJECT, "", Stage::Whole) {
            Ok(()) => Ok(node.to_json()),
            Err(fault) => Err((fault.at.line, fault.at.column, fault.message, fault.help)),
        }
    }

    #[test]
    fn an_unknown_key_has_a_place_and_a_suggestion() {
        let (line, column, message, help) = whole("services:\n  app:\n    imag: x\n").unwrap_err();
        assert_eq!(
            (line, column, message.as_str()),
            (3, 5, "unknown key `imag` in `services.app`")
        );
        assert_eq!(help.as_deref(), Some("did you mean `image`?"));
        let (line, column, message, help) = whole("servicez: {}\nservices: {}\n").unwrap_err();
        assert_eq!((line, column, message.as_str()), (1, 1, "unknown key `servicez`"));
        assert_eq!(help.as_deref(), Some("did you mean `services`?"));
    }

    #[test]
    fn the_first_fault_by_place_is_told() {
        let (line, ..) = whole("services:\n  b: {image: 1}\n  a: {image: 2}\n").unwrap_err();
        assert_eq!(line, 2);
    }

    #[test]
    fn kinds_are_kept_apart() {
        for (text, message) in [
            (
                "services: {a: {user: 1000}}",
                "`services.a.user` must be text, not a number",
            ),
            (
                "services: {a: {healthcheck: {test: [CMD, true]}}}",
                "`services.a.healthcheck.test.1` must be text, not true or false",
            ),
            (
                "services: {a: {ports: 80}}",
                "`services.a.ports` must be a list, not a number",
            ),
            (
                "services: {a: {image: }}",
                "`services.a.image` must be text, not nothing",
            ),
            (
                "services: {a: {tty: maybe}}",
                "`services.a.tty` must be true or false, not `maybe`",
            ),
            (
                "services: {a: {mem_limit: lots}}",
                "`services.a.mem_limit` must be a size, not `lots`",
            ),
            (
                "services: {a: {stop_grace_period: 5}}",
                "`services.a.stop_grace_period` must be a length of time as text, not a number",
            ),
            ("services: {a b: {}}", "`a b` cannot be a name in `services`"),
            (
                "services: {a: {depends_on: {b: {}}}}",
                "`services.a.depends_on.b` lacks `condition`",
            ),
        ] {
            assert_eq!(whole(text).unwrap_err().2, message, "{text}");
        }
    }

    #[test]
    fn text_becomes_what_a_field_wants() {
        let tree = whole("services: {a: {tty: 'yes', scale: '3', cpus: '0.5', x-any: {z: 1}}}\nx-top: 1\n").unwrap();
        let app = &tree["services"]["a"];
        assert_eq!(
            (&app["tty"], &app["scale"], &app["cpus"]),
            (&true.into(), &3.into(), &0.5.into())
        );
    }
}
