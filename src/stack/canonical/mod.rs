//! Short forms to long ones, relative paths to absolute ones, one file at a time and before anything is merged.
//!
//! Everything here leaves a long form as it is, so it may run twice over the same tree.

mod forms;
mod mounts;
mod ports;
mod words;

use std::path::{Component, Path, PathBuf};

use forms::{Missing, items, named, one_or_many, pairs, path, texts};

use super::error::Fault;
use super::tree::{Data, Entry, Map, Node, Pos};

/// What a file's relative paths are read against.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub folder: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
}

impl Base {
    /// Absolute and without `.` and `..`; symbolic links are not followed.
    pub fn resolve(&self, path: &str) -> PathBuf {
        match (path.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) => clean(&home.join(rest.trim_start_matches('/'))),
            _ => clean(&self.folder.join(path)),
        }
    }

    /// As [`Base::resolve`], but a path that is absolute already stays as it is written, as in Compose.
    fn text(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        self.resolve(path).to_string_lossy().into_owned()
    }
}

/// A path without `.`, `..` and doubled slashes, worked out on the text alone.
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !matches!(
                    out.components().next_back(),
                    None | Some(Component::ParentDir | Component::RootDir)
                ) {
                    out.pop();
                } else if !out.has_root() {
                    out.push("..");
                }
            }
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        out
    }
}

/// A whole file.
pub(super) fn project(root: &mut Node, base: &Base, warn: &mut dyn FnMut(Pos, String)) -> Result<(), Fault> {
    let mut left = ports::Left::default();
    each(root, "services", |node| service_within(node, base, warn, &mut left))?;
    each(root, "networks", |node| {
        pairs(node, "labels", Missing::Empty);
        texts(node, "driver_opts");
        if let Some(ipam) = node.get_mut("ipam") {
            texts(ipam, "options");
        }
        external(node)
    })?;
    each(root, "volumes", |node| {
        pairs(node, "labels", Missing::Empty);
        texts(node, "driver_opts");
        external(node)
    })?;
    for key in ["secrets", "configs"] {
        each(root, key, |node| {
            pairs(node, "labels", Missing::Empty);
            texts(node, "driver_opts");
            path(node, "file", base);
            external(node)
        })?;
    }
    Ok(())
}

fn each(root: &mut Node, key: &str, mut visit: impl FnMut(&mut Node) -> Result<(), Fault>) -> Result<(), Fault> {
    if let Some(map) = root.get_mut(key).and_then(Node::as_map_mut) {
        for entry in map.values_mut() {
            visit(&mut entry.node)?;
        }
    }
    Ok(())
}

/// One service.
pub(super) fn service(node: &mut Node, base: &Base, warn: &mut dyn FnMut(Pos, String)) -> Result<(), Fault> {
    service_within(node, base, warn, &mut ports::Left::default())
}

