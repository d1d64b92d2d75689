use std::collections::BTreeMap;

use serde::Serialize;

use super::{Failure, Global, Kind, OrFail, Terminal, project, stack_view};
use crate::app::Project;
use crate::model::{Health, Reference, Timestamp};
use crate::plan::{Container, ContainerState, Leftover, Observed, Wishes, labels};
use crate::ports::{Engine, EngineError, ImageInfo};

#[derive(Serialize)]
struct Row<'a> {
    service: &'a str,
    container: &'a str,
    id: &'a str,
    colour: Option<&'a str>,
    state: ContainerState,
    health: Health,
    exit_code: Option<i64>,
    /// As it was named.
    image: &'a str,
    image_id: &'a str,
    /// `name@sha256:…` as its registry knows it.
    digest: Option<&'a str>,
    ports: &'a [String],
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    restarts: i64,
    /// Answers to a released service's name beside the router.
    stray: bool,
}

pub async fn run(global: &Global) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let engine = project.engine().await.or_fail(Kind::Engine)?;
    let observed = engine.observe(&project.stack().name).await.or_fail(Kind::Engine)?;
    let strays = match project.config.services.is_empty() {
        true => Vec::new(),
        false => strays(&project, &observed).await?,
    };
    let mut containers = observed.containers;
    containers.sort_by(|a, b| (service(a), &a.name).cmp(&(service(b), &b.name)));
    let digests = digests(engine.as_ref(), &containers).await.or_fail(Kind::Engine)?;
    let digest = |container: &Container| digests.get(&container.name).map(String::as_str);
    if terminal.json {
        let stray = |container: &Container| strays.iter().any(|stray| stray.id == container.id);
        let rows: Vec<Row> = containers.iter().map(|c| row(c, digest(c), stray(c))).collect();
        return terminal.print_json(&rows);
    }
    for stray in &strays {
        terminal.warn(&format!("{}: {}", stray.container, stray.what));
    }
    let rows: Vec<Vec<String>> = containers
        .iter()
        .map(|container| {
            vec![
                service(container).to_owned(),
                container.name.clone(),
                container.label(labels::COLOUR).unwrap_or("-").to_owned(),
                state(container),
                image(container).to_owned(),
                digest(container).map_or("-", short).to_owned(),
                container.ports.join(", "),
            ]
        })
        .collect();
    terminal.table(
        &["SERVICE", "CONTAINER", "COLOUR", "STATE", "IMAGE", "DIGEST", "PORTS"],
        &rows,
    )
}

async fn strays(project: &Project, observed: &Observed) -> Result<Vec<Leftover>, Failure> {
    let failure = |error| stack_view::failure(project, error);
    let site = project.site().await.map_err(failure)?;
    Ok(site.plan(observed, Wishes::default()).await.map_err(failure)?.strays)
}

fn service(container: &Container) -> &str {
    container.label(labels::SERVICE).unwrap_or_default()
}

/// The name it was given: a colour is made from an image's id.
fn image(container: &Container) -> &str {
    container.label(labels::IMAGE).unwrap_or(&container.image)
}

/// What registries call the images of the containers, by container; those that no registry has are left out.
async fn digests(engine: &dyn Engine, containers: &[Container]) -> Result<BTreeMap<String, String>, EngineError> {
    let mut images: BTreeMap<&str, Option<ImageInfo>> = BTreeMap::new();
    let mut digests = BTreeMap::new();
    for container in containers {
        let id = container.image_id.as_str();
        if !images.contains_key(id) {
            images.insert(id, engine.image(id).await?);
        }
        let found = images.get(id).and_then(Option::as_ref);
        if let (Some(found), Ok(reference)) = (found, image(container).parse::<Reference>())
            && let Some(digest) = found.digest_of(&reference)
        {
            digests.insert(container.name.clone(), format!("{}@{digest}", reference.repository()));
        }
    }
    Ok(digests)
}

/// `sha256:0123456789ab`
fn short(digest: &str) -> &str {
    let digest = digest.split_once('@').map_or(digest, |(_, digest)| digest);
    digest.get(..19).unwrap_or(digest)
}

fn row<'a>(container: &'a Container, digest: Option<&'a str>, stray: bool) -> Row<'a> {
    Row {
        service: service(container),
        container: &container.name,
        id: container.id.as_str(),
        colour: container.label(labels::COLOUR),
        state: container.state,
        health: container.health,
        exit_code: container.exit_code,
        image: image(container),
        image_id: &container.image_id,
        digest,
        ports: &container.ports,
        created: container.created,
        started: container.started,
        restarts: container.restart_count,
        stray,
    }
}

/// `running (healthy)`, `exited (137)`.
fn state(container: &Container) -> String {
    let word = match container.state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Paused => "paused",
        ContainerState::Restarting => "restarting",
        ContainerState::Exited => "exited",
        ContainerState::Removing => "removing",
        ContainerState::Dead => "dead",
    };
    match (container.health, container.exit_code) {
        (_, Some(code)) => format!("{word} ({code})"),
        (Health::Healthy, _) => format!("{word} (healthy)"),
        (Health::Unhealthy, _) => format!("{word} (unhealthy)"),
        (Health::Starting, _) if container.running() => format!("{word} (health: starting)"),
        _ => word.to_owned(),
    }
}
