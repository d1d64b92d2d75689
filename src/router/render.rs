use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Colour, Digest, ServiceName, Span};
use crate::plan::numbered;
use crate::ports::{Route, RouterError, Slot, SlotState};

use super::door;
use super::haproxy::Inside;
use super::log;
use super::map;
use super::page;
use super::preview;
use super::stored::Stored;
use super::valid::check;

/// The Lua part, beside the configuration.
pub const HOLD: &str = include_str!("hold.lua");

/// Whom requests come from that a process from before a reload passes on; the client's address is told already.
const PASSED_ON: &str = "127.87.0.1";

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
    shape.notices.clear();
    shape.previewed.clear();
    shape.lives.clear();
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
    stats socket {run}/{admin} mode 660 level admin expose-fd listeners
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
    option forwardfor except {PASSED_ON}
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
        admin = numbered("admin", stored.number, "sock"),
    );
    for route in &stored.routes {
        text.push_str(&frontend(route, stored, inside).0);
        for name in [route.service.to_string(), upgraded(&route.service)] {
            text.push_str(&backend(route, &name).0);
        }
        text.push_str(&again(route, inside).0);
    }
    text
}

/// Where a request is looked at before a server is chosen for it. What is found here the backends read.
fn frontend(route: &Route, stored: &Stored, inside: &Inside) -> Lines {
    let service = &route.service;
    let map = map::path(inside);
    let mut lines = Lines::new(&format!("frontend {service}:in"));
    lines.add(format!("bind {}:{}", inside.listen, route.port));
    if stored.number > 1 {
        let socket = door::socket(inside, stored.number, service);
        lines.add(format!("bind unix@{socket} mode 660 accept-proxy"));
    }
    // The time of an upgraded connection is its life, which says nothing.
    lines.add("http-request set-log-level silent if { req.hdr(upgrade) -m found }");
    if let Some((header, value)) = &route.preview {
        lines.add(format!(
            "http-request set-var(txn.preview) bool(true) if {{ req.hdr({header}) -m str '{value}' }}"
        ));
    }
    if let Some(key) = &stored.key {
        let (given, key, signed) = (
            format!("req.cook({})", preview::COOKIE),
            key.base64(),
            preview::signed(service),
        );
        let there = format!("if {{ {given} -m found }}");
        for set in [
            format!("set-var(txn.until) {given},field(1,.) {there}"),
            format!("set-var(txn.signed) {given},field(2,.) {there}"),
            format!("set-var(txn.signature) str({signed}),concat(,txn.until),hmac(sha256,{key}),hex,lower {there}"),
            format!("set-var(txn.now) date() {there}"),
            "set-var(txn.preview) bool(true) if { var(txn.signed),secure_memcmp(txn.signature) } \
             { var(txn.until),sub(txn.now) gt 0 }"
                .into(),
        ] {
            lines.add(format!("http-request {set}"));
        }
    }
    // Nor does that of our own looks around.
    lines.add("http-request set-log-level silent if { var(txn.preview) -m bool }");
    lines.add(format!(
        "http-request set-var(txn.previewed) str({}),map_str_int({map},0)",
        map::previewed(service)
    ));
    lines.add(format!(
        "http-request set-var(txn.notice) str({}),map_str_int({map},0)",
        map::notice(service)
    ));
    lines.add(format!(
        "http-request return status 503 content-type 'text/html; charset=utf-8' string {} hdr Retry-After %[var(txn.notice)] hdr Cache-Control no-store if {{ var(txn.notice) -m int gt 0 }} !{{ var(txn.preview) -m bool }} !{{ stopping }}",
        page::quoted(route.page.as_deref().unwrap_or(page::PAGE))
    ));
    if route.hold_limit.is_some() {
        lines.add(format!("http-request lua.arkwright_gate {service}"));
    }
    if route.sticky {
        for colour in Colour::BOTH {
            let life = map::life(service, colour);
            lines.add(format!(
                "http-request set-var(txn.{colour}) str({life}),map_str({map},0)"
            ));
        }
        lines.add(format!("http-request set-var(txn.kept) req.cook({})", sticky(service)));
        lines.add("http-request set-var(txn.kept_server) var(txn.kept),field(1,.)");
        lines.add("http-request set-var(txn.kept_life) var(txn.kept),field(2,.)");
    }
    // What comes to a process that a reload has left behind belongs to the one that took over, and its weights.
    lines.add(format!("use_backend {service}:again if {{ stopping }}"));
    lines.add(format!(
        "use_backend {} if {{ req.hdr(upgrade) -m found }}",
        upgraded(service)
    ));
    lines.add(format!("default_backend {service}"));
    lines
}