fn service_within(
    node: &mut Node,
    base: &Base,
    warn: &mut dyn FnMut(Pos, String),
    left: &mut ports::Left,
) -> Result<(), Fault> {
    pairs(node, "environment", Missing::Null);
    for key in ["labels", "annotations", "sysctls"] {
        pairs(node, key, Missing::Empty);
    }
    texts(node, "storage_opt");
    for key in ["dns", "dns_search", "tmpfs", "label_file"] {
        one_or_many(node, key);
    }
    for key in ["expose", "group_add"] {
        for item in items(node, key) {
            if let Some(text) = item.scalar_text() {
                item.data = Data::Text(text);
            }
        }
    }
    for item in items(node, "label_file") {
        if let Data::Text(path) = &mut item.data {
            *path = base.text(path);
        }
    }
    for key in ["command", "entrypoint"] {
        command(node, key, warn)?;
    }
    for key in ["post_start", "pre_stop"] {
        for step in items(node, key) {
            hook(step, warn)?;
        }
    }
    if let Some(build) = node.get_mut("build") {
        self::build(build, base)?;
    }
    if let Some(test) = node.get_mut("healthcheck").and_then(|health| health.get_mut("test"))
        && let Data::Text(line) = &test.data
    {
        test.data = Data::List(vec![
            Node::text("CMD-SHELL", test.at),
            Node::text(line.clone(), test.at),
        ]);
    }
    if let Some(deploy) = node.get_mut("deploy") {
        pairs(deploy, "labels", Missing::Empty);
    }
    if let Some(logging) = node.get_mut("logging") {
        texts(logging, "options");
    }
    named(node, "networks", Node::null);
    named(node, "models", Node::null);
    named(node, "depends_on", |at| {
        let mut dependency = Node::map(at);
        dependency.set("condition", Node::text("service_started", at));
        dependency.set("required", Node::bool(true, at));
        dependency
    });
    if let Some(networks) = node.get_mut("networks").and_then(Node::as_map_mut) {
        for entry in networks.values_mut() {
            texts(&mut entry.node, "driver_opts");
        }
    }
    if let Some(gpus) = node.get_mut("gpus")
        && gpus.as_text() == Some("all")
    {
        let mut all = Node::map(gpus.at);
        all.set("count", Node::text("all", gpus.at));
        gpus.data = Data::List(vec![all]);
    }
    if let Some(options) = node
        .get_mut("provider")
        .and_then(|provider| provider.get_mut("options"))
    {
        provider_options(options);
    }
    extra_hosts(node)?;
    env_file(node, base);
    for key in ["secrets", "configs"] {
        grants(node, key);
    }
    devices(node)?;
    if let Some(extends) = node.get_mut("extends") {
        if let Data::Text(service) = &extends.data {
            let service = Node::text(service.clone(), extends.at);
            extends.data = Data::Map(Map::new());
            extends.set("service", service);
        }
        path(extends, "file", base);
    }
    if let Some(develop) = node.get_mut("develop") {
        for watch in items(develop, "watch") {
            path(watch, "path", base);
            one_or_many(watch, "ignore");
            one_or_many(watch, "include");
            if let Some(exec) = watch.get_mut("exec") {
                hook(exec, warn)?;
            }
        }
    }
    ports::expand(node, left)?;
    mounts::expand(node, base)
}

/// A command run in a container: `post_start`, `pre_stop`, `develop.watch.exec`.
fn hook(node: &mut Node, warn: &mut dyn FnMut(Pos, String)) -> Result<(), Fault> {
    pairs(node, "environment", Missing::Null);
    command(node, "command", warn)
}

/// Each option to a list of texts.
fn provider_options(options: &mut Node) {
    for entry in options.as_map_mut().into_iter().flat_map(|map| map.values_mut()) {
        if let Some(text) = entry.node.scalar_text() {
            entry.node.data = Data::List(vec![Node::text(text, entry.node.at)]);
        }
        for item in entry.node.as_list_mut().into_iter().flatten() {
            if let Some(text) = item.scalar_text() {
                item.data = Data::Text(text);
            }
        }
    }
}

fn build(build: &mut Node, base: &Base) -> Result<(), Fault> {
    if let Data::Text(context) = &build.data {
        let context = Node::text(context.clone(), build.at);
        build.data = Data::Map(Map::new());
        build.set("context", context);
    }
    if let Some(Node {
        data: Data::Text(context),
        ..
    }) = build.get_mut("context")
        && !remote(context)
    {
        *context = base.text(context);
    }
    pairs(build, "args", Missing::Null);
    pairs(build, "labels", Missing::Empty);
    pairs(build, "additional_contexts", Missing::Empty);
    pairs(build, "ssh", Missing::Null);
    if let Some(contexts) = build.get_mut("additional_contexts").and_then(Node::as_map_mut) {
        for entry in contexts.values_mut() {
            if let Data::Text(context) = &mut entry.node.data
                && !remote(context)
                && !["service:", "target:", "docker-image:", "oci-layout:"]
                    .iter()
                    .any(|kind| context.starts_with(kind))
            {
                *context = base.text(context);
            }
        }
    }
    grants(build, "secrets");
    extra_hosts(build)
}

/// Whether a build context is somewhere else than on this machine.
fn remote(context: &str) -> bool {
    context.contains("://") || context.starts_with("git@") || context.starts_with("github.com/")
}

