//! What is known of services that are released in place: without a router, under their own names.

use std::collections::BTreeMap;

use crate::model::{Colour, ServiceName};
use crate::plan::{Container, Observed, Serving, labels};

use super::Past;
use super::planning::{image_of, of_colour};

/// Whether it is one of a service's own containers, and neither a colour nor there for a while only.
pub fn plain(container: &Container) -> bool {
    let passing = [labels::COLOUR, labels::HOOK, labels::DRILL];
    let oneoff = container.label(labels::ONEOFF).unwrap_or_default();
    passing.iter().all(|label| container.label(label).is_none()) && !oneoff.eq_ignore_ascii_case("true")
}

/// A service's own containers, by name.
pub fn plain_of<'a>(observed: &'a Observed, service: &ServiceName) -> Vec<&'a Container> {
    let ours = |c: &&Container| c.label(labels::SERVICE) == Some(service.as_str()) && plain(c);
    let mut found: Vec<&Container> = observed.containers.iter().filter(ours).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// What serves, of one with colours and of one without.
pub fn made_of<'a>(observed: &'a Observed, service: &ServiceName, colour: Colour) -> Vec<&'a Container> {
    let mut found = of_colour(observed, service, colour);
    if found.is_empty() {
        found = plain_of(observed, service);
        // Any other was not released.
        found.retain(|container| container.label(labels::IMAGE).is_some());
    }
    found
}

/// The images these services run, as their containers say, and where they are gone, as the journals do.
pub fn in_place<'a>(
    services: impl Iterator<Item = &'a ServiceName>,
    observed: &Observed,
    past: &BTreeMap<ServiceName, Past>,
) -> BTreeMap<ServiceName, Serving> {
    let one = |service: &ServiceName| {
        let serving = Serving::default();
        let made = made_of(observed, service, serving.colour);
        let made = made.first().map(|container| image_of(container).reference);
        let image = made.or_else(|| Some(past.get(service)?.serving.reference.clone()));
        (service.clone(), Serving { image, ..serving })
    };
    services.map(one).collect()
}
