use crate::model::{Colour, ServiceName};

use super::haproxy::Inside;
use super::stored::Stored;

/// The file's name in the configuration's folder. The running process has read it once; a change is made in both.
pub const NAME: &str = "state.map";

pub fn path(inside: &Inside) -> String {
    format!("{}/{NAME}", inside.config)
}

/// Seconds after which clients may come back, 0 where there is no maintenance.
pub fn notice(service: &ServiceName) -> String {
    format!("notice/{service}")
}

/// How often the colour has begun to take clients; one who was given an earlier number does not stay.
pub fn life(service: &ServiceName, colour: Colour) -> String {
    format!("life/{service}/{colour}")
}

/// Whom previews reach: 1 is blue, 2 green, 0 nobody in particular.
pub fn previewed(service: &ServiceName) -> String {
    format!("previewed/{service}")
}

/// How the colour is written there.
pub fn number(colour: Colour) -> u64 {
    colour as u64 + 1
}

/// Every key is always there, so that a change is one command that cannot fail half way.
fn entries<'a>(stored: &'a Stored, service: &'a ServiceName) -> impl Iterator<Item = (String, u64)> + 'a {
    let seconds = stored.notices.get(service).map_or(0, |notice| notice.seconds());
    let lives = stored.lives.get(service).copied().unwrap_or_default();
    let lives = Colour::BOTH
        .into_iter()
        .map(move |colour| (life(service, colour), lives[colour as usize]));
    let seen = stored.previewed.get(service).map_or(0, |colour| number(*colour));
    [(notice(service), seconds), (previewed(service), seen)]
        .into_iter()
        .chain(lives)
}

pub fn text(stored: &Stored) -> String {
    stored
        .routes
        .iter()
        .flat_map(|route| entries(stored, &route.service))
        .map(|(key, value)| format!("{key} {value}\n"))
        .collect()
}

/// What brings the running process to it.
pub fn commands(stored: &Stored, service: &ServiceName, inside: &Inside) -> Vec<String> {
    let path = path(inside);
    entries(stored, service)
        .map(|(key, value)| format!("set map {path} {key} {value}"))
        .collect()
}
