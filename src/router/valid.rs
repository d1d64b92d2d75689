use crate::ports::{Route, RouterError};

use super::page;

/// Refuses what would be another configuration than was meant.
pub fn check(routes: &[Route]) -> Result<(), RouterError> {
    let refuse = |what: String, why: &str| {
        Err(RouterError::Unrenderable {
            what,
            why: why.to_owned(),
        })
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !b"'\"\\".contains(&b));
    for (at, route) in routes.iter().enumerate() {
        let service = &route.service;
        if let Some(other) = routes[..at]
            .iter()
            .find(|r| r.port == route.port || r.service == *service)
        {
            return refuse(
                format!("port {} of {service}", route.port),
                &format!(
                    "{} listens there behind the same router; give one of them another port",
                    other.service
                ),
            );
        }
        if !plain(&route.health_path) || !route.health_path.starts_with('/') {
            return refuse(
                format!("the health path of {service}"),
                "it has to begin with `/` and hold neither space, quote nor backslash",
            );
        }
        if let Some((header, value)) = &route.preview {
            let token = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            if header.is_empty() || !header.bytes().all(token) {
                return refuse(
                    format!("the preview header of {service}"),
                    "it is not the name of a header",
                );
            }
            if value.is_empty() || !plain(value) || value.starts_with('-') || value.contains(['{', '}']) {
                return refuse(
                    format!("the preview value of {service}"),
                    "it is empty, begins with `-`, or holds a space, a quote, a brace or a backslash",
                );
            }
        }
        if !route.page.as_deref().is_none_or(page::usable) {
            return refuse(
                format!("the maintenance page of {service}"),
                "it is longer than 16 KiB, or holds control characters",
            );
        }
        for (slot, other) in [(&route.slots[0], &route.slots[1]), (&route.slots[1], &route.slots[0])] {
            if slot.colour == other.colour || slot.weight > 100 || slot.addresses.len() > route.replicas.max(1) as usize
            {
                return refuse(
                    format!("the {} slot of {service}", slot.colour),
                    "it contradicts itself",
                );
            }
        }
    }
    Ok(())
}
