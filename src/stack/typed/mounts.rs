use super::{Notes, flag, number, text};
use crate::model::Size;
use crate::stack::error::Fault;
use crate::stack::model::{FileGrant, Mount};
use crate::stack::normalise::octal;
use crate::stack::tree::Node;

/// `volumes` and `tmpfs` together; kinds of mount arkwright does not know are noted and left out.
pub(super) fn mounts(service: &str, node: &Node, note: Notes<'_>) -> Result<Vec<Mount>, Fault> {
    let mut out = Vec::new();
    for mount in node.get("volumes").and_then(Node::as_list).unwrap_or_default() {
        let target = text(mount, "target").unwrap_or_default();
        let read_only = flag(mount, "read_only");
        out.push(match mount.get_text("type").unwrap_or_default() {
            "bind" => {
                let bind = mount.get("bind");
                let option = |key: &str| bind.and_then(|bind| text(bind, key));
                let create = bind
                    .and_then(|bind| bind.get("create_host_path"))
                    .and_then(Node::as_bool);
                Mount::Bind {
                    source: text(mount, "source").unwrap_or_default().into(),
                    target,
                    read_only,
                    create_host_path: create.unwrap_or(true),
                    propagation: option("propagation"),
                    selinux: option("selinux"),
                }
            }
            "volume" => {
                let nocopy = mount.get("volume").is_some_and(|volume| flag(volume, "nocopy"));
                Mount::Volume {
                    source: text(mount, "source"),
                    target,
                    read_only,
                    nocopy,
                }
            }
            "tmpfs" => {
                let tmpfs = mount.get("tmpfs");
                Mount::Tmpfs {
                    target,
                    size: tmpfs.map(|tmpfs| number(tmpfs, "size")).transpose()?.flatten(),
                    mode: tmpfs.map(|tmpfs| number(tmpfs, "mode")).transpose()?.flatten(),
                }
            }
            kind => {
                note(
                    mount.at,
                    format!("a mount of type `{kind}` of `{service}` is left out: arkwright does not carry it yet"),
                );
                continue;
            }
        });
    }
    for item in node.get("tmpfs").and_then(Node::as_list).unwrap_or_default() {
        out.push(tmpfs(item, note)?);
    }
    Ok(out)
}

/// `/run:size=64m,mode=1777`.
fn tmpfs(item: &Node, note: Notes<'_>) -> Result<Mount, Fault> {
    let whole = item.as_text().unwrap_or_default();
    let (target, options) = whole.split_once(':').unwrap_or((whole, ""));
    let (mut size, mut mode) = (None, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                let parsed: Size = value.parse().map_err(|error| {
                    Fault::new(item.at, format!("{error}"))
                        .wide(whole.chars().count())
                        .help("write `/run:size=64m`")
                })?;
                size = Some(parsed.0);
            }
            Some(("mode", value)) => mode = Some(octal(&Node::text(value, item.at))?),
            _ => note(
                item.at,
                format!("the option `{option}` of the tmpfs {target} is not carried"),
            ),
        }
    }
    Ok(Mount::Tmpfs {
        target: target.to_owned(),
        size,
        mode,
    })
}

/// What a service is granted; a relative target is below `folder`.
pub(super) fn grants(node: &Node, key: &str, folder: &str) -> Result<Vec<FileGrant>, Fault> {
    let list = node.get(key).and_then(Node::as_list).unwrap_or_default();
    list.iter()
        .map(|grant| {
            let source = text(grant, "source").unwrap_or_default();
            let target = text(grant, "target").unwrap_or_else(|| source.clone());
            let target = if target.starts_with('/') {
                target
            } else {
                format!("{folder}{target}")
            };
            let mode = grant.get("mode").map(octal).transpose()?;
            Ok(FileGrant {
                source,
                target,
                uid: text(grant, "uid"),
                gid: text(grant, "gid"),
                mode,
            })
        })
        .collect()
}
