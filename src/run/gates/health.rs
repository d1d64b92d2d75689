use crate::model::Health;
use crate::ports::{Container, SlotState};
use crate::release::{Look, Started};

use super::{Answer, Looker, Scene};

impl Looker {
    pub(super) async fn of_health(&self, scene: &Scene) -> Answer {
        if scene.began.is_empty() {
            return Err(format!("{} had no container when the hold began", scene.colour));
        }
        for before in &scene.began {
            let read = async || {
                self.engine
                    .container(before.id.as_str())
                    .await
                    .map_err(|error| error.to_string())
            };
            let mut now = read().await?;
            // Where the engine does not run checks by itself, its newest word may be old.
            if now
                .as_ref()
                .is_some_and(|now| now.running() && now.health != Health::Unchecked)
            {
                let poked = self.engine.poke_health(&before.id).await;
                poked.map_err(|error| error.to_string())?;
                now = read().await?;
            }
            if let Some(why) = ill(before, now.as_ref()) {
                return Ok(Look::Decided(Err(why)));
            }
        }
        let slots = self
            .router
            .slots(&scene.service)
            .await
            .map_err(|error| error.to_string())?;
        let ours = slots
            .iter()
            .filter(|slot| slot.colour == scene.colour && slot.state == SlotState::Ready);
        let serving: Vec<_> = ours.filter(|slot| slot.address.is_some()).collect();
        if serving.is_empty() {
            return Ok(Look::Decided(Err(format!(
                "the router sends nothing to {}",
                scene.colour
            ))));
        }
        Ok(Look::Decided(match serving.iter().find(|slot| slot.down) {
            Some(down) => Err(format!(
                "the router's checks of {} fail: {}",
                scene.colour, down.last_check
            )),
            None => Ok(()),
        }))
    }
}

/// What is wrong with a container, beside what it was.
fn ill(before: &Started, now: Option<&Container>) -> Option<String> {
    let name = &before.name;
    let Some(now) = now else {
        return Some(format!("{name} is gone"));
    };
    if now.oom_killed {
        return Some(format!(
            "{name} ran out of memory, and the kernel ended a process of it"
        ));
    }
    if !now.running() {
        let code = now
            .exit_code
            .map(|code| format!(" (exit code {code})"))
            .unwrap_or_default();
        return Some(format!("{name} does not run{code}"));
    }
    if before.again(now) {
        return Some(format!("{name} was started again during the hold"));
    }
    (now.health == Health::Unhealthy).then(|| format!("{name}: its own check says unhealthy"))
}
