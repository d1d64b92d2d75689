use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::backup::{EntryPath, NotAPath};
use crate::config::{Config, Source};
use crate::journal;
use crate::model::{OperationId, ServiceName, Span, Timestamp};
use crate::plan::ContainerSpec;
use crate::stack::Stack;

use super::guest::completes;
use super::{Assertion, DrillStep, DrillSubject, Guest, NewestSource, Replacements};

/// What a drill leaves behind after a crash may be removed after this long.
const LIFETIME: Span = Span::seconds(24 * 3600);
/// For a guest whose Compose file says nothing of memory.
const MODEST: u64 = 128 << 20;

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("there is no drill `{name}`; arkwright.yaml has {known}")]
    Unknown { name: String, known: String },
    #[error("arkwright.yaml has no `backups`, so there is nothing to restore")]
    NoBackups,
    #[error("a path of drill `{drill}` cannot lie in a snapshot")]
    Path {
        drill: String,
        #[source]
        source: NotAPath,
    },
    #[error("drill `{drill}` asks `{service}`, which its `boot` does not name")]
    NotBooted { drill: String, service: ServiceName },
    #[error("drill `{drill}` boots `{service}`, which is in none of the profiles that are on")]
    NoService { drill: String, service: ServiceName },
    #[error("drill `{drill}`: {message}")]
    Set { drill: String, message: String },
    #[error("the services of drill `{0}` wait for each other")]
    Circle(String),
}

/// The plan of a drill; `fill` gives random bytes, for what stands in for secrets.
pub fn plan(
    operation: &OperationId,
    name: &str,
    config: &Config,
    stack: &Stack,
    now: Timestamp,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<(DrillSubject, journal::Plan<DrillStep>), PlanError> {
    let drill = config.drills.get(name).ok_or_else(|| PlanError::Unknown {
        name: name.to_owned(),
        known: match config.drills.is_empty() {
            true => "none".into(),
            false => config.drills.keys().cloned().collect::<Vec<_>>().join(", "),
        },
    })?;
    let backups = config.backups.as_ref().ok_or(PlanError::NoBackups)?;
    // Backups name what they hold from the folder of arkwright.yaml on.
    let place = |path: &Path| EntryPath::of_host_file(&config.folder, &config.folder.join(path));
    let bad_path = |source| PlanError::Path {
        drill: name.to_owned(),
        source,
    };
    let checks: Vec<Assertion> = drill
        .checks
        .iter()
        .map(|check| Assertion::of(check, place))
        .collect::<Result<_, _>>()
        .map_err(bad_path)?;
    if let Some(service) = checks
        .iter()
        .filter_map(Assertion::needs_service)
        .find(|service| !drill.boot.contains(service))
    {
        return Err(PlanError::NotBooted {
            drill: name.to_owned(),
            service: service.clone(),
        });
    }
    let sources = backups.sources_of(&drill.of).map_err(|message| PlanError::Set {
        drill: name.to_owned(),
        message,
    })?;
    let mut newest = Vec::new();
    for source in sources {
        if let Source::Sqlite {
            sqlite,
            newest: Some(query),
        } = source
        {
            newest.push(NewestSource {
                database: place(sqlite).map_err(bad_path)?,
                query: query.clone(),
            });
        }
    }
    let guests = guests(name, &drill.boot, stack, fill)?;
    let subject = DrillSubject {
        operation: operation.clone(),
        project: stack.name.clone(),
        name: name.to_owned(),
        set: drill.of.clone(),
        folder: config.folder.clone(),
        objectives: backups.objectives.clone(),
        newest,
        boot_within: drill.boot_within,
        deadline: now + LIFETIME.chrono(),
        memory: guests.iter().map(|guest| memory(&guest.spec)).sum(),
        deviations: vec!["services are described by this host's Compose file, not the snapshot's".into()],
        guests,
        checks,
    };
    let forward = steps(&subject);
    let plan = journal::Plan {
        commit: forward.len(),
        forward,
        finally: vec![DrillStep::Evidence, DrillStep::Teardown],
    };
    Ok((subject, plan))
}

/// Files are looked at before anything runs that could write to them.
fn steps(subject: &DrillSubject) -> Vec<DrillStep> {
    let checks = |asks: bool| {
        let chosen = subject.checks.iter().enumerate();
        chosen
            .filter(move |(_, check)| check.needs_service().is_some() == asks)
            .map(|(at, _)| DrillStep::Check(at))
    };
    let mut steps = vec![DrillStep::Choose, DrillStep::Room, DrillStep::Restore];
    steps.extend(checks(false));
    if !subject.newest.is_empty() {
        steps.push(DrillStep::Newest);
    }
    if !subject.guests.is_empty() {
        steps.extend([DrillStep::Images, DrillStep::Seal]);
        steps.extend(
            subject
                .guests
                .iter()
                .map(|guest| DrillStep::Boot(guest.service.clone())),
        );
        steps.extend(checks(true));
    }
    steps
}

/// What a guest is allowed, else what it asks for: a drill must not take memory away from production.
fn memory(spec: &ContainerSpec) -> u64 {
    spec.resources
        .memory
        .or(spec.resources.memory_reserved)
        .unwrap_or(MODEST)
}

fn guests(
    drill: &str,
    boot: &[ServiceName],
    stack: &Stack,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<Guest>, PlanError> {
    let mut replacements = Replacements::default();
    for service in stack.services.values().chain(stack.disabled.values()) {
        replacements.learn(service, fill);
    }
    let booted: BTreeSet<&ServiceName> = boot.iter().collect();
    let mut guests: BTreeMap<ServiceName, Guest> = BTreeMap::new();
    for name in &booted {
        let service = stack.services.get(*name).ok_or_else(|| PlanError::NoService {
            drill: drill.to_owned(),
            service: (*name).clone(),
        })?;
        let mut guest = Guest::new(stack, service, &mut replacements, fill);
        let (here, elsewhere): (Vec<_>, Vec<_>) = guest.after.into_iter().partition(|other| booted.contains(other));
        guest.after = here;
        for other in elsewhere {
            guest.deviations.push(format!("without `{other}`, which it depends on"));
        }
        guest.completes = completes(stack, name);
        guests.insert((*name).clone(), guest);
    }
    for guest in guests.values_mut() {
        let changed = replacements.apply(&mut guest.spec);
        for file in &mut guest.files {
            file.content = replacements.inside(&file.content);
        }
        if !changed.is_empty() {
            guest
                .deviations
                .push(format!("secrets replaced in {}", changed.join(", ")));
        }
    }
    ordered(drill, guests)
}

/// Dependencies first, else by name.
fn ordered(drill: &str, mut left: BTreeMap<ServiceName, Guest>) -> Result<Vec<Guest>, PlanError> {
    let mut ordered: Vec<Guest> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let ready = left
            .values()
            .find(|guest| !guest.after.iter().any(|other| left.contains_key(other)))
            .map(|guest| guest.service.clone())
            .ok_or_else(|| PlanError::Circle(drill.to_owned()))?;
        ordered.extend(left.remove(&ready));
    }
    Ok(ordered)
}
