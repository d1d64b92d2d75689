//! `[[address:]host:]container[/protocol]`, ranges included, to one mapping a port.

use std::net::IpAddr;

use crate::stack::error::Fault;
use crate::stack::tree::{Data, Node, Pos};

/// Most ports the services of one file may publish, ranges written out.
const MOST: usize = 32_768;

/// How many ports the file may still have.
pub(super) struct Left(usize);

impl Default for Left {
    fn default() -> Self {
        Left(MOST)
    }
}

pub(super) fn expand(service: &mut Node, left: &mut Left) -> Result<(), Fault> {
    let Some(ports) = service.get_mut("ports") else {
        return Ok(());
    };
    let Some(items) = ports.as_list_mut() else {
        return Ok(());
    };
    let mut out = Vec::with_capacity(items.len());
    for mut item in std::mem::take(items) {
        let at = item.at;
        if item.as_map().is_some() {
            long(&mut item)?;
            out.push(item);
        } else if let Some(text) = item.scalar_text() {
            short(&text, at, &mut out)?;
        } else {
            out.push(item);
        }
        if out.len() > left.0 {
            let what = format!("more than {MOST} ports once ranges are written out");
            return Err(Fault::new(at, what).help("publish fewer ports, or use `network_mode: host`"));
        }
    }
    left.0 -= out.len();
    *items = out;
    Ok(())
}

fn long(item: &mut Node) -> Result<(), Fault> {
    if let Some(published) = item.get("published")
        && let Some(text) = published.scalar_text().filter(|text| !text.is_empty())
    {
        range(&text).map_err(|problem| problem.fault(published.at, &text, "host"))?;
    }
    if let Some(target) = item.get("target")
        && let Data::Int(port) = target.data
        && !(0..=65_535).contains(&port)
    {
        return Err(Problem::TooBig.fault(target.at, &port.to_string(), "container"));
    }
    if let Some(ip) = item.get("host_ip")
        && let Some(text) = ip.as_text()
        && !text.is_empty()
        && text.parse::<IpAddr>().is_err()
    {
        return Err(not_an_address(ip.at, text));
    }
    Ok(())
}

fn not_an_address(at: Pos, text: &str) -> Fault {
    Fault::new(at, format!("`{text}` is not an IP address"))
        .wide(text.chars().count())
        .help("a port is bound to an address such as 127.0.0.1 or [::1], not to a name")
}

enum Problem {
    NotANumber,
    TooBig,
    Backwards,
}

impl Problem {
    fn fault(self, at: Pos, text: &str, side: &str) -> Fault {
        let (what, help) = match self {
            Problem::NotANumber => (
                "is not a port or a range of ports",
                "write a number, or a range such as 3000-3005",
            ),
            Problem::TooBig => ("is not a port: they end at 65535", "choose a port from 1 to 65535"),
            Problem::Backwards => ("is a range that ends before it begins", "write the smaller port first"),
        };
        Fault::new(at, format!("{side} port `{text}` {what}"))
            .wide(text.chars().count())
            .help(help)
    }
}

fn range(text: &str) -> Result<(u16, u16), Problem> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if digits {
            text.parse::<u16>().map_err(|_| Problem::TooBig)
        } else {
            Err(Problem::NotANumber)
        }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first <= last {
        Ok((first, last))
    } else {
        Err(Problem::Backwards)
    }
}

fn short(text: &str, at: Pos, out: &mut Vec<Node>) -> Result<(), Fault> {
    let width = text.chars().count();
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Fault::new(at, format!("`{protocol}` is not a protocol"))
            .wide(width)
            .help("use tcp, udp or sctp"));
    }
    let mut parts = ports.rsplitn(3, ':');
    let container = parts.next().unwrap_or_default();
    let host = parts.next().unwrap_or_default();
    let ip = parts.next().unwrap_or_default();
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(not_an_address(at, ip).wide(width));
    }
    if container.is_empty() {
        return Err(Fault::new(at, format!("`{text}` names no container port"))
            .wide(width)
            .help("write `HOST:CONTAINER`, such as 8080:80"));
    }
    if container.bytes().all(|b| b == b'0') {
        return Err(Fault::new(at, format!("`{text}` publishes the container port 0"))
            .wide(width)
            .help("choose a port from 1 to 65535"));
    }
    let (first, last) = range(container).map_err(|problem| problem.fault(at, container, "container").wide(width))?;
    let hosts = match host {
        "" => None,
        host => Some(range(host).map_err(|problem| problem.fault(at, host, "host").wide(width))?),
    };
    let count = last - first;
    if let Some((begin, end)) = hosts
        && end - begin != count
        && count != 0
    {
        return Err(Fault::new(
            at,
            format!("host ports `{host}` and container ports `{container}` differ in number"),
        )
        .wide(width)
        .help("make both ranges equally long, or give one container port"));
    }
    for offset in 0..=count {
        let mut port = Node::map(at);
        if !ip.is_empty() {
            port.set("host_ip", Node::text(ip, at));
        }
        if let Some((begin, end)) = hosts {
            let published = if count == 0 && begin != end {
                host.to_owned()
            } else {
                (begin + offset).to_string()
            };
            port.set("published", Node::text(published, at));
        }
        port.set("target", Node::int(first + offset, at));
        port.set("protocol", Node::text(protocol.clone(), at));
        out.push(port);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        short(text, Pos::default(), &mut out).map_err(|fault| fault.message)?;
        let part = |node: &Node, key: &str| node.get(key).and_then(Node::scalar_text).unwrap_or_default();
        Ok(out
            .iter()
            .map(|port| {
                format!(
                    "{}|{}|{}/{}",
                    part(port, "host_ip"),
                    part(port, "published"),
                    part(port, "target"),
                    part(port, "protocol")
                )
            })
            .collect())
    }

    #[test]
    fn forms() {
        for (text, ports) in [
            ("80", vec!["||80/tcp"]),
            ("8080:80", vec!["|8080|80/tcp"]),
            ("53:53/UDP", vec!["|53|53/udp"]),
            ("127.0.0.1:8080:80", vec!["127.0.0.1|8080|80/tcp"]),
            ("127.0.0.1::80", vec!["127.0.0.1||80/tcp"]),
            ("[::1]:8080:80", vec!["::1|8080|80/tcp"]),
            ("3000-3001:4000-4001", vec!["|3000|4000/tcp", "|3001|4001/tcp"]),
            ("3000-3001", vec!["||3000/tcp", "||3001/tcp"]),
            ("9090-9091:8080", vec!["|9090-9091|8080/tcp"]),
        ] {
            assert_eq!(read(text).unwrap(), ports, "{text}");
        }
    }

    #[test]
    fn refusals() {
        for (text, message) in [
            ("70000:80", "host port `70000` is not a port: they end at 65535"),
            ("80:x", "container port `x` is not a port or a range of ports"),
            ("5-3:80", "host port `5-3` is a range that ends before it begins"),
            (
                "3000-3002:4000-4001",
                "host ports `3000-3002` and container ports `4000-4001` differ in number",
            ),
            ("name:80:80", "`name` is not an IP address"),
            ("80:", "`80:` names no container port"),
            ("80/ftp", "`ftp` is not a protocol"),
        ] {
            assert_eq!(read(text).unwrap_err(), message, "{text}");
        }
    }
}
