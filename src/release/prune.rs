//! Which images of this host a project needs no more. Only what is provably the project's own goes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::journal::Saga;
use crate::model::Reference;

use super::{Finding, ReleaseStep, finished_of, keep_repository, short_id};

/// An image as the engine lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// `sha256:…`
    pub id: String,
    pub names: Vec<String>,
    /// `name@sha256:…`
    pub digests: Vec<String>,
    pub size: u64,
}

/// What the decision is made from.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    pub images: Vec<Listed>,
    /// Ids that stay, with who needs them: containers of anyone, the Compose file, a rollback.
    pub needed: BTreeMap<String, String>,
    /// Repositories of the services' images, as [`Reference::repository`] has them. Other projects may use them too, so
    /// that they say only which names of an image the project's releases fetched are its own.
    pub repositories: BTreeSet<String>,
    /// Ids the project's releases fetched.
    pub fetched: BTreeSet<String>,
    /// The names its releases kept images under.
    pub kept: BTreeSet<String>,
}

/// What would go, and what of the project's stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pruning {
    pub remove: Vec<Removal>,
    pub keep: Vec<Stay>,
    /// Bytes, layers that other images have too counted with each.
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Removal {
    pub id: String,
    /// What is taken away; the id where it has no name.
    pub names: Vec<String>,
    /// 0 where the image stays under a name of somebody else's.
    pub size: u64,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stay {
    pub id: String,
    pub names: Vec<String>,
    pub reason: String,
}

/// Ids the project's releases fetched, and the names they kept those under.
pub fn fetched<'a>(releases: impl IntoIterator<Item = &'a Saga<ReleaseStep>>) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut ids, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for saga in releases {
        for member in saga.subject().members() {
            let repository = keep_repository(&member.project, &member.service);
            for (_, finding, _) in finished_of(saga, &member.service) {
                if let Finding::Image { id, .. } = finding {
                    kept.insert(format!("{repository}:{}", short_id(id)));
                    ids.insert(id.clone());
                }
            }
        }
    }
    (ids, kept)
}

impl Holdings {
    pub fn prune(&self) -> Pruning {
        let mut pruning = Pruning::default();
        for image in &self.images {
            let mut names = image.names.clone();
            names.retain(|name| self.is_named_alike(name));
            let nameless = image.names.is_empty() && self.left_by_us(image);
            if names.is_empty() && !nameless {
                continue;
            }
            if let Some(reason) = self.needed.get(&image.id) {
                pruning.keep.push(Stay {
                    id: image.id.clone(),
                    names,
                    reason: reason.clone(),
                });
                continue;
            }
            if !self.fetched.contains(&image.id) {
                names.retain(|name| self.kept.contains(name));
                if names.is_empty() {
                    continue;
                }
            }
            let whole = names.len() == image.names.len();
            let size = if whole { image.size } else { 0 };
            pruning.bytes = pruning.bytes.saturating_add(size);
            pruning.remove.push(Removal {
                id: image.id.clone(),
                reason: self.reason(image, &names, whole),
                names: if nameless { vec![image.id.clone()] } else { names },
                size,
            });
        }
        pruning
    }

    fn is_named_alike(&self, name: &str) -> bool {
        let repository = |name: &str| {
            name.parse::<Reference>()
                .is_ok_and(|r| self.repositories.contains(&r.repository()))
        };
        self.kept.contains(name) || repository(name)
    }

    /// Whose names went to other images, and which no registry knows by a name of somebody else's.
    fn left_by_us(&self, image: &Listed) -> bool {
        self.fetched.contains(&image.id) && image.digests.iter().all(|name| self.is_named_alike(name))
    }

