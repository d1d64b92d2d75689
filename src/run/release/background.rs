use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::sleep;

use crate::config::{Background, Call};
use crate::model::Colour;
use crate::plan::{labels, standby};
use crate::ports::{Container, PageRequest};
use crate::release::{Finding, Goal};
use crate::run::StepFailed;
use crate::state::{forget, make_folder, write_atomic};

use super::colour::address;
use super::perform::Work;

/// How often a container is told before it counts as one that does not listen.
const ATTEMPTS: u32 = 3;
const AGAIN: Duration = Duration::from_millis(300);

impl Work<'_> {
    /// Marked first, so that whatever starts it from here on begins standing by, and then told.
    pub async fn stand_by(&self, colour: Colour) -> Result<Finding, StepFailed> {
        self.mark(colour, true).await?;
        let containers = self.listeners(colour).await?;
        let error = match self.tell(&containers, |background| &background.pause).await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if self.saga.unwinding() && colour == self.subject.to {
            // The next steps remove it; the other one has to have its queue back first.
            self.progress.say(&format!("{error}; it is removed"));
            return Ok(Finding::Nothing);
        }
        if self.subject.goal == Goal::Rollback && colour == self.subject.from {
            // It has no traffic any more, and one that is stopped takes no jobs.
            self.progress.say(&format!("{error}; it is stopped"));
            return self.stop(colour, None).await;
        }
        Err(error)
    }

    pub async fn take_jobs(&self, colour: Colour) -> Result<Finding, StepFailed> {
        self.mark(colour, false).await?;
        let containers = self.listeners(colour).await?;
        self.tell(&containers, |background| &background.resume).await
    }

    /// Writes down whether the colour begins standing by.
    pub async fn mark(&self, colour: Colour, stands_by: bool) -> Result<(), StepFailed> {
        let mark = standby::mark(&self.folders, &self.subject.service, colour);
        let written = tokio::task::spawn_blocking(move || match (stands_by, mark.parent()) {
            (true, Some(folder)) => {
                // Whoever the program runs as looks at it.
                make_folder(folder, 0o755)?;
                write_atomic(&mark, b"", 0o444)
            }
            _ => forget(&mark),
        });
        Ok(written.await??)
    }

    async fn listeners(&self, colour: Colour) -> Result<Vec<Container>, StepFailed> {
        let mut containers = self.containers(colour).await?;
        containers.retain(Container::running);
        Ok(containers)
    }

    /// Told one after the other: each is sure before the next is asked.
    async fn tell(
        &self,
        containers: &[Container],
        which: impl Fn(&Background) -> &Call,
    ) -> Result<Finding, StepFailed> {
        let Some(background) = &self.subject.background else {
            return Ok(Finding::Nothing);
        };
        let call = which(background);
        let listens = |c: &&Container| c.label(labels::STANDBY).is_some();
        let mut told = 0;
        for container in containers.iter().filter(listens) {
            for attempt in 1.. {
                match self.call(container, call, background).await {
                    Ok(()) => break,
                    Err(error) if attempt == ATTEMPTS => return Err(error),
                    Err(_) => sleep(AGAIN).await,
                }
            }
            told += 1;
        }
        Ok(Finding::Told {
            containers: told,
            deaf: containers.len() - told,
        })
    }

    async fn call(&self, container: &Container, call: &Call, background: &Background) -> Result<(), StepFailed> {
        let name = &container.name;
        let limit = background.timeout.std();
        let Some(path) = &call.post else {
            let output = self.engine.exec(&container.id, &call.run, limit).await?;
            if output.exit_code == 0 {
                return Ok(());
            }
            let program = call.run.first().map_or("", String::as_str);
            let mut said = output.stderr;
            said.extend(output.stdout);
            let said = self.secrets.redact(&String::from_utf8_lossy(&said));
            let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
            return Err(StepFailed::because(format!(
                "{program} in {name} ended with exit code {}: {said}",
                output.exit_code
            )));
        };
        let ip: IpAddr = address(container, &self.subject.network)
            .ok_or_else(|| StepFailed::because(format!("{name} has no address on {}", self.subject.network)))?;
        let at = SocketAddr::from((ip, background.port.unwrap_or_default()));
        let request = PageRequest {
            url: format!("http://{at}{path}"),
            headers: Vec::new(),
            limit,
        };
        match self.web.post(&request).await?.status {
            200..300 => Ok(()),
            status => Err(StepFailed::because(format!(
                "{name} answered POST {path} with {status}"
            ))),
        }
    }
}
