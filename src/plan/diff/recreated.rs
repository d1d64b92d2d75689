use crate::plan::{DesiredService, Recreated, labels};

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
        self.as_released(service, &observed, "", recreated.compose_image.as_ref());
        self.restart_with(service);
    }
}
