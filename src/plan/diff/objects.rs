use std::collections::BTreeSet;

use crate::plan::{Action, DesiredNetwork, FileFact, Notice, Plan, labels};

use super::Differ;

impl Differ<'_> {
    /// Networks, volumes, folders, files and images before the containers that need them.
    pub(super) fn assemble(mut self) -> Plan {
        self.networks();
        self.volumes();
        self.folders();
        self.files();
        self.images();
        self.plan.changes.append(&mut self.steps);
        self.plan
    }

    fn networks(&mut self) {
        for network in self.desired.networks.iter().filter(|network| network.used) {
            let name = &network.spec.name;
            match self.facts.networks.get(name) {
                None if network.external => self.plan.blocked.push(format!(
                    "the network {name} is external and is not there; create it, or remove `external`"
                )),
                None => self.plan.push(
                    Action::CreateNetwork {
                        spec: network.spec.clone(),
                    },
                    format!("network {} is not there", network.key),
                ),
                Some(_) if network.external => {}
                Some(_) => {
                    if let Some(what) = self.network_drift(network) {
                        self.plan.drift.push(Notice {
                            subject: format!("network {}", network.key),
                            what,
                        });
                    }
                }
            }
        }
    }

    /// An engine cannot change a network, and removing one takes every container off it: this is told, not done.
    fn network_drift(&self, wanted: &DesiredNetwork) -> Option<String> {
        let found = self.facts.networks.get(&wanted.spec.name)?;
        if found.labels.get(labels::PROJECT).map(String::as_str) != Some(self.desired.project.as_str()) {
            return Some(format!(
                "{} exists and belongs to nobody or another project; it is used as it is and never removed",
                found.name
            ));
        }
        let subnets: Vec<&String> = wanted.spec.subnets.iter().filter_map(|s| s.subnet.as_ref()).collect();
        let differs = [
            (found.internal != wanted.spec.internal, "internal"),
            (
                wanted.spec.driver.as_ref().is_some_and(|d| *d != found.driver),
                "driver",
            ),
            (subnets.iter().any(|s| !found.subnets.contains(s)), "subnets"),
        ];
        let words: Vec<&str> = differs
            .iter()
            .filter(|(differs, _)| *differs)
            .map(|(_, w)| *w)
            .collect();
        (!words.is_empty()).then(|| {
            format!(
                "{} differs in {}; `arkwright down` and `up` make it anew",
                found.name,
                words.join(" and ")
            )
        })
    }

    fn volumes(&mut self) {
        for volume in self.desired.volumes.iter().filter(|volume| volume.used) {
            let name = &volume.spec.name;
            match (self.facts.volumes.contains(name), volume.external) {
                (true, _) => {}
                (false, true) => self.plan.blocked.push(format!(
                    "the volume {name} is external and is not there; create it, or remove `external`"
                )),
                (false, false) => self.plan.push(
                    Action::CreateVolume {
                        spec: volume.spec.clone(),
                    },
                    format!("volume {} is not there", volume.key),
                ),
            }
        }
    }

    fn folders(&mut self) {
        let mut seen = BTreeSet::new();
        for (service, _, _) in &self.needed {
            for bind in &service.binds {
                if self.facts.paths.get(&bind.path) != Some(&false) || !seen.insert(&bind.path) {
                    continue;
                }
                let path = bind.path.display();
                if bind.create {
                    self.plan.push(
                        Action::CreateFolder {
                            path: bind.path.clone(),
                        },
                        format!("{} mounts it and it is not there", service.name),
                    );
                } else {
                    self.plan.blocked.push(format!(
                        "{} mounts {path}, which is not there; create it, or correct the path in the Compose file",
                        service.name
                    ));
                }
            }
        }
    }

    fn files(&mut self) {
        let wanted = self.desired.services.iter().filter(|s| self.wanted(&s.name));
        let used: BTreeSet<_> = wanted.flat_map(|s| &s.files).collect();
        for file in self.desired.files.iter().filter(|file| used.contains(&file.path)) {
            let reason = match self.facts.files.get(&file.path) {
                Some(FileFact::Current { .. }) => continue,
                Some(FileFact::Unreadable(why)) => {
                    self.plan.blocked.push(why.clone());
                    continue;
                }
                Some(FileFact::Outdated) => "its text changed",
                Some(FileFact::Missing) | None => "it is not there",
            };
            self.plan.push(
                Action::WriteFile {
                    path: file.path.clone(),
                    from: file.from.clone(),
                },
                reason,
            );
        }
    }

    fn images(&mut self) {
        let mut seen = BTreeSet::new();
        let router = self.desired.router.as_ref();
        let creates_router = self.steps.iter().any(
            |step| matches!(&step.action, Action::CreateContainer { spec, .. } | Action::RecreateContainer { spec, .. } if router.is_some_and(|r| r.name == spec.name)),
        );
        let of_router = router
            .filter(|_| creates_router)
            .map(|spec| (&spec.image, None, "the router"));
        let of_services = self
            .needed
            .iter()
            .filter(|(_, _, created)| *created)
            .map(|(service, spec, _)| (&spec.image, service.pull_policy.as_deref(), service.name.as_str()));
        for (image, policy, who) in of_router.into_iter().chain(of_services) {
            if self.facts.images.get(image) != Some(&None) || !seen.insert(image) {
                continue;
            }
            match policy {
                Some("never" | "build") => self.plan.blocked.push(format!(
                    "the image {image} of {who} is not on this host, and its pull_policy says not to pull it"
                )),
                _ => self.plan.push(
                    Action::PullImage {
                        reference: image.clone(),
                    },
                    format!("{who} needs it and it is not on this host"),
                ),
            }
        }
    }
}
