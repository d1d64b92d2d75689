//! YAML text to [`Node`]s: anchors, aliases and `<<` merges resolved, duplicates refused, sizes bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::error::Fault;
use super::scalar;
use super::tree::{Data, Entry, Map, Mark, Node, Pos};

/// Largest file read, in bytes.
pub(super) const LARGEST: usize = 4 << 20;
/// Deepest nesting, aliases included.
const DEEPEST: usize = 64;
/// Most nodes in one file once every alias is written out.
pub(super) const MOST_NODES: usize = 500_000;
/// Most text in one file once every alias is written out, in bytes.
const MOST_TEXT: usize = 32 << 20;

/// Line and column (both from 1) of the key at a path of keys, or of the deepest part of the path that is there.
pub fn place_of(text: &str, path: &[&str]) -> Option<(u32, u32)> {
    let documents = parse(text, 0).ok()?;
    let mut node = documents.first()?;
    let mut place = None;
    for key in path {
        let Some(entry) = node.as_map().and_then(|map| map.get(*key)) else {
            break;
        };
        place = Some((entry.key_at.line, entry.key_at.column));
        node = &entry.node;
    }
    place
}

/// The documents of one file; none when it says nothing at all.
pub(super) fn parse(text: &str, source: u32) -> Result<Vec<Node>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > LARGEST {
        return Err(Fault::new(start(source), "the file is larger than 4 MiB").help("split it, or extend another file"));
    }
    if let Some(at) = too_deep(text, source) {
        return Err(Fault::new(at, format!("nested deeper than {DEEPEST} levels")).help("flatten the structure"));
    }
    let mut builder = Builder {
        source,
        open: Vec::new(),
        anchors: HashMap::new(),
        weight: Weight::default(),
    };
    let mut documents = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| scan_fault(text, source, &error))?;
        documents.extend(builder.take(event, span)?);
    }
    if let [only] = &documents[..]
        && only.is_null()
    {
        documents.clear();
    }
    Ok(documents)
}

/// Brackets left open at one place: the parser reads all of them before it tells of the first.
const MOST_OPEN: usize = 256;

/// Where more brackets are open than the parser should see, quoted ones counted as well.
fn too_deep(text: &str, source: u32) -> Option<Pos> {
    let (mut open, mut line, mut begin) = (0usize, 1, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'\n' => (line, begin) = (line + 1, at + 1),
            _ => {}
        }
        if open > MOST_OPEN {
            let column = text[begin..at].chars().count() as u32 + 1;
            return Some(Pos { source, line, column });
        }
    }
    None
}

fn start(source: u32) -> Pos {
    Pos {
        source,
        line: 1,
        column: 1,
    }
}

fn scan_fault(text: &str, source: u32, error: &saphyr_parser::ScanError) -> Fault {
    let marker = error.marker();
    let lines = text.lines().count().max(1);
    let line = marker.line().clamp(1, lines);
    let at = Pos {
        source,
        line: line as u32,
        column: marker.col() as u32 + 1,
    };
    // The scanner notices a tab where a value ends, which can be a line late.
    for (number, written) in text.lines().enumerate().take(line).skip(line.saturating_sub(3)) {
        let indent = &written[..written.len() - written.trim_start().len()];
        if let Some(tab) = indent.find('\t')
            && !written.trim().is_empty()
        {
            let at = Pos {
                source,
                line: number as u32 + 1,
                column: tab as u32 + 1,
            };
            return Fault::new(at, "a tab cannot indent YAML").help("indent with spaces");
        }
    }
    Fault::new(at, format!("not YAML: {}", error.info()))
        .help("look at this line and the one before it: indentation, a missing colon, quote or bracket")
}

#[derive(Clone, Copy, Default)]
struct Weight {
    nodes: usize,
    text: usize,
    depth: usize,
}

struct Builder {
    source: u32,
    open: Vec<Open>,
    /// By the parser's number; `None` while the anchored value is still being read.
    anchors: HashMap<usize, Option<(Node, Weight)>>,
    weight: Weight,
}

/// A list or mapping whose end has not been read yet.
struct Open {
    node: Node,
    anchor: usize,
    /// The key just read, of a mapping.
    key: Option<Key>,
    /// Values of `<<`, in order.
    merges: Vec<Node>,
    before: Weight,
    depth: usize,
}

struct Key {
    name: String,
    at: Pos,
    /// A plain `<<`.
    merge: bool,
}

impl Builder {
    fn pos(&self, span: Span) -> Pos {
        Pos {
            source: self.source,
            line: span.start.line().max(1) as u32,
            column: span.start.col() as u32 + 1,
        }
    }

