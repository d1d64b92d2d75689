//! The labels that tie objects to a project: Compose's own, so that its tools see the same project, and ours.
//!
//! Which of them docker-compose 1.29 and 2 need was measured: without `config-hash` a container is invisible to them,
//! with a `version` that is no number 1.29 crashes, and a `config-hash` on a network makes them recreate it.

use std::collections::BTreeMap;

use crate::stack::Stack;

pub const PROJECT: &str = "com.docker.compose.project";
pub const SERVICE: &str = "com.docker.compose.service";
pub const NUMBER: &str = "com.docker.compose.container-number";
/// `True` of what `docker compose run` started.
pub const ONEOFF: &str = "com.docker.compose.oneoff";
pub const CONFIG_HASH: &str = "com.docker.compose.config-hash";
pub const NETWORK: &str = "com.docker.compose.network";
pub const VOLUME: &str = "com.docker.compose.volume";
/// Of a container as we specified it.
pub const SPEC_HASH: &str = "arkwright.spec-hash";
/// The image of a released container as it was named when it was released; engines give references back altered.
pub const IMAGE: &str = "arkwright.image";
/// `blue` or `green`.
pub const COLOUR: &str = "arkwright.colour";
/// Of a colour that asks whether it is to stand by.
pub const STANDBY: &str = "arkwright.standby";
/// The service whose release runs a program in this container.
pub const HOOK: &str = "arkwright.hook";
/// The drill a sandbox's object belongs to, and when it may be swept (RFC 3339).
pub const DRILL: &str = "arkwright.drill";
pub const DRILL_DEADLINE: &str = "arkwright.drill-deadline";

/// What podman-compose lists containers by; everything else it does by their names, which are not its own.
pub const PODMAN_PROJECT: &str = "io.podman.compose.project";

const VERSION: (&str, &str) = ("com.docker.compose.version", "2.0");

pub fn container(stack: &Stack, service: &str, number: u32) -> BTreeMap<String, String> {
    let files: Vec<String> = stack.files.iter().map(|f| f.display().to_string()).collect();
    [
        (PROJECT, stack.name.to_string()),
        (PODMAN_PROJECT, stack.name.to_string()),
        (SERVICE, service.to_owned()),
        (ONEOFF, "False".to_owned()),
        (NUMBER, number.to_string()),
        (VERSION.0, VERSION.1.to_owned()),
        (
            "com.docker.compose.project.working_dir",
            stack.folder.display().to_string(),
        ),
        ("com.docker.compose.project.config_files", files.join(",")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

pub fn network(stack: &Stack, key: &str) -> BTreeMap<String, String> {
    of_object(stack, NETWORK, key)
}

pub fn volume(stack: &Stack, key: &str) -> BTreeMap<String, String> {
    of_object(stack, VOLUME, key)
}

fn of_object(stack: &Stack, kind: &str, key: &str) -> BTreeMap<String, String> {
    [
        (PROJECT, stack.name.to_string()),
        (kind, key.to_owned()),
        (VERSION.0, VERSION.1.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
