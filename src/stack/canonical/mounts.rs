//! `[source:]target[:options]` to a mount.

use std::path::Path;

use super::forms::{Missing, items, pairs};
use super::{Base, clean};
use crate::stack::error::Fault;
use crate::stack::tree::{Data, Map, Node};

pub(super) fn expand(service: &mut Node, base: &Base) -> Result<(), Fault> {
    for item in items(service, "volumes") {
        if let Data::Text(text) = &item.data {
            let text = text.clone();
            item.data = Data::Map(Map::new());
            short(&text, item, base)?;
        } else {
            long(item, base)?;
        }
    }
    Ok(())
}

fn long(item: &mut Node, base: &Base) -> Result<(), Fault> {
    if item.get_text("type") == Some("bind")
        && let Some(Node {
            data: Data::Text(source),
            ..
        }) = item.get_mut("source")
    {
        *source = host_path(source, base);
    }
    if let Some(Node {
        data: Data::Text(target),
        ..
    }) = item.get_mut("target")
        && !target.is_empty()
    {
        *target = inside(target);
    }
    if let Some(mode) = item.get("tmpfs").and_then(|tmpfs| tmpfs.get("mode"))
        && mode.as_text().is_some()
    {
        return Err(Fault::new(mode.at, "the mode of a tmpfs is a number").help("write it without quotes: 0755"));
    }
    if let Some(volume) = item.get_mut("volume") {
        pairs(volume, "labels", Missing::Empty);
    }
    Ok(())
}

/// Whether a source is a place on the host; anything else is a volume's name.
fn is_path(source: &str) -> bool {
    source.starts_with(['.', '/', '~']) || source.starts_with(r"\\") || drive(source)
}

/// `C:`, as a path of another system begins; Compose takes any single letter for one.
fn drive(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(char::is_alphabetic) && chars.next() == Some(':')
}

fn host_path(source: &str, base: &Base) -> String {
    if drive(source) || source.starts_with(r"\\") {
        return source.to_owned();
    }
    base.text(source)
}

/// A path in the container, without what means nothing.
fn inside(target: &str) -> String {
    clean(Path::new(target)).to_string_lossy().into_owned()
}

/// At colons, but not at the one of `C:`.
fn parts(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        let skip = if drive(rest) {
            rest.find(':').map_or(0, |colon| colon + 1)
        } else {
            0
        };
        match rest[skip..].find(':') {
            Some(colon) => {
                out.push(&rest[..skip + colon]);
                rest = &rest[skip + colon + 1..];
            }
            None => {
                out.push(rest);
                return out;
            }
        }
    }
}

fn short(text: &str, item: &mut Node, base: &Base) -> Result<(), Fault> {
    let at = item.at;
    let refuse = |message: String| {
        Fault::new(at, message)
            .wide(text.chars().count())
            .help("write `SOURCE:TARGET` or `SOURCE:TARGET:ro`")
    };
    let parts = if text.len() <= 2 { vec![text] } else { parts(text) };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(refuse(format!("`{text}` has an empty part")));
    }
    let (source, target, options) = match parts[..] {
        [target] => (None, target, ""),
        [source, target] => (Some(source), target, ""),
        [source, target, options] => (Some(source), target, options),
        _ => return Err(refuse(format!("`{text}` has too many colons"))),
    };
    item.set("target", Node::text(inside(target), at));
    let bind = source.is_some_and(is_path);
    if let Some(source) = source {
        let source = if bind {
            host_path(source, base)
        } else {
            source.to_owned()
        };
        item.set("source", Node::text(source, at));
    }
    item.set("type", Node::text(if bind { "bind" } else { "volume" }, at));
    let mut detail = Node::map(at);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => item.set("read_only", Node::bool(true, at)),
            "nocopy" if !bind => detail.set("nocopy", Node::bool(true, at)),
            "z" | "Z" if bind => detail.set("selinux", Node::text(option, at)),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" if bind => {
                detail.set("propagation", Node::text(option, at));
            }
            // Compose reads past the rest: `rw`, `cached`, `delegated`, and what the kind of mount has no use for.
            _ => {}
        }
    }
    item.set(if bind { "bind" } else { "volume" }, detail);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stack::tree::Pos;

    fn read(text: &str) -> Result<serde_json::Value, String> {
        let mut item = Node::map(Pos::default());
        short(text, &mut item, &super::super::tests::base()).map_err(|fault| fault.message)?;
        Ok(item.to_json())
    }

    #[test]
    fn forms() {
        assert_eq!(
            read("./data:/data/").unwrap(),
            json!({"type": "bind", "source": "/p/app/data", "target": "/data", "bind": {}})
        );
        assert_eq!(
            read("named:/n:ro,nocopy").unwrap(),
            json!({"type": "volume", "source": "named", "target": "/n", "read_only": true, "volume": {"nocopy": true}})
        );
        assert_eq!(
            read("/anon").unwrap(),
            json!({"type": "volume", "target": "/anon", "volume": {}})
        );
        assert_eq!(
            read("~/h:/h:Z,rslave").unwrap(),
            json!({"type": "bind", "source": "/home/u/h", "target": "/h", "bind": {"selinux": "Z", "propagation": "rslave"}})
        );
    }

    #[test]
    fn one_letter_is_a_drive() {
        for (text, read_as) in [
            (
                r"C:\data:/data:ro",
                json!({"type": "bind", "source": r"C:\data", "target": "/data", "read_only": true, "bind": {}}),
            ),
            ("v:/data", json!({"type": "volume", "target": "v:/data", "volume": {}})),
            (
                "vv:/data",
                json!({"type": "volume", "source": "vv", "target": "/data", "volume": {}}),
            ),
            (
                r"\\server\share:/s",
                json!({"type": "bind", "source": r"\\server\share", "target": "/s", "bind": {}}),
            ),
        ] {
            assert_eq!(read(text).unwrap(), read_as, "{text}");
        }
    }

    #[test]
    fn refusals() {
        assert_eq!(read("ab:/b:ro:x").unwrap_err(), "`ab:/b:ro:x` has too many colons");
        assert_eq!(read("ab::ro").unwrap_err(), "`ab::ro` has an empty part");
        assert_eq!(read("").unwrap_err(), "`` has an empty part");
    }
}
