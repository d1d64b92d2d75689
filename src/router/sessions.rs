use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::{Colour, ServiceName, Span};
use crate::ports::RouterError;

use super::answers;
use super::process::{Process, SESSIONS, colour_of};
use super::render;

/// The least time between two looks at what is still open.
const PACE: Duration = Duration::from_millis(50);

/// As many as fit into one line to the router.
const BATCH: usize = 200;

/// The upgraded sessions of a colour.
fn of(answer: &str, service: &ServiceName, colour: Colour) -> Result<Vec<String>, RouterError> {
    let backend = render::upgraded(service);
    Ok(answers::sessions(SESSIONS, answer)?
        .into_iter()
        .filter(|session| session.backend == backend)
        .filter(|session| colour_of(session.server).is_ok_and(|(of, _)| of == colour))
        .map(|session| session.id.to_owned())
        .collect())
}

impl Process {
    /// Shuts the upgraded sessions of a colour one by one, spread over this span; how many were shut.
    ///
    /// A session is known by its address in the router's memory, which another may get once it has ended: so what is
    /// shut was seen a moment before, never at the beginning.
    pub async fn shut(&self, service: &ServiceName, colour: Colour, over: Span) -> Result<u64, RouterError> {
        let shut = self.shut_slowly(service, colour, over).await?;
        Ok(shut + self.shut_in_elders(service, colour).await?)
    }

    async fn shut_slowly(&self, service: &ServiceName, colour: Colour, over: Span) -> Result<u64, RouterError> {
        let begun = Instant::now();
        let mut shut = 0;
        loop {
            let left = over.std().saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok(shut + self.shut_at_once(service, colour).await?);
            }
            let open = self.sessions(service, colour).await?;
            let Some(each) = left.checked_div(u32::try_from(open.len()).unwrap_or(u32::MAX)) else {
                return Ok(shut);
            };
            let pause = each.max(PACE).min(left);
            let due = (open.len() as f64 * pause.as_secs_f64() / left.as_secs_f64()).round();
            let due = (due as usize).clamp(1, open.len());
            for ids in open[..due].chunks(BATCH) {
                shut += self.shut_these(ids).await?;
            }
            if due == open.len() {
                return Ok(shut);
            }
            sleep(pause).await;
        }
    }

    async fn shut_at_once(&self, service: &ServiceName, colour: Colour) -> Result<u64, RouterError> {
        let backend = render::upgraded(service);
        let mut commands = Vec::new();
        let mut count = 0;
        for server in self.look(service).await?.iter().filter(|s| s.colour == colour) {
            count += server.upgraded.number("scur")?;
            commands.push(format!("shutdown sessions server {backend}/{}", server.state.server));
        }
        self.change(&commands).await?;
        Ok(count)
    }

    /// Elders take no command about a server, and one about a session.
    async fn shut_in_elders(&self, service: &ServiceName, colour: Colour) -> Result<u64, RouterError> {
        let mut shut = 0;
        for elder in self.elders().await {
            let answer = self.ask_elder(&elder, SESSIONS).await.unwrap_or_default();
            for id in of(&answer, service, colour)? {
                let answer = self.ask_elder(&elder, &format!("shutdown session {id}")).await;
                shut += u64::from(answer.is_some());
            }
        }
        Ok(shut)
    }

    async fn sessions(&self, service: &ServiceName, colour: Colour) -> Result<Vec<String>, RouterError> {
        of(&self.admin(SESSIONS).await?, service, colour)
    }

    async fn shut_these(&self, ids: &[String]) -> Result<u64, RouterError> {
        let commands: Vec<String> = ids.iter().map(|id| format!("shutdown session {id}")).collect();
        let command = commands.join(";");
        let gone = answers::ended(&command, &self.admin(&command).await?)?;
        Ok((ids.len() as u64).saturating_sub(gone))
    }
}