fn command(node: &mut Node, key: &str, warn: &mut dyn FnMut(Pos, String)) -> Result<(), Fault> {
    if let Some(command) = node.get_mut(key)
        && let Data::Text(line) = &command.data
    {
        let split = words::split(line).map_err(|error| {
            Fault::new(command.at, format!("`{key}` {error}")).help("or write it as a list of words")
        })?;
        if let Some(dropped) = split.dropped {
            warn(
                command.at,
                format!(
                    "`{key}` ends before `{dropped}`, as in Compose: no shell reads it; write `sh -c '…'` for a shell"
                ),
            );
        }
        command.data = Data::List(
            split
                .words
                .into_iter()
                .map(|word| Node::text(word, command.at))
                .collect(),
        );
    }
    Ok(())
}

/// `{host: [addresses]}`.
fn extra_hosts(node: &mut Node) -> Result<(), Fault> {
    let Some(hosts) = node.get_mut("extra_hosts") else {
        return Ok(());
    };
    let bare = |address: &str| address.trim_start_matches('[').trim_end_matches(']').to_owned();
    if let Data::List(items) = &hosts.data {
        let mut map = Map::new();
        for item in items {
            let text = item.as_text().unwrap_or_default();
            let (host, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(|| {
                Fault::new(item.at, format!("`{text}` is not a host and its address"))
                    .wide(text.chars().count())
                    .help("write `name=address`, such as `db=10.0.0.5`")
            })?;
            let entry = map.entry(host.to_owned()).or_insert_with(|| Entry {
                key_at: item.at,
                node: Node::list(Vec::new(), item.at),
            });
            if let Some(list) = entry.node.as_list_mut() {
                list.push(Node::text(bare(address), item.at));
            }
        }
        hosts.data = Data::Map(map);
    } else if let Some(map) = hosts.as_map_mut() {
        for entry in map.values_mut() {
            if let Data::Text(address) = &entry.node.data {
                entry.node.data = Data::List(vec![Node::text(bare(address), entry.node.at)]);
            }
        }
    }
    Ok(())
}

fn env_file(node: &mut Node, base: &Base) {
    one_or_many(node, "env_file");
    for item in items(node, "env_file") {
        if let Data::Text(file) = &item.data {
            let file = Node::text(file.clone(), item.at);
            item.data = Data::Map(Map::new());
            item.set("path", file);
        }
        path(item, "path", base);
    }
}

fn grants(node: &mut Node, key: &str) {
    for item in items(node, key) {
        if let Data::Text(source) = &item.data {
            let source = Node::text(source.clone(), item.at);
            item.data = Data::Map(Map::new());
            item.set("source", source);
        }
    }
}

fn devices(node: &mut Node) -> Result<(), Fault> {
    for item in items(node, "devices") {
        if let Data::Text(text) = &item.data {
            let at = item.at;
            let parts: Vec<&str> = text.split(':').collect();
            let (source, target, permissions) = match parts[..] {
                [source] => (source, source, "rwm"),
                [source, target] => (source, target, "rwm"),
                [source, target, permissions] => (source, target, permissions),
                _ => {
                    return Err(Fault::new(at, format!("`{text}` is not a device"))
                        .wide(text.chars().count())
                        .help("write `host`, `host:container` or `host:container:rwm`"));
                }
            };
            let values = [("source", source), ("target", target), ("permissions", permissions)];
            let values = values.map(|(key, value)| (key, Node::text(value, at)));
            item.data = Data::Map(Map::new());
            for (key, value) in values {
                item.set(key, value);
            }
        }
    }
    Ok(())
}

/// `external: {name: x}` to `external: true` and `name: x`; `external: false` to nothing.
fn external(node: &mut Node) -> Result<(), Fault> {
    let Some(external) = node.get("external") else {
        return Ok(());
    };
    let at = external.at;
    match &external.data {
        Data::Bool(false) => {
            node.remove("external");
        }
        Data::Map(_) => {
            let name = external.get_text("name").map(|name| Node::text(name, at));
            node.set("external", Node::bool(true, at));
            if let Some(name) = name {
                if node.get_text("name").is_some_and(|own| Some(own) != name.as_text()) {
                    return Err(Fault::new(at, "both `external.name` and `name` are given").help("keep only `name`"));
                }
                node.set("name", name);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::stack::yaml;

    pub(super) fn base() -> Base {
        Base {
            folder: "/p/app".into(),
            home: Some("/home/u".into()),
        }
    }

    fn read(text: &str) -> Result<Value, String> {
        let mut node = yaml::parse(text, 0).unwrap().pop().unwrap();
        service(&mut node, &base(), &mut |_, _| ()).map_err(|fault| fault.message)?;
        let once = node.to_json();
        service(&mut node, &base(), &mut |_, _| ()).map_err(|fault| fault.message)?;
        assert_eq!(once, node.to_json(), "a second pass changes nothing");
        Ok(once)
    }

    #[test]
    fn paths_are_worked_out_on_text() {
        for (path, clean) in [
            ("./a", "/p/app/a"),
            ("../a/../b", "/p/b"),
            ("/x//y/.", "/x/y"),
            ("~/h", "/home/u/h"),
            ("../../..", "/"),
            ("~x", "/home/u/x"),
        ] {
            assert_eq!(base().resolve(path), PathBuf::from(clean), "{path}");
        }
    }

    #[test]
    fn short_forms_become_long() {
        let node = read(
            "{environment: [A=1, B, 'C=x=y'], labels: {l: 1, n: }, dns: 1.1.1.1, depends_on: [db], networks: [one], \
             env_file: a.env, secrets: [tok], build: ctx, command: 'a \"b c\"', healthcheck: {test: exit 0}, \
             extends: base, expose: [80], devices: ['/dev/x'], tmpfs: /run}",
        )
        .unwrap();
        assert_eq!(node["environment"], json!({"A": "1", "B": null, "C": "x=y"}));
        assert_eq!(node["labels"], json!({"l": "1", "n": ""}));
        assert_eq!(node["dns"], json!(["1.1.1.1"]));
        assert_eq!(
            node["depends_on"],
            json!({"db": {"condition": "service_started", "required": true}})
        );
        assert_eq!(node["networks"], json!({"one": null}));
        assert_eq!(node["env_file"], json!([{"path": "/p/app/a.env"}]));
        assert_eq!(node["secrets"], json!([{"source": "tok"}]));
        assert_eq!(node["build"], json!({"context": "/p/app/ctx"}));
        assert_eq!(node["command"], json!(["a", "b c"]));
        assert_eq!(node["healthcheck"]["test"], json!(["CMD-SHELL", "exit 0"]));
        assert_eq!(node["extends"], json!({"service": "base"}));
        assert_eq!(node["expose"], json!(["80"]));
        assert_eq!(
            node["devices"],
            json!([{"source": "/dev/x", "target": "/dev/x", "permissions": "rwm"}])
        );
        assert_eq!(node["tmpfs"], json!(["/run"]));
    }

    #[test]
    fn hosts_by_any_separator() {
        let node = read("{extra_hosts: ['a:10.0.0.1', 'a=10.0.0.2', 'b=[::1]', 'host.docker.internal:host-gateway']}")
            .unwrap();
        assert_eq!(
            node["extra_hosts"],
            json!({"a": ["10.0.0.1", "10.0.0.2"], "b": ["::1"], "host.docker.internal": ["host-gateway"]})
        );
        assert_eq!(
            read("{extra_hosts: [nope]}").unwrap_err(),
            "`nope` is not a host and its address"
        );
    }

    #[test]
    fn a_remote_build_context_is_no_path() {
        let node =
            read("{build: {context: 'https://example.org/a.git#main', additional_contexts: [x=./x, y=service:b]}}")
                .unwrap();
        assert_eq!(node["build"]["context"], "https://example.org/a.git#main");
        assert_eq!(
            node["build"]["additional_contexts"],
            json!({"x": "/p/app/x", "y": "service:b"})
        );
    }
}
