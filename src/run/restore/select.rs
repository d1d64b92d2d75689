use std::collections::{BTreeMap, BTreeSet};

use crate::backup::{Entry, EntryPath, Node, Traits};

use super::{RestoreError, RestoreOptions, Selection};

/// The entries wanted; with one path also the folders above it, so that they get their modes. And how many devices were
/// left out, which are made only where that is asked.
///
/// A hard link to a file that is not wanted becomes the file, and further ones links to that.
pub(super) fn select(entries: Vec<Entry>, options: &RestoreOptions) -> Result<(Vec<Entry>, u64), RestoreError> {
    let (mut kept, others): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| wants(&options.selection, entry));
    if let Selection::Path(path) = &options.selection
        && !kept.iter().any(|entry| entry.path.is_within(path))
    {
        return Err(RestoreError::NotInIt(path.clone()));
    }
    stand_alone(&mut kept, others);
    let mut devices = 0;
    if !options.devices {
        let all = kept.len();
        kept.retain(|entry| !matches!(entry.node, Node::Device { .. }));
        devices = (all - kept.len()) as u64;
    }
    Ok((kept, devices))
}

fn wants(selection: &Selection, entry: &Entry) -> bool {
    match selection {
        Selection::Everything => true,
        Selection::Data => entry.path.is_data(),
        Selection::Path(path) => entry.path.is_within(path) || (entry.node == Node::Dir && path.is_within(&entry.path)),
    }
}

/// No hard link among these leads to one of the others.
fn stand_alone(kept: &mut [Entry], others: Vec<Entry>) {
    let targets: BTreeSet<&EntryPath> = kept.iter().filter_map(link_of).collect();
    if targets.is_empty() {
        return;
    }
    let outside = others.into_iter().filter(|entry| targets.contains(&entry.path));
    let outside: BTreeMap<EntryPath, (Node, Traits)> =
        outside.map(|entry| (entry.path, (entry.node, entry.traits))).collect();
    let mut first: BTreeMap<EntryPath, EntryPath> = BTreeMap::new();
    for entry in kept {
        let Some(target) = link_of(entry).cloned() else {
            continue;
        };
        if let Some(first) = first.get(&target) {
            entry.node = Node::Hardlink(first.clone());
        } else if let Some((node, traits)) = outside.get(&target) {
            entry.node = node.clone();
            entry.traits = traits.clone();
            first.insert(target, entry.path.clone());
        }
    }
}

pub(super) fn link_of(entry: &Entry) -> Option<&EntryPath> {
    match &entry.node {
        Node::Hardlink(target) => Some(target),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{Content, Meta};
    use crate::model::{Digest, SegmentId};

    fn file() -> Node {
        Node::File(Content {
            size: 1,
            sha256: Digest::of(b"x"),
            segment: SegmentId::new([1; 16]),
            offset: 512,
        })
    }

    fn entry(path: &str, node: Node) -> Entry {
        Entry::plain(path.parse().expect("a path"), Meta::default(), node)
    }

    fn link(to: &str) -> Node {
        Node::Hardlink(to.parse().expect("a path"))
    }

    fn options(selection: &str, devices: bool) -> RestoreOptions {
        RestoreOptions {
            selection: match selection {
                "" => Selection::Everything,
                path => Selection::Path(path.parse().expect("a path")),
            },
            target: "/nowhere".into(),
            overwrite: false,
            devices,
        }
    }

    fn tree() -> Vec<Entry> {
        let device = Node::Device {
            block: true,
            major: 8,
            minor: 1,
        };
        let mut first = entry("a/first", file());
        first.traits.xattrs = [(b"user.a".to_vec(), b"b".to_vec())].into();
        vec![
            entry("a", Node::Dir),
            first,
            entry("a/same", link("a/first")),
            entry("b", Node::Dir),
            entry("b/second", link("a/first")),
            entry("b/third", link("a/first")),
            entry("b/disk", device),
        ]
    }

    #[test]
    fn a_link_whose_file_is_not_wanted_becomes_the_file() {
        let (kept, _) = select(tree(), &options("b", true)).expect("selected");
        let paths: Vec<&str> = kept.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["b", "b/second", "b/third", "b/disk"]);
        assert_eq!((&kept[1].node, kept[1].traits.xattrs.len()), (&file(), 1));
        assert_eq!(kept[2].node, link("b/second"));
        let (one, _) = select(tree(), &options("b/third", true)).expect("selected");
        assert_eq!(one[1].node, file());
        let (all, _) = select(tree(), &options("", true)).expect("selected");
        assert_eq!(all, tree());
    }

    #[test]
    fn devices_are_counted_where_they_are_not_asked_for() {
        let (kept, devices) = select(tree(), &options("", false)).expect("selected");
        assert_eq!((kept.len(), devices), (6, 1));
        let nothing = select(tree(), &options("c", false));
        assert!(matches!(nothing, Err(RestoreError::NotInIt(_))));
    }
}
