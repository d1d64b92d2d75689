//! What a service's environment, build arguments and label files come to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::stack::error::Fault;
use crate::stack::load::Loader;
use crate::stack::redact::{password_of, secret_of, secrets_in, telling_label};
use crate::stack::sources::Stop;
use crate::stack::tree::{Node, Pos};

/// `environment` over a later env_file over an earlier one; a variable without a value takes the project's.
///
/// The env_files of a disabled service may be missing: nothing is going to start it.
pub(super) fn resolve(loader: &mut Loader<'_>, service: &mut Node, enabled: bool) -> Result<(), Stop> {
    pass_through(loader, service, "environment");
    for told in ["command", "entrypoint"]
        .map(|key| service.get(key))
        .into_iter()
        .chain([service.get("healthcheck").and_then(|check| check.get("test"))])
        .flatten()
    {
        let words: Vec<&str> = match told.as_text() {
            Some(line) => vec![line],
            None => told.as_list().into_iter().flatten().filter_map(Node::as_text).collect(),
        };
        for secret in secrets_in(&words) {
            loader.secrets.write(&secret);
        }
    }
    if let Some(build) = service.get_mut("build") {
        pass_through(loader, build, "args");
    }
    for (name, entry) in service.get("labels").and_then(Node::as_map).into_iter().flatten() {
        let value = entry.node.as_text().unwrap_or_default();
        match telling_label(name, value) {
            true => loader.secrets.write(value),
            false => password_of(value)
                .into_iter()
                .for_each(|secret| loader.secrets.write(secret)),
        }
    }
    let files = take_files(service, "env_file");
    let labels = take_files(service, "label_file");
    let own: BTreeMap<String, String> = service
        .get("environment")
        .and_then(Node::as_map)
        .into_iter()
        .flatten()
        .filter_map(|(name, entry)| Some((name.clone(), entry.node.scalar_text()?)))
        .collect();
    let values = read(loader, &files, &own, enabled)?;
    for (name, value) in &values {
        if let Some(secret) = secret_of(name, value) {
            loader.secrets.give(secret);
        }
    }
    fill(service, "environment", values);
    let values = read(loader, &labels, &own, enabled)?;
    fill(service, "labels", values);
    Ok(())
}

/// Gives variables without a value the project's, and notes secrets.
fn pass_through(loader: &mut Loader<'_>, node: &mut Node, key: &str) {
    let Some(map) = node.get_mut(key).and_then(Node::as_map_mut) else {
        return;
    };
    for (name, entry) in map {
        if entry.node.is_null() {
            if let Some(value) = loader.vars.get(name) {
                entry.node = Node::text(value.clone(), entry.node.at);
                if let Some(secret) = secret_of(name, value) {
                    loader.secrets.give(secret);
                }
            }
        } else if let Some(value) = entry.node.as_text()
            && let Some(secret) = secret_of(name, value)
        {
            loader.secrets.write(secret);
        }
    }
}

struct File {
    path: PathBuf,
    at: Pos,
    required: bool,
    raw: bool,
}

fn take_files(service: &mut Node, key: &str) -> Vec<File> {
    let Some(list) = service.remove(key) else {
        return Vec::new();
    };
    let one = |item: &Node| {
        let path = item.get("path").unwrap_or(item);
        Some(File {
            path: PathBuf::from(path.as_text()?),
            at: path.at,
            required: item.get("required").and_then(Node::as_bool).unwrap_or(true),
            raw: item.get_text("format") == Some("raw"),
        })
    };
    list.as_list().unwrap_or_default().iter().filter_map(one).collect()
}

fn read(
    loader: &mut Loader<'_>,
    files: &[File],
    own: &BTreeMap<String, String>,
    enabled: bool,
) -> Result<BTreeMap<String, String>, Stop> {
    let mut out = BTreeMap::new();
    if files.is_empty() {
        return Ok(out);
    }
    let vars = loader.vars.clone();
    let outer = |name: &str| vars.get(name).or_else(|| own.get(name)).cloned();
    for file in files {
        if !loader.exists(&file.path) {
            if file.required && enabled {
                return Err(
                    Fault::new(file.at, format!("the file {} does not exist", file.path.display()))
                        .help("create it, or allow it to be missing: `{path: …, required: false}`")
                        .into(),
                );
            }
            continue;
        }
        loader.env_file(&file.path, file.at, file.raw, &outer, &mut out)?;
    }
    Ok(out)
}

/// Adds values below what is there.
fn fill(service: &mut Node, key: &str, values: BTreeMap<String, String>) {
    if values.is_empty() {
        return;
    }
    let at = service.at;
    service.set_default(key, || Node::map(at));
    let Some(target) = service.get_mut(key) else { return };
    for (name, value) in values {
        if target.as_map().is_some_and(|map| !map.contains_key(&name)) {
            target.set(&name, Node::text(value, at));
        }
    }
}