    /// Returns a document when one is complete.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Node>, Fault> {
        let at = self.pos(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(None),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(None)
            }
            Event::Alias(id) => {
                let (node, weight) = match self.anchors.get(&id) {
                    Some(Some(found)) => found.clone(),
                    _ => {
                        return Err(Fault::new(at, "this alias stands inside the value it names")
                            .help("write the value out instead"));
                    }
                };
                self.add(weight, at)?;
                self.put(node, at)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let key = self
                    .open
                    .last()
                    .is_some_and(|open| open.node.as_map().is_some() && open.key.is_none());
                self.add(
                    Weight {
                        nodes: 1,
                        text: text.len(),
                        depth: 0,
                    },
                    at,
                )?;
                if key && text == "<<" && style == ScalarStyle::Plain {
                    return self.key(Key {
                        name: "<<".to_owned(),
                        at,
                        merge: true,
                    });
                }
                let mut node = Node::new(scalar_data(&text, style, tag.as_deref()), at);
                node.mark = mark(tag.as_deref());
                self.anchor(
                    anchor,
                    &node,
                    Weight {
                        nodes: 1,
                        text: text.len(),
                        depth: 0,
                    },
                );
                self.put(node, at)
            }
            Event::SequenceStart(anchor, tag) => self.begin(Data::List(Vec::new()), anchor, tag.as_deref(), at),
            Event::MappingStart(anchor, tag) => self.begin(Data::Map(Map::new()), anchor, tag.as_deref(), at),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else {
                    return Ok(None);
                };
                for merged in std::mem::take(&mut open.merges) {
                    merge_key(&mut open.node, merged)?;
                }
                let weight = Weight {
                    nodes: self.weight.nodes - open.before.nodes,
                    text: self.weight.text - open.before.text,
                    depth: open.depth,
                };
                self.anchor(open.anchor, &open.node, weight);
                if let Some(parent) = self.open.last_mut() {
                    parent.depth = parent.depth.max(open.depth + 1);
                }
                let at = open.node.at;
                self.put(open.node, at)
            }
        }
    }

    fn begin(&mut self, data: Data, anchor: usize, tag: Option<&Tag>, at: Pos) -> Result<Option<Node>, Fault> {
        if self.open.len() >= DEEPEST {
            return Err(Fault::new(at, format!("nested deeper than {DEEPEST} levels")).help("flatten the structure"));
        }
        let before = self.weight;
        self.add(
            Weight {
                nodes: 1,
                text: 0,
                depth: 0,
            },
            at,
        )?;
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        let mut node = Node::new(data, at);
        node.mark = mark(tag);
        self.open.push(Open {
            node,
            anchor,
            key: None,
            merges: Vec::new(),
            before,
            depth: 1,
        });
        Ok(None)
    }

    fn add(&mut self, weight: Weight, at: Pos) -> Result<(), Fault> {
        self.weight.nodes += weight.nodes;
        self.weight.text += weight.text;
        if let Some(open) = self.open.last_mut() {
            open.depth = open.depth.max(weight.depth + 1);
        }
        if self.weight.nodes > MOST_NODES || self.weight.text > MOST_TEXT {
            return Err(Fault::new(
                at,
                format!("more than {MOST_NODES} values once aliases are written out"),
            )
            .help("use fewer or smaller aliases"));
        }
        if self.open.len() + weight.depth > DEEPEST {
            return Err(Fault::new(at, format!("nested deeper than {DEEPEST} levels")).help("flatten the structure"));
        }
        Ok(())
    }

    fn anchor(&mut self, id: usize, node: &Node, weight: Weight) {
        if id > 0 {
            self.anchors.insert(id, Some((node.clone(), weight)));
        }
    }

    /// Gives a finished value to the collection it stands in; returns it when there is none.
    fn put(&mut self, node: Node, at: Pos) -> Result<Option<Node>, Fault> {
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(map) => match open.key.take() {
                None => {
                    let Data::Text(key) = node.data else {
                        return Err(Fault::new(at, format!("a key must be text, not {}", node.kind()))
                            .help("put the key in quotes"));
                    };
                    return self.key(Key {
                        name: key,
                        at,
                        merge: false,
                    });
                }
                Some(Key { merge: true, at, .. }) => {
                    open.merges.push(node);
                    if open.merges.len() > 1 {
                        return Err(Fault::new(at, "`<<` is given twice")
                            .wide(2)
                            .help("merge a list: `<<: [*a, *b]`"));
                    }
                }
                Some(Key { name, at: key_at, .. }) => {
                    map.insert(name, Entry { key_at, node });
                }
            },
            _ => {}
        }
        Ok(None)
    }

    fn key(&mut self, key: Key) -> Result<Option<Node>, Fault> {
        let Some(open) = self.open.last_mut() else {
            return Ok(None);
        };
        if let Some(entry) = open.node.as_map().and_then(|map| map.get(&key.name))
            && !key.merge
        {
            return Err(Fault::new(key.at, format!("`{}` is given twice", key.name))
                .wide(key.name.chars().count())
                .help(format!("it is already on line {}; keep one of them", entry.key_at.line)));
        }
        open.key = Some(key);
        Ok(None)
    }
}

