use std::net::IpAddr;

use crate::model::{ProjectName, ServiceName};
use crate::ports::{Engine, Observed, Route, Router, Slot, SlotView};
use crate::release::of_colour;
use crate::run::StepFailed;

use super::colour::address;

/// How often the addresses are looked at when each look finds them changed.
const LOOKS: usize = 3;

/// Which slots are given other addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    All,
    /// Those with traffic: beside a release under way, which has the others in its hands.
    Serving,
}

/// Gives the router the addresses its colours have now, where the engine has given them others (a restarted host does
/// that); the services that were changed.
pub async fn repoint(
    engine: &dyn Engine,
    router: &dyn Router,
    project: &ProjectName,
    reach: Reach,
) -> Result<Vec<ServiceName>, StepFailed> {
    let mut changed = Vec::new();
    // Whoever makes or starts a colour meanwhile tells the router as well: so it is looked at until nothing is left to do.
    for _ in 0..LOOKS {
        let observed = engine.observe(project).await?;
        let before = changed.len();
        for route in router.routes().await? {
            let slots = route.slots.iter();
            for slot in slots.filter(|slot| reach == Reach::All || slot.weight > 0) {
                let Some(addresses) = moved(&observed, &route.service, slot, route.replicas) else {
                    continue;
                };
                router.point(&route.service, slot.colour, &addresses).await?;
                changed.push(route.service.clone());
            }
        }
        if changed.len() == before {
            break;
        }
    }
    changed.dedup();
    Ok(changed)
}

/// Whether there is a slot that the router's own checks do not find well, or the router does not say.
pub async fn astray(router: &dyn Router) -> Result<bool, StepFailed> {
    Ok(!all_up(router, &router.routes().await?).await)
}

/// Whether the router's own checks pass at every address it has.
async fn all_up(router: &dyn Router, routes: &[Route]) -> bool {
    for route in routes {
        let up = |slot: &SlotView| slot.up || slot.address.is_none();
        match router.slots(&route.service).await {
            Ok(slots) if slots.iter().all(up) => {}
            _ => return false,
        }
    }
    true
}

/// The colour's new addresses; `None` where they are the same, or not all its containers run.
fn moved(observed: &Observed, service: &ServiceName, slot: &Slot, replicas: u32) -> Option<Vec<IpAddr>> {
    if slot.addresses.is_empty() {
        return None;
    }
    let containers = of_colour(observed, service, slot.colour);
    // The router is on every network of theirs, so any of them will do; the one in use stays in use.
    let networks = containers.first()?.networks.keys();
    let mut sets = networks.filter_map(|network| {
        let found: Vec<IpAddr> = containers.iter().filter_map(|c| address(c, network)).collect();
        (found.len() == replicas as usize).then_some(found)
    });
    let first = sets.clone().next()?;
    match sets.any(|set| set == slot.addresses) {
        true => None,
        false => Some(first),
    }
}
