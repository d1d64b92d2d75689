//! The whole way from files to a [`Stack`](super::Stack).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::canonical::{self, Base, clean};
use super::discover;
use super::dotenv;
use super::error::{Fault, LoadError};
use super::interpolate::{self, Scope};
use super::merge;
use super::normalise;
use super::redact::{Secrets, secret_of};
use super::request::{Files, LoadRequest, Loaded, Unread, Variables};
use super::shape::{self, Stage};
use super::sources::{Sources, Stop};
use super::tree::{Node, Pos};
use super::typed;
use super::validate;
use super::yaml;

/// Loads a project the way Compose does: interpolate each file's values, merge, normalise, validate.
///
/// Errors name the file, line and column they are about. Nothing but `request` and `files` is consulted.
pub fn load(request: &LoadRequest, files: &dyn Files) -> Result<Loaded, LoadError> {
    let mut loader = Loader::new(request, files);
    let result = loader.project();
    let Loader {
        sources,
        vars,
        secrets,
        warnings,
        ..
    } = loader;
    let (stack, tree) = result.map_err(|stop| stop.told(&sources))?;
    let warnings = warnings
        .into_iter()
        .map(|(at, message)| sources.warning(at, message))
        .collect();
    Ok(Loaded {
        stack,
        tree: tree.to_json(),
        secrets,
        variables: Variables(vars),
        warnings,
    })
}

pub(super) struct Loader<'a> {
    pub request: &'a LoadRequest,
    files: &'a dyn Files,
    sources: Sources,
    /// Process environment over dotenv files.
    pub vars: BTreeMap<String, String>,
    pub secrets: Secrets,
    warnings: Vec<(Pos, String)>,
    unset: BTreeSet<String>,
    /// Files read that are no Compose file given by the user.
    read: BTreeSet<PathBuf>,
    /// Files `include` has read so far.
    pub included: usize,
}

/// Variables as a Compose file sees them.
struct Vars<'a> {
    vars: &'a BTreeMap<String, String>,
    secrets: &'a mut Secrets,
    unset: Vec<String>,
}

impl Scope for Vars<'_> {
    fn get(&mut self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }

    fn unset(&mut self, name: &str) {
        self.unset.push(name.to_owned());
    }

    fn became(&mut self, name: &str, value: &str) {
        if let Some(secret) = secret_of(name, value) {
            self.secrets.give(secret);
        }
    }
}

impl<'a> Loader<'a> {
    fn new(request: &'a LoadRequest, files: &'a dyn Files) -> Self {
        Loader {
            request,
            files,
            sources: Sources::default(),
            vars: request.env.clone(),
            secrets: Secrets::default(),
            warnings: Vec::new(),
            unset: BTreeSet::new(),
            read: BTreeSet::new(),
            included: 0,
        }
    }

    fn project(&mut self) -> Result<(super::Stack, Node), Stop> {
        let request = self.request;
        let here = clean(&request.current_dir);
        let asked = request
            .project_directory
            .as_ref()
            .map(|folder| clean(&here.join(folder)));
        let first = |files: &[PathBuf]| files.first().and_then(|file| file.parent()).map(Path::to_path_buf);
        let guess = request.files.first().and_then(|file| first(&[clean(&here.join(file))]));
        let guess = asked.clone().or(guess).unwrap_or_else(|| here.clone());
        self.environment(&guess)?;
        let mut notes = Vec::new();
        let paths = discover::compose_files(request, &self.vars, self.files, &mut |note| notes.push(note))?;
        notes.into_iter().for_each(|note| self.warn(Pos::default(), note));
        let folder = asked.or_else(|| first(&paths)).unwrap_or(here);
        if folder != guess {
            self.environment(&folder)?;
        }

        let mut documents = Vec::new();
        for path in &paths {
            documents.push(self.open(path, None)?);
        }
        let name = self.name(documents.iter().flatten(), &folder)?;
        self.vars.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());

