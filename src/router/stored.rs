use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::{Digest, ServiceName};
use crate::ports::{Route, RouterError};
use crate::state::write_atomic;

use super::haproxy::Inside;
use super::render::render;

/// The rendered configuration carries what it was rendered from, so that one atomic write changes both.
///
/// ```text
/// # arkwright-router 1 <sha256 of all that follows>
/// # {"routes":[…],"gates":{…}}
/// global …
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub routes: Vec<Route>,
    /// Closed gates and when they count as open again, in milliseconds since 1970.
    pub gates: BTreeMap<ServiceName, u64>,
}

const HEAD: &str = "# arkwright-router 1 ";
const LARGEST: u64 = 4 << 20;

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

    pub fn write(&self, path: &Path, inside: &Inside) -> Result<(), RouterError> {
        write_atomic(path, self.text(inside)?.as_bytes(), 0o644).map_err(RouterError::Write)
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
    use super::*;
    use crate::model::{Colour, Span};
    use crate::ports::{Slot, SlotState};

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
        }
    }

    #[test]
    fn reads_back_what_was_written_and_refuses_what_was_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("haproxy.cfg");
        let inside = Inside::container();
        assert_eq!(Stored::read(&path).expect("none"), None);
        stored().write(&path, &inside).expect("written");
        assert_eq!(Stored::read(&path).expect("read"), Some(stored()));
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
    }
}
