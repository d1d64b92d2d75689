use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Colour, Digest, ServiceName};
use crate::plan::numbered;
use crate::ports::{Notice, Route, RouterError, Slot};
use crate::state::write_atomic_for;

use super::haproxy::Inside;
use super::map;
use super::preview::PreviewKey;
use super::render::{self, render};

/// The rendered configuration carries what it was rendered from, so that one atomic write changes both.
///
/// ```text
/// # arkwright-router 1 <sha256 of all that follows>
/// # {"routes":[…],"gates":{…}}
/// global …
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Which of the router's containers it is for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub number: u32,
    pub routes: Vec<Route>,
    /// Closed gates and when they count as open again, in milliseconds since 1970.
    pub gates: BTreeMap<ServiceName, u64>,
    /// Services under maintenance.
    #[serde(default)]
    pub notices: BTreeMap<ServiceName, Notice>,
    /// How often each colour has begun to take clients that stay. Kept also for services that went away: their clients'
    /// cookies may come back.
    #[serde(default)]
    pub lives: BTreeMap<ServiceName, [u64; 2]>,
    /// The colour that previews reach, while a release is under way.
    #[serde(default)]
    pub previewed: BTreeMap<ServiceName, Colour>,
    /// Made when routes are first applied.
    #[serde(default)]
    pub key: Option<PreviewKey>,
}

