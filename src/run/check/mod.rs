//! `arkwright check`: one file for each kind of thing that is looked at, each independent of the others.
//!
//! ```text
//! services     what the Compose file says of each service     engine    version, gaps, logging drivers
//! released     what a released service may not be, SQLite     podman    health checks, restart unit, linger, init
//! ports        published twice, taken, privileged             limits    open files, processes, ulimits
//! mounts       bind sources: there, readable                  cgroups   limits that are not carried out
//! images       here, architecture, version                    memory    room for two colours
//! dns          registries, name servers                       cpus      limits against what there is
//!                                                             disk      space and inodes
//! backups      keys, recipients, sources, stores              clock     synchronised, files from the future
//! state        the folder of journals and keys                firewall  published ports that go past it
//! operations   the agent; what is stuck or interrupted        leftovers what blocks `up`, strays, orphans, drift
//! ```
//!
//! What cannot be looked at is a finding too ([`Finding::unchecked`]), never a silent pass.

mod backups;
mod cgroups;
mod clock;
mod cpus;
mod disk;
mod dns;
mod engine;
mod finding;
mod firewall;
mod images;
mod leftovers;
mod limits;
mod memory;
mod mounts;
mod operations;
mod podman;
mod ports;
mod released;
mod scene;
mod services;
mod state;
#[cfg(test)]
mod tests;

pub use finding::{Finding, Severity, Subject, Summary};
pub use operations::{Affairs, AgentState};
pub use scene::{EngineView, Scene, VolumePlace};

/// Looks at everything; the worst comes first, and what is alike stands together.
pub async fn check(scene: &Scene<'_>, affairs: &Affairs) -> Vec<Finding> {
    let looks = [
        services::check,
        released::check,
        ports::check,
        mounts::check,
        images::check,
        engine::check,
        podman::check,
        limits::check,
        cgroups::check,
        cpus::check,
        memory::check,
        disk::check,
        backups::check,
        state::check,
    ];
    let mut found: Vec<Finding> = looks.iter().flat_map(|look| look(scene)).collect();
    let (dns, clock, firewall) = tokio::join!(dns::check(scene), clock::check(scene), firewall::check(scene));
    found.extend(dns.into_iter().chain(clock).chain(firewall));
    found.extend(operations::check(scene, affairs));
    let left = leftovers::check(scene, &found);
    found.extend(left);
    found
}

/// Worst first; within a severity in the order they were looked at.
pub fn sort(findings: &mut Vec<Finding>) {
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let new = !seen.contains(finding);
        seen.push(finding.clone());
        new
    });
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
}