        let base = Base {
            folder: folder.clone(),
            home: self.home(),
        };
        let mut root = None;
        for (path, documents) in paths.iter().zip(documents) {
            for document in documents {
                let document = self.prepare(document, path, &base, &mut vec![path.clone()])?;
                self.lay(&mut root, document)?;
            }
        }
        let root = root.filter(|root| root.as_map().is_some_and(|map| map.keys().any(|key| key != "version")));
        let Some(mut root) = root else {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(LoadError::nowhere(
                format!("{} says nothing: there is no service in it", names.join(", ")),
                "add a `services:` section",
            )
            .into());
        };
        if let Some(version) = root.get("version") {
            let at = version.at;
            self.warn(at, "`version` has no meaning any more; remove it".to_owned());
            root.remove("version");
        }
        shape::check(&mut root, &shape::PROJECT, "", Stage::Whole)?;

        let profiles = self.profiles();
        let at = root.at;
        root.set("name", Node::text(name, at));
        let mut disabled = normalise::split_profiles(&mut root, &profiles);
        normalise::project(self, &mut root, &mut disabled, &base)?;
        validate::project(&root, &disabled)?;
        normalise::prune(&mut root);
        let mut notes = Vec::new();
        let mut stack = typed::stack(&root, &disabled, &mut |at, note| notes.push((at, note)))?;
        self.warnings.append(&mut notes);
        normalise::zeros(&mut root);
        stack.folder = folder;
        stack.files = paths.clone();
        stack.read_files = self.read.iter().filter(|path| !paths.contains(path)).cloned().collect();
        Ok((stack, root))
    }

    fn home(&self) -> Option<PathBuf> {
        self.request
            .env
            .get("HOME")
            .filter(|home| home.starts_with('/'))
            .map(PathBuf::from)
    }

    /// Adds the variables of the dotenv files; what is there already wins.
    fn environment(&mut self, folder: &Path) -> Result<(), Stop> {
        let mut asked = self.request.env_files.clone();
        if asked.is_empty()
            && let Some(list) = self
                .request
                .env
                .get("COMPOSE_ENV_FILES")
                .filter(|list| !list.is_empty())
        {
            asked = list.split(',').map(PathBuf::from).collect();
        }
        let here = &self.request.current_dir;
        let mut paths: Vec<PathBuf> = asked.iter().map(|path| clean(&here.join(path))).collect();
        let off = self.request.env.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str);
        let off =
            off.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true" | "y" | "yes"));
        if asked.is_empty() && !off {
            let path = folder.join(".env");
            if self.files.exists(&path) {
                paths.push(path);
            }
        }
        let mut found = BTreeMap::new();
        for path in paths {
            let source = self.source(&path, None)?;
            let text = self.sources.text(source);
            let vars = &self.vars;
            dotenv::parse(&text, source, &|name| vars.get(name).cloned(), &mut found)?;
        }
        for (name, value) in found {
            if let Some(secret) = secret_of(&name, &value) {
                self.secrets.give(secret);
            }
            self.vars.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// What `name:` says; the last file that has one wins.
    fn name<'n>(&mut self, documents: impl Iterator<Item = &'n Node>, folder: &Path) -> Result<String, Stop> {
        let Some(name) = documents.filter_map(|document| document.get("name")).last() else {
            return Ok(discover::project_name(self.request, &self.vars, None, folder)?);
        };
        let mut name = name.clone();
        self.expand(&mut name)?;
        Ok(discover::project_name(
            self.request,
            &self.vars,
            name.as_text(),
            folder,
        )?)
    }

    fn profiles(&self) -> Vec<String> {
        if !self.request.profiles.is_empty() {
            return self.request.profiles.clone();
        }
        let listed = self
            .vars
            .get("COMPOSE_PROFILES")
            .map(String::as_str)
            .unwrap_or_default();
        // Nothing listed turns the profile without a name on, as in Compose.
        listed.split(',').map(|name| name.trim().to_owned()).collect()
    }

    pub fn warn(&mut self, at: Pos, message: String) {
        // A project that warns this often is not read by anyone.
        if self.warnings.len() < 200 {
            self.warnings.push((at, message));
        }
    }

    pub fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    /// Reads a file; `at` is where it is asked for.
    fn source(&mut self, path: &Path, at: Option<Pos>) -> Result<u32, Stop> {
        if let Some(known) = self.sources.known(path) {
            return Ok(known);
        }
        let shown = path
            .strip_prefix(&self.request.current_dir)
            .unwrap_or(path)
            .to_path_buf();
        let text = self.files.read(path, yaml::LARGEST).map_err(|error| {
            let help = match error {
                Unread::Missing => "check the path; it is read against the project's folder",
                Unread::TooLarge(_) => "split it, or move large values into files of their own",
                Unread::NotText => "save it as UTF-8",
                Unread::Other(_) => "check that this user may read it",
            };
            let message = format!("cannot read {}: {error}", shown.display());
            Fault::new(at.unwrap_or_default(), message).help(help)
        })?;
        self.read.insert(path.to_path_buf());
        Ok(self.sources.add(path.to_path_buf(), shown, text.into()))
    }

    /// The documents of a Compose file, nothing resolved.
    pub fn open(&mut self, path: &Path, at: Option<Pos>) -> Result<Vec<Node>, Stop> {
        let source = self.source(path, at)?;
        let documents = yaml::parse(&self.sources.text(source), source)?;
        for document in &documents {
            if document.as_map().is_none() {
                let what = match document.is_null() {
                    true => "a document of this file is empty".to_owned(),
                    false => format!("a Compose file is a mapping, not {}", document.kind()),
                };
                return Err(Fault::new(document.at, what).help("begin it with `services:`").into());
            }
        }
        Ok(documents)
    }

    /// Reads a dotenv file a service asks for. `outer` is asked before `out` about references.
    pub fn env_file(
        &mut self,
        path: &Path,
        at: Pos,
        raw: bool,
        outer: &dyn Fn(&str) -> Option<String>,
        out: &mut BTreeMap<String, String>,
    ) -> Result<(), Stop> {
        let source = self.source(path, Some(at))?;
        let text = self.sources.text(source);
        if raw {
            Ok(dotenv::parse_raw(&text, source, outer, out)?)
        } else {
            Ok(dotenv::parse(&text, source, outer, out)?)
        }
    }

    /// Resolves the variables in a tree.
    pub fn expand(&mut self, node: &mut Node) -> Result<(), Stop> {
        let mut scope = Vars {
            vars: &self.vars,
            secrets: &mut self.secrets,
            unset: Vec::new(),
        };
        let result = interpolate::expand_tree(node, &mut scope);
        for name in scope.unset {
            if self.unset.insert(name.clone()) {
                self.warn(
                    Pos::default(),
                    format!("the variable `{name}` is not set; it is taken as empty"),
                );
            }
        }
        Ok(result?)
    }

    /// A document as it goes into the merge. `open` are the files being read, from the first to this one.
    pub fn prepare(
        &mut self,
        mut document: Node,
        path: &Path,
        base: &Base,
        open: &mut Vec<PathBuf>,
    ) -> Result<Node, Stop> {
        self.expand(&mut document)?;
        shape::check(&mut document, &shape::PROJECT, "", Stage::Part)?;
        let mut notes = Vec::new();
        canonical::project(&mut document, base, &mut |at, note| notes.push((at, note)))?;
        notes.into_iter().for_each(|(at, note)| self.warn(at, note));
        self.extend(&mut document, path, base)?;
        self.include(&mut document, base, open)?;
        Ok(document)
    }

    /// Lays a prepared document over what the earlier ones made.
    pub fn lay(&mut self, root: &mut Option<Node>, mut document: Node) -> Result<(), Stop> {
        match root {
            None => {
                merge::settle(&mut document);
                *root = Some(document);
            }
            Some(root) => merge::merge(root, document, &mut Vec::new())?,
        }
        if let Some(root) = root {
            merge::dedupe(root);
            if root.count() > yaml::MOST_NODES {
                return Err(
                    Fault::new(root.at, "the project is too large once its files are merged")
                        .help("extend and include less")
                        .into(),
                );
            }
        }
        Ok(())
    }
}
