use std::fmt;

use serde::Serialize;

use super::{Entry, Node};

/// How many entries there are of each kind; kinds there are none of are not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kinds {
    pub files: u64,
    pub folders: u64,
    pub links: u64,
    pub hardlinks: u64,
    pub fifos: u64,
    pub devices: u64,
    /// Of any kind.
    pub with_xattrs: u64,
    /// Of the files.
    pub with_holes: u64,
}

impl Kinds {
    pub fn count(&mut self, entry: &Entry) {
        let kind = match entry.node {
            Node::File(_) => &mut self.files,
            Node::Dir => &mut self.folders,
            Node::Symlink(_) => &mut self.links,
            Node::Hardlink(_) => &mut self.hardlinks,
            Node::Fifo => &mut self.fifos,
            Node::Device { .. } => &mut self.devices,
        };
        *kind += 1;
        self.with_xattrs += u64::from(!entry.traits.xattrs.is_empty());
        self.with_holes += u64::from(!entry.traits.holes.is_empty());
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.files, "files"),
            (self.folders, "folders"),
            (self.links, "links"),
            (self.hardlinks, "hard links"),
            (self.fifos, "named pipes"),
            (self.devices, "devices"),
            (self.with_xattrs, "with extended attributes"),
            (self.with_holes, "with holes"),
        ];
        let told = kinds.into_iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told.map(|(count, kind)| format!("{count} {kind}")).collect();
        match told.is_empty() {
            true => f.write_str("none"),
            false => f.write_str(&told.join(", ")),
        }
    }
}
