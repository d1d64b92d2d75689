use std::collections::BTreeSet;

use crate::plan::{Container, DesiredService, Recreated, labels};

use super::Differ;

impl<'a> Differ<'a> {
    /// A service that is released in place, under its own names: what is missing or stopped is put back as it was
    /// released, what differs is told.
    pub(super) fn recreated(&mut self, service: &'a DesiredService, recreated: &'a Recreated) {
        let observed = self.containers(service.name.as_str());
        if let Some(colour) = observed.iter().find(|c| c.label(labels::COLOUR).is_some()) {
            self.plan.blocked.push(format!(
                "{} runs behind the router ({}) and `swap: recreate` has none; `arkwright eject` gives it back its own \
                 name and port, or put its former `swap` back",
                service.name, colour.name
            ));
            return;
        }
        let find = |name: &str| observed.iter().find(|c| c.name == name).copied();
        if service
            .containers
            .iter()
            .any(|spec| find(&spec.name).is_none_or(Container::stopped))
        {
            self.waits(service);
        }
        let mut told = BTreeSet::new();
        for spec in &service.containers {
            let Some(container) = find(&spec.name) else {
                self.create(service, spec, "it is not there".into());
                continue;
            };
            let hash = spec.labels.get(labels::SPEC_HASH).map(String::as_str);
            let differs = match container.label(labels::SPEC_HASH) == hash {
                false => Some("its specification changed".to_owned()),
                true => self.image_moved(spec, container),
            };
            if let Some(differs) = differs
                && told.insert(differs.clone())
            {
                self.drift(
                    service,
                    format!("{differs}; `arkwright deploy {}` takes it", service.name),
                );
            }
            if let Some(reason) = self.detached(spec, container).filter(|_| container.stopped()) {
                self.recreate(service, spec, container, reason);
            } else if container.stopped() {
                self.start(service, spec, "it is stopped".into());
            }
        }
        self.image_drift(service, recreated.compose_image.as_ref());
        if observed.len() > service.containers.len() {
            self.drift(
                service,
                format!(
                    "it has {} replicas and {} are asked for",
                    observed.len(),
                    service.containers.len()
                ),
            );
        }
        self.restart_with(service);
    }
}
