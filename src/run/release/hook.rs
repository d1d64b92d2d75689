use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::plan::labels;
use crate::ports::{Container, ContainerSpec, ContainerState};
use crate::release::Finding;
use crate::run::StepFailed;

use super::perform::{Work, elapsed};

impl Work<'_> {
    /// Runs a program once, in a container of its own. One that an attempt before this began is waited for, not begun
    /// anew: a migration is not made twice.
    pub async fn run_hook(&self, at: usize, limit: Duration) -> Result<Finding, StepFailed> {
        let begun = Instant::now();
        let spec = self.hook(at)?;
        let container = self.hook_container(spec).await?;
        if container.state == ContainerState::Created {
            // Podman calls what ran when the host went down "created" again.
            if container.started.is_some() {
                let why = format!(
                    "{} was cut off by a restart of the host and is not begun again",
                    container.name
                );
                return Err(self.with_logs(why, std::slice::from_ref(&container)).await);
            }
            self.engine.start_container(&container.id).await?;
        }
        let said = spec.entrypoint.iter().flatten().next().cloned().unwrap_or_default();
        let why = match timeout(limit, self.engine.wait_exit(&container.id)).await {
            Ok(code) => match code? {
                // Its container stays until the release ends: it says that this was done.
                0 => return Ok(Finding::Ran { took: elapsed(begun) }),
                code => format!("{said} ended with exit code {code}"),
            },
            Err(_) => format!("{said} was not done within {limit:.0?}"),
        };
        let failed = self.with_logs(why, std::slice::from_ref(&container)).await;
        self.end_hook(at).await?;
        Err(failed)
    }

    /// Ends the program and removes its container; nothing where there is none.
    pub async fn end_hook(&self, at: usize) -> Result<Finding, StepFailed> {
        if let Some(container) = self.engine.container(&self.hook(at)?.name).await? {
            if container.running() {
                self.engine.stop_container(&container.id, None).await?;
            }
            self.engine.remove_container(&container.id).await?;
        }
        Ok(Finding::Nothing)
    }

    fn hook(&self, at: usize) -> Result<&ContainerSpec, StepFailed> {
        let found = self.subject.hooks.get(at);
        found.ok_or_else(|| StepFailed::because("the journal names a program that the release does not have"))
    }

    async fn hook_container(&self, spec: &ContainerSpec) -> Result<Container, StepFailed> {
        let wanted = self.image_id();
        let hash = spec.labels.get(labels::SPEC_HASH).map(String::as_str);
        let made = |c: &Container| c.label(labels::SPEC_HASH) == hash && Some(c.image_id.as_str()) == wanted;
        let ours = |c: &Container| c.created.is_some_and(|created| created >= self.saga.started());
        if let Some(found) = self.engine.container(&spec.name).await? {
            if made(&found) && ours(&found) {
                return Ok(found);
            }
            if found.label(labels::HOOK).is_none() {
                let what = format!("container {}", found.name);
                return Err(crate::ports::EngineError::Conflict { what }.into());
            }
            self.engine.remove_container(&found.id).await?;
        }
        let by_id = ContainerSpec {
            image: wanted.unwrap_or(&spec.image).to_owned(),
            ..spec.clone()
        };
        let id = self.engine.create_container(&by_id).await?;
        let found = self.engine.container(id.as_str()).await?;
        found.filter(made).ok_or_else(|| {
            StepFailed::because(format!(
                "{} was created from another image than planned; deploy again",
                spec.name
            ))
        })
    }
}
