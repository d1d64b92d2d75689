use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::backup::{SERVICES, SQLITE, Snapshot, SourceRecord, VOLUMES};
use crate::config::Before;
use crate::emergency::{Chosen, Place, Stopped, Subject, Users};
use crate::model::{OperationId, ServiceName, Timestamp};
use crate::plan::{Observed, labels};
use crate::ports::Store;
use crate::release::{self, Image};
use crate::run::release::releases;
use crate::run::snapshots::{self, SnapshotError, Trust, Which};
use crate::run::{Blame, Emergency, Host, OperationError, Order, keys};
use crate::stack::{Mount, Service};
use crate::state::Catalogue;

/// A snapshot that was found, with the store it is in.
struct Hit {
    name: String,
    store: Arc<dyn Store>,
    snapshot: Snapshot,
}

impl Host {
    /// Decides everything about an emergency; changes nothing.
    pub async fn plan_emergency(&self, id: &OperationId, wanted: &Emergency) -> Result<Subject, OperationError> {
        if !self.config.services.contains_key(&wanted.service) {
            return Err(OperationError::because(
                Blame::Input,
                format!(
                    "`{}` is not released, so there is no page and no version of it",
                    wanted.service
                ),
            )
            .hinted("name a service that has `release:` in arkwright.yaml"));
        }
        let sets = self.sets_of(wanted)?;
        let hits = self.hits(wanted, &sets).await?;
        let (mut places, mut chosen) = (Vec::new(), Vec::new());
        for (at, hit) in hits.iter().enumerate() {
            places.extend(self.places_in(at, hit).await?);
            chosen.push(Chosen {
                store: hit.name.clone(),
                set: hit.snapshot.set.clone(),
                generation: hit.snapshot.generation,
                taken: hit.snapshot.taken,
            });
        }
        let places = Subject::outermost(places);
        if places.is_empty() {
            return Err(OperationError::because(
                Blame::Input,
                "the snapshot holds no data to put in place",
            ));
        }
        let observed = self.engine()?.observe(&self.stack.name).await;
        let observed = observed.map_err(|e| OperationError::new(Blame::Engine, e))?;
        let oldest = chosen.iter().map(|chosen| chosen.taken).min().unwrap_or_default();
        let (image, image_because) = self.version(wanted, oldest, &observed).await?;
        let deploy = deployment(wanted, &image);
        // What cannot be deployed is better known before anything is stopped.
        self.plan_release(&deploy).await?;
        let users = self.users(wanted, &places).await;
        let raised = self.router()?.in_maintenance().await;
        let raised = raised.map_err(|e| OperationError::new(Blame::Host, e))?;
        let routed = |name: &ServiceName| {
            self.config
                .services
                .get(name)
                .is_some_and(|c| c.release.routed().is_some())
        };
        if !routed(&wanted.service) {
            return Err(OperationError::because(
                Blame::Input,
                format!("{} has no router in front, which could hold its users off meanwhile", wanted.service),
            )
            .hinted("stop it, restore by hand with `arkwright backup restore`, then `arkwright deploy` the version you want"));
        }
        let is_released = |service: &&Service| routed(&service.name);
        let pages = users.iter().filter(is_released).map(|service| service.name.clone());
        let stopped = users.iter().flat_map(|service| {
            let of =
                |c: &&crate::ports::Container| c.running() && c.label(labels::SERVICE) == Some(service.name.as_str());
            observed
                .containers
                .iter()
                .filter(of)
                .map(|c| Stopped::of(&service.name, c))
        });
        let saved = match wanted.snapshot {
            // One of what an emergency saved is of a set that is in no file.
            Some(_) => chosen.iter().map(|chosen| plain(&chosen.set).to_owned()).collect(),
            None => sets,
        };
        Ok(Subject {
            operation: id.clone(),
            project: self.stack.name.clone(),
            service: wanted.service.clone(),
            reason: wanted.reason.clone(),
            image,
            image_because,
            snapshots: chosen,
            pages: pages.filter(|service| !raised.contains_key(service)).collect(),
            stopped: stopped.collect(),
            places,
            save: if wanted.without_saving.is_some() {
                Vec::new()
            } else {
                saved
            },
            without_saving: wanted.without_saving.clone(),
            keep_maintenance: wanted.keep_maintenance,
            notify: self.config.releases.notify.clone(),
        })
    }