/// The file's name in the configuration's folder.
pub fn file(number: u32) -> String {
    numbered("haproxy", number, "cfg")
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

const HEAD: &str = "# arkwright-router 1 ";
const LARGEST: u64 = 4 << 20;

impl Default for Stored {
    fn default() -> Self {
        Stored {
            number: 1,
            routes: Vec::new(),
            gates: BTreeMap::new(),
            notices: BTreeMap::new(),
            lives: BTreeMap::new(),
            previewed: BTreeMap::new(),
            key: None,
        }
    }
}

impl Stored {
    /// `None` where there is no configuration yet.
    pub fn read(path: &Path) -> Result<Option<Self>, RouterError> {
        let foreign = |why: String| RouterError::Foreign {
            path: path.display().to_string(),
            why,
        };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => file
                .take(LARGEST)
                .read_to_string(&mut text)
                .map_err(|e| foreign(e.to_string()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(foreign(e.to_string())),
        };
        let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let sum = head
            .strip_prefix(HEAD)
            .ok_or_else(|| foreign("its first line is not arkwright's".into()))?;
        if sum != Digest::of(rest.as_bytes()).hex() {
            return Err(foreign("its check sum does not match".into()));
        }
        let json = rest
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# "))
            .ok_or_else(|| foreign("its routes are missing".into()))?;
        serde_json::from_str(json).map(Some).map_err(|e| foreign(e.to_string()))
    }

    pub fn text(&self, inside: &Inside) -> Result<String, RouterError> {
        let json = serde_json::to_string(self).map_err(|e| RouterError::Write(io::Error::other(e)))?;
        let rest = format!("# {json}\n{}", render(self, inside)?);
        Ok(format!("{HEAD}{}\n{rest}", Digest::of(rest.as_bytes()).hex()))
    }

    /// Into the configuration's folder: the map before the configuration that names it. Only the router's group may
    /// read what holds the key.
    pub fn write(&self, folder: &Path, inside: &Inside) -> Result<(), RouterError> {
        let text = self.text(inside)?;
        let group = inside.owner.filter(|_| rustix::process::geteuid().is_root());
        let group = group.map(|(_, gid)| gid);
        let written = || {
            let (path, map) = (folder.join(map::NAME), map::text(self));
            if std::fs::read(&path).ok().as_deref() != Some(map.as_bytes()) {
                write_atomic_for(&path, map.as_bytes(), 0o640, group)?;
            }
            write_atomic_for(&folder.join(file(self.number)), text.as_bytes(), 0o640, group)
        };
        written().map_err(RouterError::Write)
    }

    /// Notes which colours begin to take clients that stay; whether any does.
    pub fn begin(&mut self, before: &[Route]) -> bool {
        let mut begun = false;
        for route in self.routes.iter().filter(|route| route.sticky) {
            let old = before.iter().find(|old| old.service == route.service && old.sticky);
            for slot in route.slots.iter().filter(|slot| render::weight(slot) > 0) {
                let took = |old: &Slot| old.colour == slot.colour && render::weight(old) > 0;
                if !old.is_some_and(|old| old.slots.iter().any(took)) {
                    self.lives.entry(route.service.clone()).or_default()[slot.colour as usize] += 1;
                    begun = true;
                }
            }
        }
        begun
    }

    pub fn route(&mut self, service: &ServiceName) -> Result<&mut Route, RouterError> {
        self.routes
            .iter_mut()
            .find(|route| route.service == *service)
            .ok_or_else(|| RouterError::UnknownService(service.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::model::{Colour, Span};
    use crate::ports::SlotState;

    fn stored() -> Stored {
        let slot = |colour, weight, address: Option<&str>| Slot {
            colour,
            addresses: address.into_iter().map(|a| a.parse().expect("an address")).collect(),
            weight,
            state: SlotState::Ready,
        };
        Stored {
            routes: vec![Route {
                service: "web".parse().expect("a name"),
                port: 8081,
                health_path: "/api/health".into(),
                health_every: Span::seconds(2),
                healthy_after: 3,
                replicas: 1,
                slots: [
                    slot(Colour::Blue, 95, Some("10.0.0.2")),
                    slot(Colour::Green, 5, Some("fd00::3")),
                ],
                preview: None,
                hold_limit: Some(Span::seconds(30)),
                sticky: false,
                page: None,
            }],
            gates: [("web".parse().expect("a name"), 17)].into(),
            key: Some(PreviewKey::make().expect("random bytes")),
            ..Stored::default()
        }
    }

    #[test]
    fn reads_back_what_was_written_and_refuses_what_was_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("haproxy.cfg");
        let inside = Inside::container();
        assert_eq!(Stored::read(&path).expect("none"), None);
        let stored = stored();
        stored.write(folder.path(), &inside).expect("written");
        assert_eq!(Stored::read(&path).expect("read"), Some(stored));
        let text = std::fs::read(&path).expect("there");
        for at in (0..text.len()).step_by(7) {
            let mut touched = text.clone();
            touched[at] ^= 1;
            std::fs::write(&path, touched).expect("written");
            assert!(
                matches!(Stored::read(&path), Err(RouterError::Foreign { .. })),
                "byte {at}"
            );
        }
        std::fs::write(&path, &text[..text.len() / 2]).expect("cut");
        assert!(matches!(Stored::read(&path), Err(RouterError::Foreign { .. })));
    }

    #[test]
    fn addresses_weights_and_gates_are_in_the_text_and_a_slot_without_address_is_off() {
        let text = stored().text(&Inside::container()).expect("rendered");
        assert!(text.contains("server blue1 10.0.0.2:8081 weight 95\n"), "{text}");
        assert!(text.contains("server green1 [fd00::3]:8081 weight 5\n"), "{text}");
        assert!(
            text.contains("server green1 [fd00::3]:8081 weight 5 track web/green1\n"),
            "{text}"
        );
        assert!(text.contains("setenv ARKWRIGHT_GATES closed:web=17\n"), "{text}");
        let mut off = stored();
        off.routes[0].slots[1].addresses.clear();
        let text = off.text(&Inside::container()).expect("rendered");
        assert!(
            text.contains("server green1 192.0.2.1:8081 weight 5 disabled\n"),
            "{text}"
        );
    }

    #[test]
    fn what_holds_the_key_is_for_the_router_alone_and_what_an_older_arkwright_wrote_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let stored = stored();
        stored.write(folder.path(), &Inside::container()).expect("written");
        for name in [file(1).as_str(), map::NAME] {
            let mode = std::fs::metadata(folder.path().join(name))
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o640, "{name}");
        }
        let key = stored.key.as_ref().expect("a key").base64();
        let text = stored.text(&Inside::container()).expect("rendered");
        assert!(text.contains(&key) && !format!("{stored:?}").contains(&key));
        let old = r#"{"routes":[],"gates":{"web":17}}"#;
        let old: Stored = serde_json::from_str(old).expect("read");
        assert_eq!((old.gates.len(), old.key), (1, None));
    }

    #[test]
    fn a_colour_that_begins_to_take_clients_has_another_life() {
        let mut stored = stored();
        let service = stored.routes[0].service.clone();
        let steered = |stored: &mut Stored, blue, green| {
            let before = stored.routes.clone();
            stored.routes[0].slots[0].weight = blue;
            stored.routes[0].slots[1].weight = green;
            let begun = stored.begin(&before);
            (begun, stored.lives.get(&service).copied().unwrap_or_default())
        };
        assert_eq!(steered(&mut stored, 100, 0), (false, [0, 0]));
        assert_eq!(steered(&mut stored, 95, 5), (false, [0, 0]), "nobody stays");
        let before = stored.routes.clone();
        stored.routes[0].sticky = true;
        assert!(stored.begin(&before));
        assert_eq!(steered(&mut stored, 50, 50), (false, [1, 1]));
        assert_eq!(steered(&mut stored, 100, 0), (false, [1, 1]));
        assert_eq!(steered(&mut stored, 95, 5), (true, [1, 2]));
        assert_eq!(steered(&mut stored, 0, 100), (false, [1, 2]));
        assert_eq!(steered(&mut stored, 100, 0), (true, [2, 2]));
    }

    #[test]
    fn two_services_on_one_port_and_hostile_words_are_refused() {
        let refused = |change: &dyn Fn(&mut Stored)| {
            let mut stored = stored();
            change(&mut stored);
            let result = stored.text(&Inside::container());
            assert!(matches!(result, Err(RouterError::Unrenderable { .. })), "{result:?}");
        };
        refused(&|s| {
            let mut other = s.routes[0].clone();
            other.service = "other".parse().expect("a name");
            s.routes.push(other);
        });
        refused(&|s| s.routes[0].health_path = "/x'\nglobal".into());
        refused(&|s| s.routes[0].health_path = "x".into());
        refused(&|s| s.routes[0].preview = Some(("x-a\nfoo".into(), "1".into())));
        refused(&|s| s.routes[0].preview = Some(("x-a".into(), "a' }".into())));
        refused(&|s| s.routes[0].slots[0].weight = 101);
        refused(&|s| s.routes[0].page = Some("x".repeat(20_000)));
        refused(&|s| s.routes[0].page = Some("a\0".into()));
    }
}
