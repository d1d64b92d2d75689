//! Sizes in bytes, lengths of time in one spelling, file modes in octal.

use super::{bad, list};
use crate::stack::error::Fault;
use crate::stack::tree::{Data, Node};
use crate::stack::units;

pub(super) fn service(node: &mut Node) -> Result<(), Fault> {
    for key in [
        "mem_limit",
        "mem_reservation",
        "memswap_limit",
        "mem_swappiness",
        "shm_size",
    ] {
        size(node, key)?;
    }
    span(node, "stop_grace_period")?;
    if let Some(health) = node.get_mut("healthcheck") {
        for key in ["interval", "timeout", "start_period", "start_interval"] {
            span(health, key)?;
        }
    }
    if let Some(build) = node.get_mut("build") {
        size(build, "shm_size")?;
        for secret in list(build, "secrets") {
            mode(secret)?;
        }
    }
    if let Some(deploy) = node.get_mut("deploy") {
        for (section, keys) in [
            ("restart_policy", ["delay", "window"]),
            ("update_config", ["delay", "monitor"]),
            ("rollback_config", ["delay", "monitor"]),
        ] {
            if let Some(section) = deploy.get_mut(section) {
                for key in keys {
                    span(section, key)?;
                }
            }
        }
        if let Some(resources) = deploy.get_mut("resources") {
            for side in ["limits", "reservations"] {
                if let Some(side) = resources.get_mut(side) {
                    size(side, "memory")?;
                }
            }
        }
    }
    for key in ["secrets", "configs"] {
        for grant in list(node, key) {
            mode(grant)?;
        }
    }
    for mount in list(node, "volumes") {
        if let Some(tmpfs) = mount.get_mut("tmpfs") {
            size(tmpfs, "size")?;
            if let Some(value) = tmpfs.get("mode").map(octal).transpose()? {
                let at = tmpfs.at;
                tmpfs.set("mode", Node::int(value, at));
            }
        }
    }
    if let Some(blkio) = node.get_mut("blkio_config") {
        for key in [
            "device_read_bps",
            "device_read_iops",
            "device_write_bps",
            "device_write_iops",
        ] {
            for limit in list(blkio, key) {
                size(limit, "rate")?;
            }
        }
    }
    Ok(())
}

/// To a number of bytes, as text; `-1` stays.
fn size(node: &mut Node, key: &str) -> Result<(), Fault> {
    let Some(value) = node.get_mut(key) else { return Ok(()) };
    let text = value.scalar_text().unwrap_or_default();
    let bytes = match (&value.data, units::bytes(&text)) {
        (_, Some(bytes)) => bytes.to_string(),
        (Data::Int(number), None) => number.to_string(),
        (_, None) => return Err(bad(value, format!("`{text}` is not a size")).help("write it like 512m or 2g")),
    };
    value.data = Data::Text(bytes);
    Ok(())
}

fn span(node: &mut Node, key: &str) -> Result<(), Fault> {
    let Some(value) = node.get_mut(key) else { return Ok(()) };
    let text = value.as_text().unwrap_or_default();
    let Some(span) = units::length(text) else {
        return Err(bad(value, format!("`{text}` is not a length of time")).help("write it like 30s or 1m30s"));
    };
    value.data = Data::Text(units::written(span));
    Ok(())
}

fn mode(grant: &mut Node) -> Result<(), Fault> {
    if let Some(value) = grant.get("mode").map(octal).transpose()? {
        let at = grant.at;
        grant.set("mode", Node::text(format!("0{value:o}"), at));
    }
    Ok(())
}

/// A file mode: a number was octal in the file already (`0444` is 292), text is octal now.
pub(in crate::stack) fn octal(value: &Node) -> Result<u32, Fault> {
    let number = match &value.data {
        Data::Int(number) => u32::try_from(*number).ok(),
        Data::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        _ => None,
    };
    number.filter(|number| *number <= 0o7777).ok_or_else(|| {
        let shown = value.scalar_text().unwrap_or_default();
        bad(value, format!("`{shown}` is not a file mode")).help("write it in octal: 0444")
    })
}
