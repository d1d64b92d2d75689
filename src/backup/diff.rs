use std::cmp::Ordering;

use serde::Serialize;

use super::{Entry, EntryPath, Listing, Node};

/// What differs between two snapshots at one path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub path: EntryPath,
    #[serde(flatten)]
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    Added {
        /// Of a file.
        bytes: Option<u64>,
    },
    Removed {
        bytes: Option<u64>,
    },
    Changed {
        what: Vec<Aspect>,
        before: Option<u64>,
        after: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// A folder became a file, and the like.
    Kind,
    /// The bytes of a file, where a link points, the numbers of a device.
    Content,
    Mode,
    Owner,
    /// Of a file: a folder's follows from what is in it.
    Time,
    Other,
}

impl Aspect {
    pub fn word(self) -> &'static str {
        match self {
            Aspect::Kind => "kind",
            Aspect::Content => "content",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Time => "time",
            Aspect::Other => "attributes",
        }
    }
}

/// What is in one listing and not, or not the same, in the other; by path.
///
/// Where in the store a file's bytes lie makes no difference.
pub fn diff(before: &Listing, after: &Listing) -> Vec<Difference> {
    let (old, new) = (by_path(before), by_path(after));
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut found = Vec::new();
    let mut add = |entry: &Entry, change| {
        found.push(Difference {
            path: entry.path.clone(),
            change,
        });
    };
    loop {
        let side = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let was = if side.is_le() { old.next() } else { None };
        let is = if side.is_ge() { new.next() } else { None };
        match (was, is) {
            (Some(was), None) => add(was, Change::Removed { bytes: bytes(was) }),
            (None, Some(is)) => add(is, Change::Added { bytes: bytes(is) }),
            (Some(was), Some(is)) => {
                let what = aspects(was, is);
                if !what.is_empty() {
                    let (before, after) = (bytes(was), bytes(is));
                    add(is, Change::Changed { what, before, after });
                }
            }
            (None, None) => {}
        }
    }
}

fn by_path(listing: &Listing) -> Vec<&Entry> {
    let mut entries: Vec<&Entry> = listing.entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    entries
}

fn bytes(entry: &Entry) -> Option<u64> {
    match &entry.node {
        Node::File(content) => Some(content.size),
        _ => None,
    }
}

fn aspects(was: &Entry, is: &Entry) -> Vec<Aspect> {
    let kind = std::mem::discriminant(&was.node) != std::mem::discriminant(&is.node);
    let content = match (&was.node, &is.node) {
        (Node::File(was), Node::File(is)) => (was.size, was.sha256) != (is.size, is.sha256),
        (was, is) => !kind && was != is,
    };
    let folder = is.node == Node::Dir;
    let found = [
        (Aspect::Kind, kind),
        (Aspect::Content, content),
        (Aspect::Mode, was.meta.mode != is.meta.mode),
        (
            Aspect::Owner,
            (was.meta.uid, was.meta.gid) != (is.meta.uid, is.meta.gid),
        ),
        (Aspect::Time, !folder && was.meta.mtime != is.meta.mtime),
    ];
    let mut found: Vec<Aspect> = found
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(aspect, _)| aspect)
        .collect();
    let alike = Entry {
        meta: is.meta,
        node: is.node.clone(),
        ..was.clone()
    };
    if alike != *is {
        found.push(Aspect::Other);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Closing;
    use super::*;
    use crate::model::Digest;

    fn entry(fields: Value) -> Entry {
        let mut whole = json!({ "mode": 0o644, "uid": 0, "gid": 0, "mtime": 1 });
        for (key, value) in fields.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        serde_json::from_value(whole).expect("an entry")
    }

    fn folder(path: &str, mtime: i64) -> Entry {
        entry(json!({ "path": path, "type": "dir", "mtime": mtime }))
    }

    fn link(target: &str) -> Entry {
        entry(json!({ "path": "link", "type": "symlink", "target": target }))
    }

    fn file(path: &str, content: &str, segment: u8, more: Value) -> Entry {
        let mut fields = json!({
            "path": path, "type": "file", "size": content.len(), "sha256": Digest::of(content.as_bytes()).hex(),
            "segment": format!("{segment:032x}"), "offset": segment,
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            fields[key] = value.clone();
        }
        entry(fields)
    }

    fn listing(entries: Vec<Entry>) -> Listing {
        let mut bytes = Vec::new();
        let opening = super::super::Opening {
            listing: 1,
            project: "ark".parse().expect("a name"),
            set: "full".into(),
            taken: Default::default(),
        };
        let mut writer = super::super::ListingWriter::begin(&mut bytes, &opening).expect("begun");
        entries.iter().for_each(|entry| writer.entry(entry).expect("written"));
        let (_, closing): (_, Closing) = writer.end(Vec::new(), Vec::new()).expect("ended");
        assert_eq!(closing.entries, entries.len() as u64);
        Listing::read(&bytes[..]).expect("a listing")
    }

    #[test]
    fn paths_are_compared_by_what_would_be_restored() {
        let plain = json!({});
        let before = listing(vec![
            folder("a", 1),
            file("a/gone", "12345", 1, plain.clone()),
            file("a/same", "x", 1, plain.clone()),
            file("a/words", "old", 1, plain.clone()),
            file("a-b", "x", 1, plain.clone()),
            link("a"),
            folder("turned", 1),
        ]);
        let after = listing(vec![
            folder("a", 2),
            file("a/same", "x", 9, plain.clone()),
            file("a/words", "newer", 2, json!({ "mode": 0o600 })),
            file("a-b", "x", 1, json!({ "mtime": 5, "uid": 3 })),
            link("b"),
            file("new", "1", 2, plain.clone()),
            file("turned", "", 2, json!({ "mtime": 2 })),
        ]);
        assert_eq!(diff(&before, &before), []);
        let found: Vec<(String, String)> = diff(&before, &after)
            .iter()
            .map(|d| (d.path.to_string(), serde_json::to_string(&d.change).expect("JSON")))
            .collect();
        let changed = |what: &str, sizes: &str| format!(r#"{{"change":"changed","what":[{what}],{sizes}}}"#);
        let mut expected = vec![
            ("a/gone", r#"{"change":"removed","bytes":5}"#.to_owned()),
            ("a/words", changed(r#""content","mode""#, r#""before":3,"after":5"#)),
            ("a-b", changed(r#""owner","time""#, r#""before":1,"after":1"#)),
            ("link", changed(r#""content""#, r#""before":null,"after":null"#)),
            ("new", r#"{"change":"added","bytes":1}"#.to_owned()),
            ("turned", changed(r#""kind","time""#, r#""before":null,"after":0"#)),
        ];
        expected.sort_by_key(|(path, _)| path.parse::<EntryPath>().expect("a path"));
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(path, change)| (path.to_owned(), change))
            .collect();
        assert_eq!(found, expected);
    }
}
