use std::collections::BTreeMap;

use crate::model::ServiceName;
use crate::plan::{Action, Facts, Observed, Plan, Serving, labels};
use crate::ports::Engine;
use crate::release::{Image, Past, image_of, made_of};
use crate::run::{Progress, pull};

use super::SiteError;

/// The images released services serve. What a colour is put back from is one of these, whatever its name means by now.
#[derive(Debug, Default)]
pub(super) struct Pinned(BTreeMap<ServiceName, Image>);

impl Pinned {
    /// By the containers that serve, and where they are gone, by the journals.
    pub fn of(
        serving: &BTreeMap<ServiceName, Serving>,
        observed: &Observed,
        past: &BTreeMap<ServiceName, Past>,
    ) -> Self {
        let one = |(service, serving): (&ServiceName, &Serving)| {
            let released = past.get(service).map(|past| &past.serving);
            let made = made_of(observed, service, serving.colour);
            let image = match made.first().map(|container| image_of(container)) {
                Some(made) => Image {
                    // The journal knows what a registry calls it.
                    digest: released
                        .filter(|known| known.id == made.id)
                        .and_then(|known| known.digest.clone()),
                    ..made
                },
                None => released?.clone(),
            };
            image.id.is_some().then(|| (service.clone(), image))
        };
        Pinned(serving.iter().filter_map(one).collect())
    }

    pub fn image(&self, service: &ServiceName) -> Option<&Image> {
        self.0.get(service.as_str())
    }

    /// An image whose name is gone and that is still here needs no pull.
    pub async fn correct(&self, facts: &mut Facts, engine: &dyn Engine) -> Result<(), SiteError> {
        for image in self.0.values() {
            let nameless = facts.images.get(&image.reference) == Some(&None);
            if let Some(id) = image.id.as_ref().filter(|_| nameless)
                && engine.image(id).await?.is_some()
            {
                facts.images.insert(image.reference.clone(), Some(id.clone()));
            }
        }
        Ok(())
    }

    /// The plan with the colours it makes made from what they were, which is fetched by its digest where it is gone.
    pub async fn apply(&self, plan: &Plan, engine: &dyn Engine, progress: &dyn Progress) -> Result<Plan, SiteError> {
        let mut plan = plan.clone();
        for change in &mut plan.changes {
            let (Action::CreateContainer { service, spec } | Action::RecreateContainer { service, spec, .. }) =
                &mut change.action
            else {
                continue;
            };
            let Some(image) = self.0.get(service.as_str()) else {
                continue;
            };
            let released = spec.labels.contains_key(labels::IMAGE) && spec.image == image.reference;
            let Some(id) = image.id.as_ref().filter(|_| released) else {
                continue;
            };
            if engine.image(id).await?.is_none()
                && let Some(pinned) = image.pinned()
            {
                pull(engine, &pinned, progress).await?;
            }
            if engine.image(id).await?.is_none() {
                return Err(SiteError::Lost {
                    service: service.clone(),
                    image: image.short(),
                });
            }
            spec.image = id.clone();
        }
        Ok(plan)
    }
}
