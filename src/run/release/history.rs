use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::journal::{Saga, Step};
use crate::model::{OperationId, ServiceName, Timestamp};
use crate::release::{self, ReleaseStep};
use crate::run::{Blame, OperationError};
use crate::state::{ProjectFolder, read_journal};

/// Every release there is a journal of, oldest first.
pub fn releases(folder: &ProjectFolder) -> Result<Vec<Saga<ReleaseStep>>, OperationError> {
    let ids = ids(folder)?;
    ids.iter().map(|id| read(folder, id)).collect()
}

/// The releases that tell how services stand, oldest first: of each service the newest that moved it and all that touched
/// it since, and every one without an end. Of all services where none are named.
pub fn standing(
    folder: &ProjectFolder,
    services: &[ServiceName],
    now: Timestamp,
) -> Result<Vec<Saga<ReleaseStep>>, OperationError> {
    let (ids, over) = (ids(folder)?, folder.over());
    let mut wanted: BTreeSet<ServiceName> = services.iter().cloned().collect();
    if services.is_empty() {
        wanted = over.all_services().into_iter().cloned().collect();
    }
    let mut known: BTreeMap<&OperationId, Saga<ReleaseStep>> = BTreeMap::new();
    loop {
        let mut left = wanted.clone();
        let mut found = BTreeSet::new();
        for id in ids.iter().rev() {
            let noted = over.services(id, ReleaseStep::KIND);
            if noted.is_some_and(|touched| !touched.iter().any(|service| left.contains(service))) {
                continue;
            }
            let saga = match known.entry(id) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(place) => place.insert(read(folder, id)?),
            };
            for subject in saga.subject().members() {
                if release::moved(saga, subject, now) {
                    left.remove(&subject.service);
                }
            }
            found.insert(id);
        }
        // What was moved together with them may have been moved by another release since.
        let beside = known.values().flat_map(|saga| saga.subject().services().cloned());
        let beside: BTreeSet<ServiceName> = beside.collect();
        if beside.is_subset(&wanted) {
            known.retain(|id, _| found.contains(id));
            return Ok(known.into_values().collect());
        }
        wanted.extend(beside);
    }
}

fn read(folder: &ProjectFolder, id: &OperationId) -> Result<Saga<ReleaseStep>, OperationError> {
    Ok(read_journal(&folder.journal(ReleaseStep::KIND, id))?.1)
}

