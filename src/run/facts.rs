use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use crate::plan::{Desired, Facts, FileFact};
use crate::ports::{Engine, EngineError, Router, RouterError, SlotView};
use crate::stack::FileSource;

/// Questions an engine is asked at once.
const AT_ONCE: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    #[error("what the engine has could not be looked up")]
    Engine(#[from] EngineError),
    #[error("what the router serves could not be read")]
    Router(#[from] RouterError),
}

/// Looks up what a plan needs to know; changes nothing. `environment` is the project's: secrets may name its variables.
pub async fn facts(
    desired: &Desired,
    engine: &dyn Engine,
    router: Option<&dyn Router>,
    environment: &BTreeMap<String, String>,
) -> Result<Facts, FactsError> {
    let specs = desired.services.iter().flat_map(|s| &s.containers);
    let images: BTreeSet<&String> = specs.chain(&desired.router).map(|spec| &spec.image).collect();
    let networks = desired.networks.iter().filter(|network| network.used);
    let volumes = desired.volumes.iter().filter(|volume| volume.used);
    let images = images
        .into_iter()
        .map(|name| async move { Ok((name.clone(), engine.image(name).await?.map(|image| image.id))) }.boxed());
    let networks = networks.map(|network| engine.network(&network.spec.name));
    let volumes = volumes.map(|volume| engine.volume(&volume.spec.name));
    let (images, networks, volumes) = tokio::try_join!(many(images), many(networks), many(volumes))?;
    let mut facts = Facts {
        images: images.into_iter().collect(),
        networks: networks
            .into_iter()
            .flatten()
            .map(|found| (found.name.clone(), found))
            .collect(),
        volumes: volumes.into_iter().flatten().map(|found| found.name).collect(),
        ..Facts::default()
    };
    if local(engine) {
        for bind in desired.services.iter().flat_map(|service| &service.binds) {
            // A path that cannot be looked at is the engine's to judge.
            let there = bind.path.try_exists().unwrap_or(true);
            facts.paths.insert(bind.path.clone(), there);
        }
    }
    for file in &desired.files {
        facts
            .files
            .insert(file.path.clone(), file_fact(&file.path, &file.from, environment));
    }
    if let Some(router) = router.filter(|_| desired.router.is_some()) {
        facts.routes = router.routes().await?;
        facts.arrangement = router.arrangement().await?;
        facts.idle = router.idle().await?;
        // A router that does not answer is looked after by its container's own state.
        let answering = if router.alive().await {
            facts.routes.as_slice()
        } else {
            &[]
        };
        for route in answering {
            let serving = route
                .slots
                .iter()
                .max_by_key(|slot| slot.weight)
                .map(|slot| slot.colour);
            let Ok(slots) = router.slots(&route.service).await else {
                continue;
            };
            let down = |slot: &SlotView| Some(slot.colour) == serving && slot.down;
            if slots.iter().any(down) {
                facts.down.insert(route.service.clone());
            }
        }
    }
    Ok(facts)
}

type Asked<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

async fn many<'a, T>(asked: impl Iterator<Item = Asked<'a, T>>) -> Result<Vec<T>, EngineError> {
    let asked: Vec<Asked<'a, T>> = asked.collect();
    futures_util::stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Whether the engine's host is this one, so that paths mean the same.
pub(super) fn local(engine: &dyn Engine) -> bool {
    engine.info().host.starts_with("unix://")
}

/// The text a file made from a secret or config has; the error is for a person.
pub(super) fn text_of(from: &FileSource, environment: &BTreeMap<String, String>) -> Result<String, String> {
    match from {
        FileSource::Content(text) => Ok(text.clone()),
        FileSource::Environment(variable) => environment.get(variable).cloned().ok_or_else(|| {
            format!(
                "the variable {variable}, which a secret or config is made from, is not set; set it or put it into .env"
            )
        }),
        FileSource::File(path) => Err(format!("{} is a file already", path.display())),
        FileSource::External => Err("an external secret or config has no text here".into()),
    }
}

fn file_fact(path: &Path, from: &FileSource, environment: &BTreeMap<String, String>) -> FileFact {
    let wanted = match text_of(from, environment) {
        Ok(wanted) => wanted,
        Err(why) => return FileFact::Unreadable(why),
    };
    let read = || -> io::Result<(Vec<u8>, Option<std::time::SystemTime>)> {
        let file = std::fs::File::open(path)?;
        let written = file.metadata()?.modified().ok();
        let mut bytes = Vec::new();
        file.take(wanted.len() as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes, written))
    };
    match read() {
        Ok((bytes, written)) if bytes == wanted.as_bytes() => FileFact::Current {
            written: written.map(Into::into),
        },
        Ok(_) => FileFact::Outdated,
        Err(error) if error.kind() == io::ErrorKind::NotFound => FileFact::Missing,
        Err(error) => FileFact::Unreadable(format!("{} cannot be read: {error}", path.display())),
    }
}
