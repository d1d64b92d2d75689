use std::collections::{BTreeMap, BTreeSet};

use crate::journal::Saga;
use crate::model::{Reference, Timestamp};
use crate::ports::{Engine, EngineError, EngineKind};
use crate::release::{self, Holdings, Listed, Pruning, ReleaseStep};
use crate::stack::Stack;

use super::Progress;

/// What is needed to decide on a project's images.
pub struct PruneScope<'a> {
    pub stack: &'a Stack,
    /// Images arkwright.yaml names.
    pub images: &'a [String],
    /// Every release there is a journal of, oldest first.
    pub releases: &'a [Saga<ReleaseStep>],
    pub engine: &'a dyn Engine,
    pub now: Timestamp,
}

/// Which images may go; changes nothing.
pub async fn plan_prune(scope: &PruneScope<'_>) -> Result<Pruning, EngineError> {
    let engine = scope.engine;
    let mut needed: BTreeMap<String, String> = BTreeMap::new();
    let mut need = |id: String, why: String| {
        needed.entry(id).or_insert(why);
    };
    for (id, containers) in engine.images_in_use().await? {
        need(id, format!("{} was made from it", containers.join(", ")));
    }
    for (service, past) in release::past(scope.releases, scope.now) {
        for (image, why) in [
            (&past.serving, "it is what is served"),
            (&past.previous, "a rollback needs it"),
        ] {
            if let Some(id) = &image.id {
                need(id.clone(), format!("{why} ({service})"));
            }
        }
    }
    let services = scope.stack.services.values().chain(scope.stack.disabled.values());
    let composed: BTreeSet<&String> = services.filter_map(|service| service.image.as_ref()).collect();
    for name in composed.iter().copied().chain(scope.images) {
        if let Some(image) = engine.image(name).await? {
            need(image.id, format!("the project's files name it ({name})"));
        }
    }
    let (fetched, kept) = release::fetched(scope.releases);
    let members = scope.releases.iter().flat_map(|saga| saga.subject().members());
    let released = members.map(|member| &member.image.reference);
    let holdings = Holdings {
        images: engine.images().await?.into_iter().map(listed).collect(),
        needed,
        repositories: repositories(composed.into_iter().chain(released), engine.info().kind),
        fetched,
        kept,
    };
    Ok(holdings.prune())
}

/// Takes the names away, and the images with their last one. One that something has begun to use since stays, and is
/// told; the bytes of those that went.
pub async fn prune(pruning: &Pruning, engine: &dyn Engine, progress: &dyn Progress) -> Result<u64, EngineError> {
    let mut freed = 0u64;
    let used = engine.images_in_use().await?;
    for removal in &pruning.remove {
        if used.contains_key(&removal.id) {
            progress.say(&format!(
                "{} stays: a container uses it by now",
                removal.names.join(", ")
            ));
            continue;
        }
        let mut gone = true;
        for name in &removal.names {
            // The name may have gone to another image meanwhile, which nobody was told of.
            let same = engine.image(name).await?.is_none_or(|image| image.id == removal.id);
            let removed = match same {
                true => engine.remove_image(name).await,
                false => {
                    progress.say(&format!("{name} stays: it is another image by now"));
                    continue;
                }
            };
            match removed {
                Ok(()) => progress.say(&format!("removed {name}")),
                Err(EngineError::Refused { message, .. }) => {
                    gone = false;
                    progress.say(&format!("{name} stays: {message}"));
                }
                Err(error) => return Err(error),
            }
        }
        if gone && engine.image(&removal.id).await?.is_none() {
            freed = freed.saturating_add(removal.size);
        }
    }
    Ok(freed)
}

fn listed(image: crate::ports::ImageSummary) -> Listed {
    Listed {
        id: image.id,
        names: image.repo_tags,
        digests: image.repo_digests,
        size: image.size,
    }
}

/// An image without a registry's name is Docker Hub's, and where Podman built it, below `localhost/`. The names images
/// are kept under are told by the journals alone.
fn repositories<'a>(names: impl Iterator<Item = &'a String>, engine: EngineKind) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in names {
        let Ok(reference) = name.parse::<Reference>() else {
            continue;
        };
        if reference.repository().starts_with("localhost/arkwright-keep/") {
            continue;
        }
        if !Reference::names_registry(name) && engine == EngineKind::Podman {
            let path = reference.path.strip_prefix("library/").unwrap_or(&reference.path);
            found.insert(format!("localhost/{path}"));
        }
        found.insert(reference.repository());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_podmans_own_as_well() {
        let names = [
            "redis:7".to_owned(),
            "localhost/arkwright-keep/a-b:x".to_owned(),
            "r.example/a".to_owned(),
        ];
        let found = |engine| repositories(names.iter(), engine).into_iter().collect::<Vec<_>>();
        assert_eq!(found(EngineKind::Docker), ["docker.io/library/redis", "r.example/a"]);
        assert_eq!(
            found(EngineKind::Podman),
            ["docker.io/library/redis", "localhost/redis", "r.example/a"]
        );
    }
}