    fn sets_of(&self, wanted: &Emergency) -> Result<Vec<String>, OperationError> {
        let backups = self.backups()?;
        let mut known = backups.sets.keys().map(String::as_str);
        if let Some(other) = wanted.sets.iter().find(|set| !backups.sets.contains_key(*set)) {
            let names: Vec<&str> = known.collect();
            return Err(
                OperationError::because(Blame::Input, format!("there is no backup set `{other}`"))
                    .hinted(format!("the sets are: {}", names.join(", "))),
            );
        }
        if !wanted.sets.is_empty() {
            return Ok(wanted.sets.clone());
        }
        let before = self.config.services.get(&wanted.service).into_iter();
        let before = before.flat_map(|config| &config.release.before);
        let named: Vec<String> = before.filter_map(|Before { backup, .. }| backup.clone()).collect();
        match (named.is_empty(), known.next(), known.next()) {
            (false, ..) => Ok(named),
            (true, Some(only), None) => Ok(vec![only.to_owned()]),
            _ if wanted.snapshot.is_some() => Ok(Vec::new()),
            _ => Err(OperationError::because(
                Blame::Input,
                format!("which data {} works with is not said", wanted.service),
            )
            .hinted("name its sets with --sets, or in `before: [{ backup: … }]` of its release")),
        }
    }

    async fn hits(&self, wanted: &Emergency, sets: &[String]) -> Result<Vec<Hit>, OperationError> {
        let backups = self.backups()?;
        let searches: Vec<(Which, Vec<&str>)> = match wanted.snapshot {
            Some(generation) => {
                let all = backups.stores.keys().map(String::as_str).collect();
                vec![(Which::Generation(generation), all)]
            }
            None => sets
                .iter()
                .map(|set| (Which::Latest { set: set.clone() }, backups.stores_of(set)))
                .collect(),
        };
        let mut hits = Vec::new();
        for (which, stores) in searches {
            let mut troubles = Vec::new();
            let mut hit = None;
            for name in stores {
                match self.look_in(name, &which).await {
                    Ok(found) => {
                        hit = Some(found);
                        break;
                    }
                    Err(error) => troubles.push(format!("{name}: {error}")),
                }
            }
            let missing = || {
                let what = format!("no store has the snapshot to put in place ({})", troubles.join("; "));
                OperationError::because(Blame::NotFound, what).hinted("`arkwright backup list` shows what there is")
            };
            hits.push(hit.ok_or_else(missing)?);
        }
        Ok(hits)
    }

    async fn look_in(&self, name: &str, which: &Which) -> Result<Hit, OperationError> {
        let (store, trust) = self.trusted_store(name)?;
        let found = snapshots::find(store.as_ref(), &trust, which).await;
        Ok(Hit {
            name: name.to_owned(),
            snapshot: found.map_err(snapshot_error)?,
            store,
        })
    }

    /// A store, with what its snapshots are held against.
    pub(super) fn trusted_store(&self, name: &str) -> Result<(Arc<dyn Store>, Trust), OperationError> {
        let backups = self.backups()?;
        let opened = self.stores.get(name);
        let unknown = || OperationError::because(Blame::Input, format!("there is no store `{name}`"));
        let store = opened.ok_or_else(unknown)?.clone()?;
        let newest = Catalogue::open(&self.folder.catalogue(), name).and_then(|catalogue| catalogue.head());
        let trust = Trust {
            keys: keys::trusted(&self.folder.key(&backups.keys.signing))
                .map_err(|e| OperationError::new(Blame::Input, e))?,
            newest: newest.map_err(|e| OperationError::new(Blame::Damaged, e))?,
        };
        Ok((store, trust))
    }

    /// The host's own key that opens backups.
    pub(super) fn opening_key(&self) -> Result<crate::backup::Identities, OperationError> {
        let path = self.folder.key(&self.backups()?.keys.drill_identity);
        keys::identities(&path).map_err(|error| {
            OperationError::new(Blame::Input, error).hinted(
                "an emergency opens backups with the key this host keeps for drills; without one, restore by hand: \
                 `arkwright backup restore --identity FILE`",
            )
        })
    }

