use std::collections::{BTreeMap, BTreeSet};

use crate::journal::{Next, Outcome, Saga};
use crate::model::{Colour, Reference, ServiceName, Timestamp};
use crate::plan::{Observed, Route, Serving};

use super::planning::{image_of, of_colour};
use super::{Finding, Goal, Image, ReleaseStep, Subject, finished_of};

/// What the journals say of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub serving: Image,
    /// What served before that: what a rollback makes again when nothing is warm.
    pub previous: Image,
    pub warm: Option<Warm>,
    /// Services moved by the same release, and not moved since.
    pub together: Vec<ServiceName>,
    /// Its colours were told to take jobs, or none.
    pub background: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Warm {
    pub colour: Colour,
    pub until: Timestamp,
}

/// By the releases in order, oldest first; services that were never released are left out.
pub fn past<'a>(
    releases: impl IntoIterator<Item = &'a Saga<ReleaseStep>>,
    now: Timestamp,
) -> BTreeMap<ServiceName, Past> {
    let mut known: BTreeMap<ServiceName, (usize, Past)> = BTreeMap::new();
    for (at, saga) in releases.into_iter().enumerate() {
        for subject in saga.subject().members() {
            // Also a release that failed may have removed the warm colour to make room.
            let cleared =
                finished_of(saga, &subject.service).any(|(step, ..)| matches!(step, ReleaseStep::Clear { .. }));
            if let Some((_, past)) = known.get_mut(&subject.service).filter(|_| cleared) {
                past.warm = None;
            }
            if moved(saga, subject, now) {
                known.insert(subject.service.clone(), (at, now_serving(saga, subject)));
            }
        }
    }
    let of = |release: &usize| -> Vec<ServiceName> {
        let same = known.iter().filter(|(_, (at, _))| at == release);
        same.map(|(service, _)| service.clone()).collect()
    };
    let beside = |service: &ServiceName, release| of(release).into_iter().filter(|other| other != service).collect();
    let all = known.iter().map(|(service, (release, past))| {
        let together = beside(service, release);
        (
            service.clone(),
            Past {
                together,
                ..past.clone()
            },
        )
    });
    all.collect()
}

/// Whether the release has given a service all traffic of its own.
pub fn moved(saga: &Saga<ReleaseStep>, subject: &Subject, now: Timestamp) -> bool {
    subject.goal != Goal::Retire && !saga.plan().forward.is_empty() && saga.next(now) == Next::Done(Outcome::Succeeded)
}

/// What a release that succeeded made of one of its services.
fn now_serving(saga: &Saga<ReleaseStep>, subject: &Subject) -> Past {
    let mut found = Past {
        serving: subject.image.clone(),
        previous: subject.previous.clone(),
        warm: None,
        together: Vec::new(),
        background: subject.background.is_some(),
    };
    for (step, finding, _) in finished_of(saga, &subject.service) {
        match (step, finding) {
            (ReleaseStep::Fetch, Finding::Image { id, digest }) => {
                found.serving.id = Some(id.clone());
                found.serving.digest = digest.as_deref().and_then(digest_in);
            }
            (ReleaseStep::KeepWarm { colour, .. }, Finding::Warm { until }) => {
                found.warm = Some(Warm {
                    colour: *colour,
                    until: *until,
                });
            }
            _ => {}
        }
    }
    found
}

/// `sha256:…` of `name@sha256:…`.
fn digest_in(name: &str) -> Option<String> {
    name.split_once('@').map(|(_, digest)| digest.to_owned())
}

/// The digest an image was fetched under: an engine forgets it with the last name the image had.
pub fn digest_fetched<'a>(releases: impl IntoIterator<Item = &'a Saga<ReleaseStep>>, image: &Image) -> Option<String> {
    let reference: Reference = image.reference.parse().ok()?;
    let fetched = releases.into_iter().flat_map(Saga::finished);
    let digests = fetched.filter_map(|(_, finding, _)| match finding {
        Finding::Image { id, digest } if image.id.as_ref() == Some(id) => digest.as_deref(),
        _ => None,
    });
    digests
        .filter(|name| reference.is_of(name))
        .filter_map(digest_in)
        .last()
}

/// Services with a release that has no end yet.
pub fn moving<'a>(releases: impl IntoIterator<Item = &'a Saga<ReleaseStep>>, now: Timestamp) -> BTreeSet<ServiceName> {
    let open = releases
        .into_iter()
        .filter(|saga| !matches!(saga.next(now), Next::Done(_)));
    open.flat_map(|saga| saga.subject().services().cloned()).collect()
}

/// Services whose warm colour has been kept long enough.
pub fn due<'a>(releases: impl IntoIterator<Item = &'a Saga<ReleaseStep>>, now: Timestamp) -> Vec<ServiceName> {
    let past = past(releases, now);
    let over = |past: &Past| past.warm.as_ref().is_some_and(|warm| warm.until <= now);
    past.into_iter()
        .filter(|(_, past)| over(past))
        .map(|(service, _)| service)
        .collect()
}

/// Which colour of each released service has most of the traffic, and the image it was made from: as its containers
/// say, and where they are gone, as the journals do.
pub fn serving(
    routes: &[Route],
    observed: &Observed,
    past: &BTreeMap<ServiceName, Past>,
) -> BTreeMap<ServiceName, Serving> {
    let one = |route: &Route| {
        let slot = route.slots.iter().max_by_key(|slot| slot.weight)?;
        let made = of_colour(observed, &route.service, slot.colour);
        let made = made.first().map(|container| image_of(container).reference);
        let serving = Serving {
            colour: slot.colour,
            image: made.or_else(|| Some(past.get(&route.service)?.serving.reference.clone())),
        };
        Some((route.service.clone(), serving))
    };
    routes.iter().filter_map(one).collect()
}
