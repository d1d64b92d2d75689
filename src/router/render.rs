use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Digest, ServiceName, Span};
use crate::ports::{Route, RouterError, Slot, SlotState};

use super::haproxy::Inside;
use super::log;
use super::stored::Stored;

/// The Lua part, beside the configuration.
pub const HOLD: &str = include_str!("hold.lua");

/// Where a slot without an address points: a network that is reserved for documents, so that nothing answers.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Failed checks in a row before a slot is down. More than the usual three: a service that is slow for a moment is
/// worth more than a 503 for everyone.
const FALL: u32 = 5;

/// Checks of a slot that is coming or going, where the gate holds requests meanwhile and where not.
const QUICK: Span = Span::millis(100);
const BRISK: Span = Span::millis(500);

/// The server line's name of a replica, counting from 1.
pub fn server(slot: &Slot, replica: usize) -> String {
    format!("{}{}", slot.colour, replica + 1)
}

/// Upgraded connections have a backend of their own, so that they are counted apart and can be shut.
pub fn upgraded(service: &ServiceName) -> String {
    format!("{service}:upgraded")
}

/// Whether the replica takes part: it has an address, and its slot is not out of service.
pub fn usable(slot: &Slot, replica: usize) -> Option<IpAddr> {
    slot.addresses
        .get(replica)
        .copied()
        .filter(|_| slot.state != SlotState::Maint)
}

/// HAProxy's weights go to 256, so a percentage is one; a slot that drains has none.
pub fn weight(slot: &Slot) -> u8 {
    match slot.state {
        SlotState::Drain => 0,
        _ => slot.weight,
    }
}

/// The configuration's text, valid for HAProxy 2.6 and newer.
pub fn render(stored: &Stored, inside: &Inside) -> Result<String, RouterError> {
    check(&stored.routes)?;
    Ok(text(stored, inside, &shape(stored, inside)))
}

/// What only a reload changes, as a digest; the running process carries that of its own.
pub fn shape(stored: &Stored, inside: &Inside) -> String {
    let mut shape = stored.clone();
    shape.gates.clear();
    for slot in shape.routes.iter_mut().flat_map(|route| &mut route.slots) {
        slot.addresses.clear();
        slot.weight = 0;
        slot.state = SlotState::Maint;
    }
    Digest::of((text(&shape, inside, "") + HOLD).as_bytes()).hex()
}

fn text(stored: &Stored, inside: &Inside, shape: &str) -> String {
    let gates: Vec<String> = stored
        .gates
        .iter()
        .map(|(service, ends)| format!("{service}={ends}"))
        .collect();
    // An empty value is refused, so there is always a word in front.
    let mut text = format!(
        "global
    description arkwright:{shape}
    setenv ARKWRIGHT_GATES closed:{gates}
    lua-load {config}/hold.lua
    # Datagrams that nobody takes are dropped, never waited for.
    log {run}/{socket} len {longest} format raw local0
    stats socket {run}/admin.sock mode 660 level admin expose-fd listeners
    fd-hard-limit 20000
    tune.bufsize 32768

defaults
    mode http
    log global
    log-format \"%b %s %ST %Ta\"
    # Nothing is buffered and nobody is hurried: uploads of an hour are somebody's photographs.
    timeout connect 5s
    timeout check 5s
    timeout http-request 60s
    timeout http-keep-alive 10m
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    timeout queue 30s
    option idle-close-on-response
    option forwardfor
    http-reuse safe
    # Tried again only where no byte of the request has left: then it cannot have been done twice.
    retries 3
    retry-on conn-failure
    option redispatch 1
    http-error status 503 content-type text/plain string 'This service is not available just now.' hdr Retry-After 5
",
        gates = gates.join(","),
        config = inside.config,
        run = inside.run,
        socket = log::SOCKET,
        longest = log::LONGEST,
    );
    for route in &stored.routes {
        text.push_str(&one(route, inside));
    }
    text
}

fn one(route: &Route, inside: &Inside) -> String {
    let service = &route.service;
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        writeln!(text, "{words}").unwrap_or_default();
    };
    line(format_args!("\nfrontend {service}:in"));
    line(format_args!("    bind {}:{}", inside.listen, route.port));
    // The time of an upgraded connection is its life, which says nothing.
    line(format_args!(
        "    http-request set-log-level silent if {{ req.hdr(upgrade) -m found }}"
    ));
    if route.hold_limit.is_some() {
        line(format_args!("    http-request lua.arkwright_gate {service}"));
    }
    line(format_args!(
        "    use_backend {} if {{ req.hdr(upgrade) -m found }}",
        upgraded(service)
    ));
    line(format_args!("    default_backend {service}"));
    let quick = if route.hold_limit.is_some() { QUICK } else { BRISK }.min(route.health_every);
    for name in [service.to_string(), upgraded(service)] {
        let checked = name == service.as_str();
        line(format_args!("\nbackend {name}\n    balance roundrobin"));
        if checked {
            line(format_args!("    option httpchk"));
            line(format_args!(
                "    http-check send meth GET uri '{}' ver HTTP/1.1 hdr Host localhost hdr User-Agent arkwright",
                route.health_path
            ));
            line(format_args!("    http-check expect status 200-399"));
            line(format_args!(
                "    default-server check inter {}ms fastinter {quick}ms downinter {quick}ms rise {} fall {FALL} pool-purge-delay 1s",
                millis(route.health_every),
                route.healthy_after.max(1),
                quick = millis(quick),
            ));
        }
        if let Some((header, value)) = &route.preview {
            for (slot, replica) in servers(route) {
                let server = server(slot, replica);
                line(format_args!(
                    "    use-server {server} if {{ req.hdr({header}) -m str '{value}' }} {{ srv_uweight({service}/{server}) 0 }} {{ srv_is_up({service}/{server}) }}"
                ));
            }
        }
        for (slot, replica) in servers(route) {
            let server = server(slot, replica);
            let address = usable(slot, replica).unwrap_or(NOWHERE);
            let port = route.port;
            let address = match address {
                IpAddr::V4(v4) => format!("{v4}:{port}"),
                IpAddr::V6(v6) => format!("[{v6}]:{port}"),
            };
            let off = if checked && usable(slot, replica).is_none() {
                " disabled"
            } else {
                ""
            };
            let track = if checked {
                String::new()
            } else {
                format!(" track {service}/{server}")
            };
            line(format_args!(
                "    server {server} {address} weight {}{off}{track}",
                weight(slot)
            ));
        }
    }
    text
}

/// Every server line of the service: slot and replica, replicas counting from 0.
pub fn servers(route: &Route) -> impl Iterator<Item = (&Slot, usize)> {
    route
        .slots
        .iter()
        .flat_map(|slot| (0..route.replicas.max(1) as usize).map(move |replica| (slot, replica)))
}

/// The same, those with most weight first: commands are carried out one by one, and in between somebody has to serve.
pub fn heaviest_first(route: &Route) -> Vec<(&Slot, usize)> {
    let mut servers: Vec<_> = servers(route).collect();
    servers.sort_by_key(|(slot, _)| std::cmp::Reverse(weight(slot)));
    servers
}

fn millis(span: Span) -> u128 {
    span.std().as_millis().max(1)
}

/// Refuses what would be another configuration than was meant.
fn check(routes: &[Route]) -> Result<(), RouterError> {
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
            if value.is_empty() || !plain(value) {
                return refuse(
                    format!("the preview value of {service}"),
                    "it is empty, or holds a space, a quote or a backslash",
                );
            }
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