    async fn places_in(&self, at: usize, hit: &Hit) -> Result<Vec<Place>, OperationError> {
        let identities = self.opening_key()?;
        let listing = snapshots::listing(hit.store.as_ref(), &hit.snapshot, &identities).await;
        let sources = listing.map_err(snapshot_error)?.closing.sources;
        let inside = |source: &&SourceRecord| matches!(source.path.top(), SERVICES | VOLUMES);
        if let Some(inside) = sources.iter().find(inside) {
            let why = format!(
                "snapshot {} holds {} too, which an emergency does not put in place, and data of two times would not fit",
                hit.snapshot.generation.0, inside.path
            );
            return Err(OperationError::because(Blame::Input, why).hinted(
                "restore by hand: `arkwright backup restore`, with --database for a database of PostgreSQL, then \
                 `arkwright deploy` the version you want",
            ));
        }
        let places = sources.iter().map(|source| {
            let database = source.kind == SQLITE || source.path.as_str().ends_with(".db");
            Place::new(&self.config.folder, &source.path, at, database)
        });
        Ok(places.flatten().collect())
    }

    /// The version that wrote the data, unless one was named.
    async fn version(
        &self,
        wanted: &Emergency,
        taken: Timestamp,
        observed: &Observed,
    ) -> Result<(String, String), OperationError> {
        if let Some(image) = &wanted.image {
            return Ok((image.clone(), "named with --to".into()));
        }
        let sagas = releases(&self.folder)?;
        let now = self.clock.now();
        let before = sagas.iter().filter(|saga| saga.ended() <= taken);
        if let Some(past) = release::past(before, now).remove(&wanted.service) {
            let because = "what served when the snapshot was taken".into();
            return Ok((self.named(&past.serving).await?, because));
        }
        // The first release after it says what it found.
        let mut members = sagas.iter().flat_map(|saga| saga.subject().members());
        if let Some(first) = members.find(|member| member.service == wanted.service) {
            let because = "what served before the first release after the snapshot".into();
            return Ok((self.named(&first.previous).await?, because));
        }
        let routes = self.router()?.routes().await;
        let routes = routes.map_err(|e| OperationError::new(Blame::Host, e))?;
        let serving = release::serving(&routes, observed, &BTreeMap::new()).remove(&wanted.service);
        let image = serving.and_then(|serving| serving.image);
        let image = image.ok_or_else(|| {
            OperationError::because(Blame::NotFound, "no version of it is known").hinted("name one with --to IMAGE")
        })?;
        Ok((image, "what serves; it was never released otherwise".into()))
    }

    /// How an image is named so that it is the same one: names go to other images.
    async fn named(&self, image: &Image) -> Result<String, OperationError> {
        let engine = self.engine()?;
        let Some(id) = &image.id else {
            return Ok(image.reference.clone());
        };
        let ask = async |name: &str| {
            engine
                .image(name)
                .await
                .map_err(|e| OperationError::new(Blame::Engine, e))
        };
        if ask(&image.reference).await?.is_some_and(|found| found.id == *id) {
            return Ok(image.reference.clone());
        }
        Ok(match ask(id).await? {
            Some(_) => id.clone(),
            None => image.pinned().unwrap_or_else(|| image.reference.clone()),
        })
    }

    /// The service itself, and every other that has the data mounted.
    async fn users(&self, wanted: &Emergency, places: &[Place]) -> Vec<Service> {
        let mut volumes: BTreeMap<String, PathBuf> = BTreeMap::new();
        let mounts = self.stack.services.values().flat_map(|service| &service.mounts);
        let keys = mounts.filter_map(|mount| match mount {
            Mount::Volume { source: Some(key), .. } => Some(key),
            _ => None,
        });
        for key in keys {
            if let (Some(volume), Ok(engine)) = (self.stack.volumes.get(key), self.engine())
                && let Ok(Some(path)) = engine.volume_path(&volume.name).await
            {
                volumes.insert(key.clone(), path);
            }
        }
        let users = Users {
            places,
            volumes: &|key| volumes.get(key).cloned(),
        };
        let all = self.stack.services.values();
        all.filter(|service| service.name == wanted.service || users.uses(service))
            .cloned()
            .collect()
    }
}

/// The deployment on the way; nothing stands against it.
fn deployment(wanted: &Emergency, image: &str) -> Order {
    Order::Deploy {
        service: wanted.service.clone(),
        image: Some(image.to_owned()),
        no_canary: true,
        overriding: None,
    }
}

/// The set of the configuration that a saved one was of.
fn plain(set: &str) -> &str {
    set.strip_prefix("saved-").unwrap_or(set)
}

fn snapshot_error(error: SnapshotError) -> OperationError {
    let blame = match error {
        SnapshotError::NoneOfSet { .. } | SnapshotError::NoSuch { .. } => Blame::NotFound,
        SnapshotError::Damaged { .. } => Blame::Damaged,
        _ => Blame::Host,
    };
    OperationError::new(blame, error)
}
