//! `include`: another project's files as a part of this one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::canonical::Base;
use super::error::Fault;
use super::load::Loader;
use super::sources::Stop;
use super::tree::{Data, Node};

/// Deepest chain of files including each other.
const DEEPEST: usize = 16;
/// Most files read by `include`, the same file counted each time.
const MOST: usize = 256;

impl Loader<'_> {
    /// Brings in what a document includes. A name defined on both sides is an error unless both say the same.
    pub(super) fn include(&mut self, document: &mut Node, base: &Base, open: &mut Vec<PathBuf>) -> Result<(), Stop> {
        let Some(include) = document.remove("include") else {
            return Ok(());
        };
        for entry in include.as_list().unwrap_or_default() {
            let imported = self.included(entry, base, open)?;
            for section in ["services", "networks", "volumes", "secrets", "configs", "models"] {
                let Some(Node {
                    data: Data::Map(names),
                    at,
                    ..
                }) = imported.get(section)
                else {
                    continue;
                };
                document.set_default(section, || Node::map(*at));
                let Some(target) = document.get_mut(section).and_then(Node::as_map_mut) else {
                    continue;
                };
                for (name, theirs) in names {
                    match target.get(name) {
                        Some(ours) if ours.node.to_json() != theirs.node.to_json() => {
                            let what =
                                format!("`{section}.{name}` is defined here and, differently, in an included file");
                            return Err(Fault::new(ours.key_at, what)
                                .wide(name.chars().count())
                                .help("rename one of them, or change it in an override file")
                                .into());
                        }
                        Some(_) => {}
                        None => {
                            target.insert(name.clone(), theirs.clone());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn included(&mut self, entry: &Node, base: &Base, open: &mut Vec<PathBuf>) -> Result<Node, Stop> {
        let list = |node: Option<&Node>| -> Vec<PathBuf> {
            match node.map(|node| &node.data) {
                Some(Data::Text(path)) => vec![base.resolve(path)],
                Some(Data::List(items)) => items
                    .iter()
                    .filter_map(Node::as_text)
                    .map(|path| base.resolve(path))
                    .collect(),
                _ => Vec::new(),
            }
        };
        let paths = if entry.as_text().is_some() {
            list(Some(entry))
        } else {
            list(entry.get("path"))
        };
        let Some(folder) = paths.first().and_then(|path| path.parent()) else {
            return Err(Fault::new(entry.at, "this includes no file")
                .help("give `path:`")
                .into());
        };
        let folder = entry
            .get_text("project_directory")
            .map_or_else(|| folder.to_path_buf(), |dir| base.resolve(dir));
        let mut env_files = list(entry.get("env_file"));
        if env_files.is_empty() {
            env_files.extend(Some(folder.join(".env")).filter(|path| self.exists(path)));
        }
        let mut found = BTreeMap::new();
        for path in env_files {
            let outer = self.vars.clone();
            self.env_file(&path, entry.at, false, &|name| outer.get(name).cloned(), &mut found)?;
        }
        let ours = self.vars.clone();
        for (name, value) in found {
            if super::redact::telling(&name, &value) {
                self.secrets.give(&value);
            }
            self.vars.entry(name).or_insert(value);
        }
        let inner = Base {
            folder,
            home: base.home.clone(),
        };
        let mut root = None;
        for path in paths {
            if open.contains(&path) || open.len() > DEEPEST {
                let what = format!(
                    "{} includes itself, or files include each other too deep",
                    path.display()
                );
                return Err(Fault::new(entry.at, what).help("break the circle").into());
            }
            self.included += 1;
            if self.included > MOST {
                let what = format!("more than {MOST} files are included");
                return Err(Fault::new(entry.at, what)
                    .help("include less, and each file once")
                    .into());
            }
            open.push(path.clone());
            for document in self.open(&path, Some(entry.at))? {
                let document = self.prepare(document, &path, &inner, open)?;
                self.lay(&mut root, document)?;
            }
            open.pop();
        }
        self.vars = ours;
        Ok(root.unwrap_or_else(|| Node::map(entry.at)))
    }
}