    fn reason(&self, image: &Listed, names: &[String], whole: bool) -> String {
        let mut reason = match names {
            [] => "its names went to other images, and nothing uses it".to_owned(),
            names if names.iter().all(|name| self.kept.contains(name)) => {
                "kept for a rollback that cannot happen any more".to_owned()
            }
            _ => "a release fetched it, and nothing uses it".to_owned(),
        };
        if !whole {
            reason += "; the image stays under other names";
        } else if image.digests.is_empty() || image.digests.iter().all(|name| name.starts_with("localhost/")) {
            reason += "; no registry is known to have it";
        }
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "localhost/arkwright-keep/ark-web:aaaaaaaaaaaa";

    fn listed(id: &str, names: &[&str], digests: &[&str]) -> Listed {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Listed {
            id: format!("sha256:{id}"),
            names: owned(names),
            digests: owned(digests),
            size: 10,
        }
    }

    fn holdings(images: Vec<Listed>) -> Holdings {
        Holdings {
            images,
            needed: [("sha256:serving".to_owned(), "web serves it".to_owned())].into(),
            repositories: ["r.example/team/web".to_owned()].into(),
            fetched: ["old", "before", "serving"].map(|id| format!("sha256:{id}")).into(),
            kept: [KEPT.to_owned()].into(),
        }
    }

    fn removed(images: Vec<Listed>) -> Vec<String> {
        let pruning = holdings(images).prune();
        pruning
            .remove
            .iter()
            .flat_map(|removal| removal.names.clone())
            .collect()
    }

    #[test]
    fn what_nothing_needs_goes_and_what_serves_stays() {
        let images = vec![
            listed(
                "serving",
                &["r.example/team/web:3", "localhost/arkwright-keep/ark-web:bbb"],
                &[],
            ),
            listed("before", &["r.example/team/web:2"], &["r.example/team/web@sha256:22"]),
            listed("old", &[KEPT], &[]),
        ];
        let pruning = holdings(images).prune();
        assert_eq!(pruning.keep.len(), 1);
        assert_eq!(
            (pruning.keep[0].id.as_str(), pruning.keep[0].reason.as_str()),
            ("sha256:serving", "web serves it")
        );
        let names: Vec<&String> = pruning.remove.iter().flat_map(|removal| &removal.names).collect();
        assert_eq!(names, ["r.example/team/web:2", KEPT]);
        assert_eq!(pruning.bytes, 20);
        assert!(!pruning.remove[0].reason.contains("no registry") && pruning.remove[1].reason.contains("no registry"));
    }

    #[test]
    fn what_is_not_provably_ours_stays() {
        let others = vec![
            listed("a", &["r.example/team/webber:1"], &[]),
            listed("b", &["elsewhere.example/team/web:1"], &[]),
            listed("c", &["localhost/arkwright-keep/ark-web:cccccccccccc"], &[]),
            listed("d", &[], &["elsewhere.example/x@sha256:00"]),
            listed(
                "e",
                &[],
                &["r.example/team/web@sha256:00", "elsewhere.example/x@sha256:00"],
            ),
            listed("f", &[], &[]),
            listed("old", &["elsewhere.example/team/web:1"], &[]),
            listed("old", &[], &["elsewhere.example/team/web@sha256:00"]),
        ];
        assert_eq!(removed(others), [""; 0]);
    }

    #[test]
    fn what_only_shares_a_repository_stays() {
        let digest = "r.example/team/web@sha256:00";
        let others = vec![
            listed("a", &["r.example/team/web:9"], &[digest]),
            listed("b", &[], &[digest]),
        ];
        assert_eq!(removed(others), [""; 0]);
        let both = listed("c", &["r.example/team/web:9", KEPT], &[]);
        let pruning = holdings(vec![both]).prune();
        assert_eq!(pruning.remove[0].names, [KEPT]);
        assert_eq!(pruning.bytes, 0);
    }

    #[test]
    fn an_image_without_a_name_goes_where_it_was_ours() {
        let by_digest = listed("before", &[], &["r.example/team/web@sha256:00"]);
        assert_eq!(
            removed(vec![by_digest, listed("old", &[], &[])]),
            ["sha256:before", "sha256:old"]
        );
        assert_eq!(
            removed(vec![listed("serving", &[], &["r.example/team/web@sha256:01"])]),
            [""; 0]
        );
    }

    #[test]
    fn a_name_of_somebody_elses_keeps_the_image() {
        let pruning = holdings(vec![listed("old", &["r.example/team/web:1", "theirs/app:1"], &[])]).prune();
        assert_eq!(pruning.remove[0].names, ["r.example/team/web:1"]);
        assert_eq!((pruning.remove[0].size, pruning.bytes), (0, 0));
        assert!(pruning.remove[0].reason.contains("stays under other names"));
    }
}