/// Where this router listens itself, for requests that come to a process from before a reload.
fn again(route: &Route, inside: &Inside) -> Lines {
    let at = match inside.listen.as_str() {
        "*" => "127.0.0.1",
        address => address,
    };
    let mut lines = Lines::new(&format!("backend {}:again", route.service));
    lines.add(format!("server self {at}:{} source {PASSED_ON}", route.port));
    lines
}

/// The servers; only one of a service's two backends checks them, the other one follows.
fn backend(route: &Route, name: &str) -> Lines {
    let service = &route.service;
    let checked = name == service.as_str();
    let mut lines = Lines::new(&format!("backend {name}"));
    lines.add("balance roundrobin");
    if checked {
        let quick = if route.hold_limit.is_some() { QUICK } else { BRISK }.min(route.health_every);
        lines.add("option httpchk");
        lines.add(format!(
            "http-check send meth GET uri '{}' ver HTTP/1.1 hdr Host localhost hdr User-Agent arkwright",
            route.health_path
        ));
        lines.add("http-check expect status 200-399");
        lines.add(format!(
            "default-server check inter {}ms fastinter {quick}ms downinter {quick}ms rise {} fall {FALL} pool-purge-delay 1s",
            millis(route.health_every),
            route.healthy_after.max(1),
            quick = millis(quick),
        ));
    }
    if route.sticky {
        stay(route, &mut lines);
    }
    for (slot, replica) in servers(route) {
        let server = server(slot, replica);
        lines.add(format!(
            "use-server {server} if {{ var(txn.preview) -m bool }} {{ var(txn.previewed) -m int {} }} {{ srv_is_up({service}/{server}) }}",
            map::number(slot.colour)
        ));
    }
    if route.sticky {
        for (slot, replica) in servers(route) {
            let server = server(slot, replica);
            lines.add(format!(
                "use-server {server} if {{ var(txn.kept_server) -m str {server} }} {{ var(txn.kept_life),strcmp(txn.{}) 0 }} !{{ srv_uweight({service}/{server}) 0 }} {{ srv_is_up({service}/{server}) }}",
                slot.colour
            ));
        }
    }
    for (slot, replica) in servers(route) {
        let server = server(slot, replica);
        let port = route.port;
        let address = match usable(slot, replica).unwrap_or(NOWHERE) {
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
        lines.add(format!("server {server} {address} weight {}{off}{track}", weight(slot)));
    }
    lines
}

/// Tells a client where it belongs, unless it says so itself.
///
/// HAProxy's own `cookie … insert` lets its clients in at weight 0, and would let those of an earlier release in again
/// when the colour begins anew: this cookie holds the colour's life as well.
fn stay(route: &Route, lines: &mut Lines) {
    for colour in Colour::BOTH {
        lines.add(format!(
            "http-response set-var(txn.life) var(txn.{colour}) if {{ srv_name -m beg {colour} }}"
        ));
    }
    lines.add("http-response set-var(txn.mark) srv_name,concat(.,txn.life)");
    let cookie = sticky(&route.service);
    for header in [
        format!("Set-Cookie \"{cookie}=%[var(txn.mark)]; Path=/; HttpOnly; SameSite=Lax\""),
        "Cache-Control private".into(),
    ] {
        lines.add(format!(
            "http-response add-header {header} if !{{ var(txn.kept),strcmp(txn.mark) 0 }} !{{ var(txn.preview) -m bool }}"
        ));
    }
}

/// The cookie that a client stays by; services behind one name do not disturb each other.
fn sticky(service: &ServiceName) -> String {
    format!("arkwright-colour-{service}")
}

/// A section of the configuration.
struct Lines(String);

impl Lines {
    fn new(head: &str) -> Self {
        Lines(format!("\n{head}\n"))
    }

    fn add(&mut self, line: impl AsRef<str>) {
        for part in ["    ", line.as_ref(), "\n"] {
            self.0.push_str(part);
        }
    }
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
