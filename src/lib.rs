//! Releases nobody notices, backups proven by restoring them, and drills, for one Docker or Podman host.
//!
//! ```text
//! model/     ids, digests, colours, health, quantities                         ┐
//! stack/     Compose text → typed Stack                                        │
//! plan/      desired + observed → Plan, each change with its reason            │ PURE: no tokio, no bollard,
//! release/   what a release does, step by step; verdicts on figures            │ no file system, no clock
//! backup/    manifest, listing, segment layout, chain, retention               │
//! drill/     what a drill does; checks, objectives, evidence                   │
//! emergency/ a page, an earlier state of the data, a version that worked        │
//! schedule/  crontab line + time zone → next run; when releases may begin       │
//! journal/   records, framing, and the saga every operation is                 │
//! config/    arkwright.yaml → Config; secrets                                  ┘
//! ports      the traits: Engine, Router, Sources, Store, Machine, Forge, Clock, Entropy
//! run/       performs the steps through the ports; the agent's loop; the host lock
//! state/     durable files: atomic writes, journal files, the project's folder ┐
//! engine/    bollard, and what Podman needs different                          │ EDGES: each implements a
//! registry/  logins as docker, podman and credential helpers keep them         │ port and knows nothing of
//! router/    HAProxy: rendered configuration, runtime API, hold gate           │ the others
//! source/    what a set's sources hold: files, SQLite databases                │
//! store/     objects on a disk                                                 │
//! github/    the runner's contract, deployments                                │
//! machine/   what this machine says of itself: memory, disks, clock, firewall   │
//! http/      the agent's API, health and metrics                               ┘
//! app        the one place where edges are built and handed to run/
//! cli/       one file a verb, rendering, failures, exit codes
//! ```
//!
//! cli → app → {run, edges}; run → ports + pure + state; edges → ports + model; pure → pure. `http/` serves what
//! `run/` owns and carries its words over a socket, so it may import `run`.
//! `tests/layering.rs` holds this.

pub mod app;
pub mod backup;
pub mod cli;
pub mod config;
pub mod drill;
pub mod emergency;
pub mod engine;
pub mod github;
pub mod http;
pub mod journal;
pub mod machine;
pub mod model;
pub mod plan;
pub mod ports;
pub mod registry;
pub mod release;
pub mod router;
pub mod run;
pub mod schedule;
pub mod source;
pub mod stack;
pub mod state;
pub mod store;
