//! `extends`: a service on top of another one, of the same file or of another.

use std::path::{Path, PathBuf};

use super::canonical::{self, Base};
use super::error::Fault;
use super::load::Loader;
use super::merge;
use super::shape::{self, Stage};
use super::sources::Stop;
use super::tree::{Node, Pos};
use super::yaml;

/// Longest chain of services extending each other.
const DEEPEST: usize = 64;

/// A file whose services are extended.
struct Sheet {
    path: PathBuf,
    base: Base,
    documents: Vec<Node>,
}

impl Loader<'_> {
    /// Resolves every `extends` of a document in long forms.
    pub(super) fn extend(&mut self, document: &mut Node, path: &Path, base: &Base) -> Result<(), Stop> {
        let has = |node: &Node| node.get("extends").is_some();
        let Some(services) = document.get("services").and_then(Node::as_map) else {
            return Ok(());
        };
        let names: Vec<(String, Pos)> = services
            .iter()
            .filter(|(_, entry)| has(&entry.node))
            .map(|(name, entry)| (name.clone(), entry.key_at))
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let own = Sheet {
            path: path.to_path_buf(),
            base: base.clone(),
            documents: vec![document.clone()],
        };
        let mut sheets = vec![own];
        let mut total = document.count();
        for (name, at) in names {
            let service = self.extended(&mut sheets, 0, &name, at, &mut Vec::new())?;
            total += service.count();
            if total > yaml::MOST_NODES {
                return Err(Fault::new(at, "the services become too large by extending each other")
                    .help("extend less")
                    .into());
            }
            if let Some(services) = document.get_mut("services") {
                services.set(&name, service);
            }
        }
        Ok(())
    }

    /// The service with everything it extends below it; `trail` is the chain that asks for it.
    fn extended(
        &mut self,
        sheets: &mut Vec<Sheet>,
        sheet: usize,
        name: &str,
        at: Pos,
        trail: &mut Vec<(usize, String)>,
    ) -> Result<Node, Stop> {
        let here = (sheet, name.to_owned());
        if trail.contains(&here) || trail.len() >= DEEPEST {
            let chain: Vec<&str> = trail.iter().map(|(_, name)| name.as_str()).chain([name]).collect();
            let message = match trail.len() {
                DEEPEST.. => format!("services extend each other more than {DEEPEST} deep"),
                _ => format!("services extend each other in a circle: {}", chain.join(" → ")),
            };
            return Err(Fault::new(at, message)
                .help("move what they share into a service of its own")
                .into());
        }
        trail.push(here);
        let mut service = self.find(&sheets[sheet], name, at)?;
        if let Some(extends) = service.remove("extends").filter(|extends| !extends.is_null()) {
            let target = extends.get("service");
            let from = target.map_or(extends.at, |target| target.at);
            let Some(target) = target.and_then(Node::as_text) else {
                return Err(Fault::new(extends.at, "`extends` lacks `service`")
                    .help("name the service to extend")
                    .into());
            };
            let next = match extends.get("file") {
                Some(file) => self.sheet(sheets, file)?,
                None => sheet,
            };
            let mut below = self.extended(sheets, next, target, from, trail)?;
            let mut path = vec!["services".to_owned(), name.to_owned()];
            merge::merge(&mut below, service, &mut path)?;
            service = below;
        }
        trail.pop();
        Ok(service)
    }

    /// A service of a file, checked and in long forms, `extends` still in it.
    fn find(&mut self, sheet: &Sheet, name: &str, at: Pos) -> Result<Node, Stop> {
        let mut found: Option<Node> = None;
        for document in &sheet.documents {
            let Some(service) = document.dig(&["services", name]) else {
                continue;
            };
            let mut service = service.clone();
            shape::check(&mut service, &shape::SERVICE, &format!("services.{name}"), Stage::Part)?;
            let mut notes = Vec::new();
            canonical::service(&mut service, &sheet.base, &mut |at, note| notes.push((at, note)))?;
            notes.into_iter().for_each(|(at, note)| self.warn(at, note));
            match &mut found {
                None => found = Some(service),
                Some(found) => merge::merge(found, service, &mut vec!["services".to_owned(), name.to_owned()])?,
            }
        }
        found.ok_or_else(|| {
            let known = sheet
                .documents
                .iter()
                .filter_map(|document| document.get("services")?.as_map());
            let known = known.flat_map(|services| services.keys().map(String::as_str));
            let file = sheet.path.file_name().unwrap_or_default().to_string_lossy();
            Fault::new(at, format!("there is no service `{name}` in {file} to extend"))
                .wide(name.chars().count())
                .help("extend a service of this file, or give `file:`")
                .nearest(name, known)
                .into()
        })
    }

    fn sheet(&mut self, sheets: &mut Vec<Sheet>, file: &Node) -> Result<usize, Stop> {
        let path = PathBuf::from(file.as_text().unwrap_or_default());
        if let Some(known) = sheets.iter().position(|sheet| sheet.path == path) {
            return Ok(known);
        }
        let mut documents = self.open(&path, Some(file.at))?;
        for document in &mut documents {
            self.expand(document)?;
        }
        let folder = path.parent().unwrap_or(&path).to_path_buf();
        let base = Base {
            folder,
            home: sheets[0].base.home.clone(),
        };
        sheets.push(Sheet { path, base, documents });
        Ok(sheets.len() - 1)
    }
}