/// Of all releases, oldest first.
fn ids(folder: &ProjectFolder) -> Result<Vec<OperationId>, OperationError> {
    let operations = match folder.operations() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|error| OperationError::new(Blame::Host, error))?,
    };
    let releases = operations.into_iter().filter(|(_, kind)| kind == ReleaseStep::KIND);
    Ok(releases.map(|(id, _)| id).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::TimeDelta;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::journal::{Event, Plan};
    use crate::model::Colour;
    use crate::release::{Finding, Past, Subject, Subjects, past};
    use crate::state::JournalFile;

    const SERVICES: [&str; 4] = ["web", "api", "bot", "never"];

    fn subject(service: &str, number: usize, goal: &str) -> Subject {
        let image =
            |number: usize| json!({ "reference": format!("{service}:{number}"), "id": format!("sha256:{number}") });
        let subject = json!({
            "goal": goal, "project": "ark", "service": service, "swap": "overlap", "from": "blue", "to": "green",
            "image": image(number + 1), "previous": image(number), "containers": [], "replicas": 1, "network": "n",
            "limits": { "healthy": "1s", "hold": "1s", "drain": "1s" }, "data": [], "reason": null,
        });
        serde_json::from_value(subject).expect("a subject")
    }

    /// How a release goes: which services it has, and what becomes of it: it retires (0), clears the warm colour and does
    /// nothing else (1), stays open (2), clears and fails (3), has nothing to do (4), moves (5 and more).
    #[derive(Clone, Debug)]
    struct Way {
        services: Vec<usize>,
        end: u8,
        noted: bool,
    }

    fn write(folder: &ProjectFolder, number: usize, way: &Way) {
        let id: OperationId = format!("20261120T120000Z-{number:06x}").parse().expect("an id");
        let at = Timestamp::UNIX_EPOCH;
        let goal = if way.end == 0 { "retire" } else { "deploy" };
        let members = way
            .services
            .iter()
            .map(|n| subject(SERVICES[*n], number, goal))
            .collect();
        let keep = ReleaseStep::KeepWarm {
            colour: Colour::Blue,
            span: crate::model::Span::seconds(60),
        };
        let clear = ReleaseStep::Clear { colour: Colour::Blue };
        let steps = match way.end {
            0 | 1 => vec![clear],
            3 => vec![clear, keep],
            4 => vec![],
            _ => vec![keep],
        };
        let several = way.services.len() > 1;
        let of = |service: usize, step: &ReleaseStep| match several {
            true => step.clone().of_service(&SERVICES[service].parse().expect("a name")),
            false => step.clone(),
        };
        let of_all = |step: &ReleaseStep| way.services.iter().map(|n| of(*n, step)).collect::<Vec<_>>();
        let forward: Vec<ReleaseStep> = steps.iter().flat_map(of_all).collect();
        let keeps = forward
            .iter()
            .filter(|step| matches!(step.plain(), ReleaseStep::KeepWarm { .. }))
            .count();
        let fails = (way.end == 3).then(|| forward.len() - keeps);
        let planned = Event::Planned {
            subject: Subjects::new(members).expect("services"),
            plan: Plan {
                commit: if way.end == 3 { forward.len() } else { 0 },
                finally: Vec::new(),
                forward: forward.clone(),
            },
            by: "a test".into(),
        };
        let mut journal = JournalFile::create(&folder.journal(ReleaseStep::KIND, &id), at, planned).expect("a journal");
        let mut append = |event| journal.append(at, event).map(|_| ()).expect("it fits");
        for (at_step, step) in forward.into_iter().enumerate() {
            append(Event::Began { step: step.clone() });
            if way.end == 2 {
                return;
            }
            if fails == Some(at_step) {
                let error = "a test".to_owned();
                append(Event::Failed { step, error });
                break;
            }
            let output = match step.plain() {
                ReleaseStep::KeepWarm { .. } => Finding::Warm {
                    until: at + TimeDelta::seconds(number as i64),
                },
                _ => Finding::Nothing,
            };
            append(Event::Finished { step, output });
        }
        if way.noted {
            let services: Vec<&str> = way.services.iter().map(|n| SERVICES[*n]).collect();
            folder.note_over(&id, ReleaseStep::KIND, &services);
        }
    }

    fn ways() -> impl Strategy<Value = Vec<Way>> {
        let services = proptest::sample::subsequence(vec![0, 1, 2], 1..=3);
        let way = (services, 0u8..8, any::<bool>());
        let way = way.prop_map(|(services, end, noted)| Way { services, end, noted });
        proptest::collection::vec(way, 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_few_that_are_read_tell_what_all_of_them_do(ways in ways(), cut in 0usize..100, later in 0i64..12) {
            let state = tempfile::tempdir().expect("a folder");
            let folder = ProjectFolder::open(state.path(), &"ark".parse().expect("a name")).expect("opened");
            for (number, way) in ways.iter().enumerate() {
                write(&folder, number, way);
            }
            let now = Timestamp::UNIX_EPOCH;
            let later = now + TimeDelta::seconds(later);
            let all = releases(&folder).expect("read");
            let told: BTreeMap<ServiceName, Past> = past(&all, now);
            let list = state.path().join("ark/over");
            let noted = std::fs::read(&list).unwrap_or_default();
            // Whole, cut short, and gone.
            for kept in [noted.len(), noted.len() * cut / 100, 0] {
                std::fs::write(&list, &noted[..kept]).expect("written");
                let few = standing(&folder, &[], now).expect("read");
                prop_assert_eq!(&past(&few, now), &told);
                prop_assert_eq!(release::moving(&few, now), release::moving(&all, now));
                prop_assert_eq!(release::due(&few, later), release::due(&all, later));
                for service in SERVICES {
                    let service: ServiceName = service.parse().expect("a name");
                    let few = standing(&folder, std::slice::from_ref(&service), now).expect("read");
                    prop_assert_eq!(past(&few, now).remove(&service), told.get(&service).cloned());
                }
            }
        }
    }

    #[test]
    fn what_is_over_and_about_others_is_not_read() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = ProjectFolder::open(state.path(), &"ark".parse().expect("a name")).expect("opened");
        for (number, service) in [(0, 0), (1, 0), (2, 1), (3, 0)] {
            let way = Way {
                services: vec![service],
                end: 5,
                noted: true,
            };
            write(&folder, number, &way);
        }
        let now = Timestamp::UNIX_EPOCH;
        let read = |services: &[&str]| {
            let services: Vec<ServiceName> = services.iter().map(|name| name.parse().expect("a name")).collect();
            standing(&folder, &services, now).expect("read").len()
        };
        assert_eq!(
            (read(&["web"]), read(&["api"]), read(&["never"]), read(&[])),
            (1, 1, 0, 2)
        );
    }
}
