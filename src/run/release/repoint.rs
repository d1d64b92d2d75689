use std::net::IpAddr;

use crate::model::{ProjectName, ServiceName};
use crate::ports::{Engine, Observed, Route, Router, Slot, SlotView};
use crate::release::of_colour;
use crate::run::StepFailed;

use super::colour::address;

/// Gives the router the addresses its colours have now, where the engine has given them others (a restarted host does
/// that); the services that were changed. Not for a project with a release under way.
pub async fn repoint(
    engine: &dyn Engine,
    router: &dyn Router,
    project: &ProjectName,
) -> Result<Vec<ServiceName>, StepFailed> {
    let routes = router.routes().await?;
    if all_up(router, &routes).await {
        return Ok(Vec::new());
    }
    let observed = engine.observe(project).await?;
    let mut changed = Vec::new();
    for route in routes {
        for slot in &route.slots {
            let Some(addresses) = moved(&observed, &route.service, slot, route.replicas) else {
                continue;
            };
            router.point(&route.service, slot.colour, &addresses).await?;
            changed.push(route.service.clone());
        }
    }
    changed.dedup();
    Ok(changed)
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
