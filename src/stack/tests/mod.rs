//! Whole loads from files in memory.

mod bombs;
mod errors;
mod files;
mod output;
mod places;
mod rules;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

pub(super) struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path, limit: usize) -> Result<String, Unread> {
        let text = self.0.get(path).ok_or(Unread::Missing)?;
        if text.len() > limit {
            Err(Unread::TooLarge(limit))
        } else {
            Ok(text.clone())
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }
}

/// The first line of the error that `text` is refused with, if it points at the last `at` in `text`.
fn refusal(text: &str, at: &str) -> String {
    let before = &text[..text.rfind(at).unwrap_or_else(|| panic!("no {at} in {text}"))];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    let first = compose(text).first();
    match first.strip_prefix(&format!("compose.yaml:{line}:{column}: ")) {
        Some(message) => message.to_owned(),
        None => panic!("not at `{at}`, {line}:{column}: {first}"),
    }
}

/// A project in `/p/app`; names of files are read against it.
struct Project {
    files: Memory,
    request: LoadRequest,
}

fn project(files: &[(&str, &str)]) -> Project {
    let files = files
        .iter()
        .map(|(name, text)| (Path::new("/p/app").join(name), (*text).to_owned()))
        .collect();
    Project {
        files: Memory(files),
        request: LoadRequest {
            current_dir: "/p/app".into(),
            ..LoadRequest::default()
        },
    }
}

fn compose(text: &str) -> Project {
    project(&[("compose.yaml", text)])
}

impl Project {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.request.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn with(mut self, change: impl FnOnce(&mut LoadRequest)) -> Self {
        change(&mut self.request);
        self
    }

    fn load(&self) -> Result<Loaded, LoadError> {
        load(&self.request, &self.files)
    }

    fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    fn tree(&self) -> Value {
        self.good().tree
    }

    fn bad(&self) -> String {
        match self.load() {
            Ok(loaded) => panic!("loaded: {}", loaded.tree),
            Err(error) => error.to_string(),
        }
    }

    /// The first line of the error.
    fn first(&self) -> String {
        self.bad().lines().next().unwrap_or_default().to_owned()
    }
}

const SMALL: &str = "name: p\nx-c: &c\n  restart: always\nservices:\n  app:\n    <<: *c\n    image: a:${TAG:-1}\n    command: sh -c \"x\"\n    ports: ['80:80', \"3000-3001:3000-3001/udp\"]\n    environment:\n      - A=1\n      - KEY=$B\n    volumes: [./d:/d:ro, data:/v]\n    depends_on: {db: {condition: service_healthy}}\n    deploy: {resources: {limits: {cpus: '0.5', memory: 1g}}}\n  db:\n    image: db\n    healthcheck: {test: [CMD, x], interval: 5s}\n    secrets: [{source: s, mode: 0400}]\nvolumes: {data: {}}\nsecrets: {s: {environment: S}}\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Cut a piece out, put another one in: whatever comes of it is loaded or refused, and errors can be shown.
    #[test]
    fn edits_never_panic(edits in prop::collection::vec((0..SMALL.len(), 0..12usize, "[a-z0-9:\\-{}\\[\\]&*!<$\"' \n\t|>,#~?%@]{0,6}|<<: |!reset |\\PC{1,3}"), 1..5)) {
        let mut text: Vec<char> = SMALL.chars().collect();
        for (at, cut, put) in edits {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        match compose(&text).load() {
            Ok(loaded) => {
                let again = compose(&render_yaml(&loaded.tree)).load();
                prop_assert_eq!(again.map(|again| again.tree).map_err(|error| error.to_string()), Ok(loaded.tree), "{}", text);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