/// Adds what `<<` brings: keys already there win, and of a list the earlier entries do.
fn merge_key(target: &mut Node, merged: Node) -> Result<(), Fault> {
    let at = merged.at;
    let sources = match merged.data {
        Data::List(items) => items,
        data => vec![Node::new(data, at)],
    };
    for source in sources {
        let Data::Map(map) = source.data else {
            return Err(
                Fault::new(source.at, format!("`<<` merges a mapping, not {}", source.kind()))
                    .help("name an anchored mapping: `<<: *common`"),
            );
        };
        if let Some(target) = target.as_map_mut() {
            for (key, entry) in map {
                target.entry(key).or_insert(entry);
            }
        }
    }
    Ok(())
}

fn mark(tag: Option<&Tag>) -> Mark {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Mark::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Mark::Override,
        _ => Mark::Plain,
    }
}

fn scalar_data(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Data {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Data::Text(text.to_owned()),
        Some(tag) if tag.is_yaml_core_schema() => scalar::resolve(text),
        _ if style == ScalarStyle::Plain => scalar::resolve(text),
        _ => Data::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> serde_json::Value {
        parse(text, 0).unwrap().pop().unwrap().to_json()
    }

    fn fault(text: &str) -> (u32, u32, String) {
        let fault = parse(text, 0).unwrap_err();
        (fault.at.line, fault.at.column, fault.message)
    }

    #[test]
    fn merges_keep_what_is_there_and_prefer_the_earlier() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\n";
        assert_eq!(one(text)["c"], serde_json::json!({"x": 3, "y": 1, "z": 2}));
    }

    #[test]
    fn quoted_scalars_and_tagged_ones_stay_text() {
        assert_eq!(
            one("[1, '1', !!str 1, \"on\", null]"),
            serde_json::json!([1, "1", "1", "on", null])
        );
        let reset = parse("a: !reset null\nb: !override [1]\n", 0).unwrap().pop().unwrap();
        assert_eq!(reset.as_map().unwrap()["a"].node.mark, Mark::Reset);
        assert_eq!(reset.as_map().unwrap()["b"].node.mark, Mark::Override);
    }

    #[test]
    fn faults_have_their_place() {
        assert_eq!(fault("a: 1\nb: 2\na: 3\n"), (3, 1, "`a` is given twice".into()));
        assert_eq!(fault("a:\n\tb: 1\n"), (2, 1, "a tab cannot indent YAML".into()));
        assert_eq!(fault("a:\n  1: x\n"), (2, 3, "a key must be text, not a number".into()));
        assert_eq!(fault("a: &a [*a]\n").2, "this alias stands inside the value it names");
        assert_eq!(
            fault("a:\n  <<: 1\n"),
            (2, 7, "`<<` merges a mapping, not a number".into())
        );
        let (line, _, message) = fault("services:\n  app: [\n");
        assert!(line >= 2 && message.starts_with("not YAML"), "{line} {message}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", alias.trim_end_matches(", ")));
        }
        assert!(fault(&bomb).2.starts_with("more than 500000 values"));
        let long = format!(
            "a: &a {}\nb: [{}]\n",
            "x".repeat(1 << 20),
            "*a, ".repeat(100).trim_end_matches(", ")
        );
        assert!(fault(&long).2.starts_with("more than 500000 values"));
        assert!(fault(&"[".repeat(100)).2.contains("deeper"));
        assert!(fault(&"[".repeat(100_000)).2.contains("deeper"));
        assert!(fault(&"{a: ".repeat(100_000)).2.contains("deeper"));
        assert!(fault(&"- ".repeat(100_000)).2.contains("deeper"));
        let mut chain = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(fault(&chain).2.contains("deeper"));
    }

    #[test]
    fn several_documents_and_empty_ones() {
        assert_eq!(parse("a: 1\n---\n---\nb: 2\n", 0).unwrap().len(), 3);
        assert_eq!(parse("", 0).unwrap().len(), 0);
        assert_eq!(parse("# only a comment\n", 0).unwrap().len(), 0);
    }
}
