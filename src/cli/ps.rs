use serde::Serialize;

use super::{Failure, Global, Kind, OrFail, Terminal, project};
use crate::model::{Health, Timestamp};
use crate::plan::{Container, ContainerState, labels};

#[derive(Serialize)]
struct Row<'a> {
    service: &'a str,
    container: &'a str,
    id: &'a str,
    colour: Option<&'a str>,
    state: ContainerState,
    health: Health,
    exit_code: Option<i64>,
    image: &'a str,
    image_id: &'a str,
    ports: &'a [String],
    created: Option<Timestamp>,
    started: Option<Timestamp>,
    restarts: i64,
}

pub async fn run(global: &Global) -> Result<(), Failure> {
    let terminal = Terminal::of(global);
    let project = project::project(global)?;
    let engine = project.engine().await.or_fail(Kind::Engine)?;
    let mut containers = engine
        .observe(&project.stack().name)
        .await
        .or_fail(Kind::Engine)?
        .containers;
    containers.sort_by(|a, b| (service(a), &a.name).cmp(&(service(b), &b.name)));
    if terminal.json {
        let rows: Vec<Row> = containers.iter().map(row).collect();
        return terminal.print_json(&rows);
    }
    let rows: Vec<Vec<String>> = containers
        .iter()
        .map(|container| {
            vec![
                service(container).to_owned(),
                container.name.clone(),
                container.label(labels::COLOUR).unwrap_or("-").to_owned(),
                state(container),
                container.image.clone(),
                container.ports.join(", "),
            ]
        })
        .collect();
    terminal.table(&["SERVICE", "CONTAINER", "COLOUR", "STATE", "IMAGE", "PORTS"], &rows)
}

fn service(container: &Container) -> &str {
    container.label(labels::SERVICE).unwrap_or_default()
}

fn row(container: &Container) -> Row<'_> {
    Row {
        service: service(container),
        container: &container.name,
        id: container.id.as_str(),
        colour: container.label(labels::COLOUR),
        state: container.state,
        health: container.health,
        exit_code: container.exit_code,
        image: &container.image,
        image_id: &container.image_id,
        ports: &container.ports,
        created: container.created,
        started: container.started,
        restarts: container.restart_count,
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
